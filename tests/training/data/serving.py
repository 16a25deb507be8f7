"""A real HTTP server on a free port, which can break off, forget ranges, change its file or send elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Shelf:
    """What the server gives, how, and what it was asked for."""

    content: bytes
    etag: str = '"first"'
    ranges: bool = True
    chunked: bool = False  # no length is told
    claim: int = 0  # a length told in place of the true one
    break_after: list[int] = field(default_factory=list)  # bytes of each coming answer, before the line goes dead
    slow_after: int = 0  # bytes, after which nothing comes for as long as the other side waits
    send_to: str = ""  # another address
    status: list[int] = field(default_factory=list)  # of each coming answer, in place of the content
    asked: list[str] = field(default_factory=list)  # the Range of each request, "" for the whole
    given: int = 0  # bytes of content sent in all
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/set.bin"

    def span(self, wanted: str, known_as: str) -> tuple[int, bool]:
        """Where to begin, and whether that is a part: only if the file is still the one that was asked for."""
        if self.ranges and wanted and known_as == self.etag:
            return int(wanted.removeprefix("bytes=").rstrip("-")), True
        return 0, False


@contextmanager
def serving(shelf: Shelf) -> Iterator[Shelf]:
    """Serve a shelf, whatever the path, for as long as this stands."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            shelf.asked.append(self.headers.get("Range", ""))
            if shelf.send_to or shelf.status:
                self.send_response(302 if shelf.send_to else shelf.status.pop(0))
                self.send_header("Location", shelf.send_to)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start, part = shelf.span(self.headers.get("Range", ""), self.headers.get("If-Range", ""))
            if start > len(shelf.content):
                self.send_error(416)
                return
            self.send_response(206 if part else 200)
            if shelf.etag:
                self.send_header("ETag", shelf.etag)
            if part:
                total = len(shelf.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            with suppress(ConnectionError):  # the other side may hang up: that is what is tested
                self.send_content(shelf.content[start:])

        def send_content(self, content: bytes) -> None:
            sent = content[: shelf.break_after.pop(0)] if shelf.break_after else content
            if shelf.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent))
                self.wfile.write(b"0\r\n\r\n" if sent == content else b"")
            else:
                self.send_header("Content-Length", str(shelf.claim or len(content)))
                self.end_headers()
                if shelf.slow_after:
                    self.wfile.write(sent[: shelf.slow_after])
                    self.connection.recv(1)  # until it hangs up
                    return
                self.wfile.write(sent)
            shelf.given += len(sent)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shelf.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield shelf
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
