"""A large file over HTTP: bounded, checked, and gone on with where it broke off.

What has come so far lies in `FILE.part`, and what the server called it in `FILE.part.json`. A later call asks for the
rest with `Range` and `If-Range` (RFC 9110, sections 14.2 and 13.1.5), so that a file that has changed, or a server that
knows no ranges, gives the whole again rather than the end of something else.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from otolith import __version__
from otolith.errors import OtolithError, UsageError

TIMEOUT_S = 30.0  # without a byte
PAUSES_S = (1.0, 3.0, 10.0)  # before going on, as long as nothing new comes; then the download is given up
BLOCK = 1 << 18
TRY_LATER = (408, 416, 429, 500, 502, 503, 504)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Told = Callable[[int, int | None], None]  # bytes so far, and in all where that is known


@dataclass(frozen=True, slots=True)
class Source:
    """A file to download, and what its publisher says of it."""

    url: str
    limit: int  # bytes; a server that offers more is not believed
    size: int | None = None  # bytes
    sha256: str | None = None  # hex


class BrokenOffError(Exception):
    """A download stopped in a way that trying again may mend."""


def download(source: Source, path: Path, told: Told, pauses_s: Sequence[float] = PAUSES_S) -> str:
    """Download to `path`, going on with what an earlier call left; returns the file's sha256 (hex).

    Raises `OtolithError` where it cannot be had, is not what is published (then it is removed), or does not fit on
    the disk; and `UsageError` for an address that is not http or https.
    """
    if urlsplit(source.url).scheme not in ("http", "https") or not urlsplit(source.url).hostname:
        raise UsageError(f"{source.url}: is no address of a file; give one that begins with https:// or http://")
    if not path.is_file():
        part = _Part(path.with_name(path.name + ".part"))
        _fetch_all(source, part, told, pauses_s)
        part.finish(path)
    digest = sha256_of(path)
    if source.sha256 is not None and digest != source.sha256:
        path.unlink()
        raise OtolithError(
            f"{source.url}: sha256 is {digest}, but {source.sha256} is published; the file was removed: "
            "try again, or name another address with --from"
        )
    return digest


def sha256_of(path: Path) -> str:
    """A file's sha256 (hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class _Part:
    """What has come of a file so far, with what its server said of it."""

    path: Path

    @property
    def length(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def _note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def validator(self, url: str) -> str:
        """The ETag or date under which this address gave it; "" where that is not known and it must begin anew."""
        return str(self._read(url).get("validator", "")) if self.length else ""

    def is_whole(self, url: str) -> bool:
        """Whether all of it was there when an earlier call ended."""
        return bool(self.length) and self._read(url).get("total") == self.length

    def remember(self, url: str, headers: Message, total: int | None) -> None:
        """Keep what a later call needs to go on."""
        tag = headers.get("ETag", "")
        known = tag if tag.startswith('"') else headers.get("Last-Modified", "")  # If-Range takes no weak tags
        self._note.write_text(json.dumps({"url": url, "validator": known, "total": total}), encoding="utf-8")

    def forget(self) -> None:
        """Begin anew."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self, path: Path) -> None:
        """It is whole: give it its name."""
        self.path.replace(path)
        self._note.unlink(missing_ok=True)

    def _read(self, url: str) -> dict[str, Any]:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) and note.get("url") == url else {}


def _fetch_all(source: Source, part: _Part, told: Told, pauses_s: Sequence[float]) -> None:
    """Fetch until all is there; give up when it broke off once more than there are pauses, with nothing new between."""
    left = list(pauses_s)
    while not part.is_whole(source.url):
        before = part.length
        try:
            _fetch(source, part, told)
        except BrokenOffError as error:
            if part.length > before:
                left = list(pauses_s)
            if not left:
                kept = f"; {part.length:,} bytes are kept" if part.length else ""
                raise OtolithError(f"{source.url}: {error}{kept}; run the same command again") from None
            time.sleep(left.pop(0))
        else:
            return


def _fetch(source: Source, part: _Part, told: Told) -> None:
    """One request, for what is missing. Raises `BrokenOffError` where less comes than was promised."""
    headers = {"User-Agent": f"otolith/{__version__}", "Accept-Encoding": "identity"}
    if validator := part.validator(source.url):
        headers |= {"Range": f"bytes={part.length}-", "If-Range": validator}
    try:
        with _open(Request(source.url, headers=headers)) as response:  # noqa: S310 - http and https alone, see download
            start, total = _extent(response, part)
            _refuse_size(source, total)
            with _writing(part.path):
                _refuse_full_disk(part.path, start, total)
                part.remember(source.url, response.headers, total)
            _copy(response, part, start, total, source, told)
    except HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.forget()  # it is longer than the file now is
        if error.code in TRY_LATER:
            raise BrokenOffError(f"the server says {error.code} {error.reason}") from None
        raise OtolithError(
            f"{source.url}: the server says {error.code} {error.reason}; name another address with --from"
        ) from None
    except URLError as error:
        raise BrokenOffError(f"cannot be reached ({getattr(error.reason, 'strerror', None) or error.reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise BrokenOffError(f"broke off ({getattr(error, 'strerror', None) or error})") from None
    if total is not None and part.length < total:
        raise BrokenOffError(f"broke off at {part.length:,} of {total:,} bytes")


class _Redirects(HTTPRedirectHandler):
    """Follows as urllib does, but never from https to anything less."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme not in ("https", req.type):
            raise OtolithError(f"{req.full_url}: sends on from {req.type} to {newurl}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: Request) -> Any:  # an http.client.HTTPResponse; urllib promises no type
    return build_opener(_Redirects).open(request, timeout=TIMEOUT_S)


def _extent(response: Any, part: _Part) -> tuple[int, int | None]:
    """Where in the file the answer begins, and how long the file is in all, where the server says so."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if span.partition("-")[0] != str(part.length):
        part.forget()
        raise BrokenOffError(f"the server gave bytes {span or 'unnamed'}, which were not asked for")
    return part.length, int(total) if total.isdecimal() else None


def _refuse_size(source: Source, total: int | None) -> None:
    if total is None:
        return
    if source.size is not None and total != source.size:
        raise OtolithError(
            f"{source.url}: offers {total:,} bytes, but {source.size:,} are published; name another address with --from"
        )
    if total > source.limit:
        raise OtolithError(f"{source.url}: offers {total:,} bytes, more than the {source.limit:,} that it may be")


def _refuse_full_disk(path: Path, start: int, total: int | None) -> None:
    """Raise where there is no room for the rest; an old part that is begun anew makes room for itself."""
    if total is None:
        return
    old = path.stat().st_size if path.is_file() and not start else 0
    free = shutil.disk_usage(path.parent).free + old
    if free < total - start:
        raise OtolithError(
            f"{path.parent}: {total - start:,} bytes are still to come and {free:,} are free; "
            "make room, or name another folder with --into"
        )


def _copy(response: Any, part: _Part, start: int, total: int | None, source: Source, told: Told) -> None:
    """Write the answer behind the first `start` bytes, as it comes, so that whatever came is kept."""
    done = start
    with _writing(part.path):
        file = part.path.open("r+b" if start else "wb", buffering=0)
    with file:
        file.seek(start)
        told(done, total)
        while block := response.read1(BLOCK):
            done += len(block)
            if done > source.limit:
                part.forget()
                raise OtolithError(f"{source.url}: sends more than the {source.limit:,} bytes that it may be")
            with _writing(part.path):
                view = memoryview(block)
                while view:  # a full disk takes some of it first, and says so the next time
                    view = view[file.write(view) :]
            told(done, total)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into one line; outside of it an `OSError` is the network's."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: OSError) -> OtolithError:
    """What is told where the disk refuses."""
    remedy = "make room and run the same command again" if error.errno in FULL else "name another folder with --into"
    return OtolithError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")
