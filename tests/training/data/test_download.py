"""Downloads from a real server: whole, broken off, changed, wrong, too large, and onto a full disk."""

from __future__ import annotations

import hashlib
import http.client
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request

import numpy as np
import pytest

from otolith.errors import OtolithError, UsageError
from otolith_training.data.download import Source, _Redirects, download
from tests.training.data.serving import Shelf, serving

CONTENT = np.random.default_rng(1).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serving(Shelf(CONTENT)) as shelf:
        yield shelf


def get(shelf: Shelf, path: Path, pauses_s: tuple[float, ...] = (), **known: object) -> str:
    return download(Source(**{"url": shelf.url, "limit": 4_000_000, **known}), path, lambda *_: None, pauses_s)  # type: ignore[arg-type]


def left(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.iterdir())


def test_a_file_comes_whole_and_leaves_nothing_beside_it(shelf: Shelf, tmp_path: Path) -> None:
    assert get(shelf, tmp_path / "set", size=len(CONTENT), sha256=SHA256) == SHA256
    assert (tmp_path / "set").read_bytes() == CONTENT
    assert left(tmp_path / "set") == ["set"]


def test_a_broken_download_goes_on_where_it_was(shelf: Shelf, tmp_path: Path) -> None:
    shelf.break_after = [1_000_000]
    with pytest.raises(OtolithError, match=r"broke off at 1,000,000 of 3,000,000 .* run the same command again"):
        get(shelf, tmp_path / "set")
    assert get(shelf, tmp_path / "set") == SHA256
    assert shelf.asked == ["", "bytes=1000000-"]
    assert shelf.given == len(CONTENT)  # not a byte twice


def test_one_call_goes_on_by_itself_as_long_as_something_comes(shelf: Shelf, tmp_path: Path) -> None:
    shelf.break_after = [500_000] * 5
    assert get(shelf, tmp_path / "set", pauses_s=(0.0,)) == SHA256
    assert shelf.given == len(CONTENT)


def test_a_server_that_is_busy_is_asked_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.status = [503, 429]
    assert get(shelf, tmp_path / "set", pauses_s=(0.0, 0.0)) == SHA256


def test_a_server_without_ranges_gives_it_anew(shelf: Shelf, tmp_path: Path) -> None:
    shelf.ranges, shelf.break_after = False, [1_000_000]
    assert get(shelf, tmp_path / "set", pauses_s=(0.0,)) == SHA256
    assert shelf.given == 1_000_000 + len(CONTENT)


def test_a_file_without_tag_or_date_is_begun_anew(shelf: Shelf, tmp_path: Path) -> None:
    shelf.etag, shelf.break_after = "", [1_000_000]
    assert get(shelf, tmp_path / "set", pauses_s=(0.0,)) == SHA256
    assert shelf.asked == ["", ""]


def test_a_file_that_changed_meanwhile_is_begun_anew(shelf: Shelf, tmp_path: Path) -> None:
    shelf.break_after = [1_000_000]
    with pytest.raises(OtolithError):
        get(shelf, tmp_path / "set")
    shelf.etag, shelf.content = '"second"', CONTENT[::-1]
    get(shelf, tmp_path / "set")
    assert (tmp_path / "set").read_bytes() == CONTENT[::-1]


def test_what_came_from_one_address_is_not_gone_on_with_from_another(shelf: Shelf, tmp_path: Path) -> None:
    shelf.break_after = [1_000_000]
    with pytest.raises(OtolithError):
        get(shelf, tmp_path / "set")
    assert get(shelf, tmp_path / "set", url=shelf.url + "?mirror") == SHA256
    assert shelf.asked == ["", ""]


def test_a_download_of_unknown_length_that_is_cut_off_is_noticed(shelf: Shelf, tmp_path: Path) -> None:
    shelf.chunked, shelf.break_after = True, [1_000_000]
    with pytest.raises(OtolithError, match="broke off"):
        get(shelf, tmp_path / "set")
    assert get(shelf, tmp_path / "set") == SHA256


def test_a_wrong_checksum_is_told_and_the_file_removed(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(OtolithError, match=f"sha256 is {SHA256}, but {'0' * 64} is published"):
        get(shelf, tmp_path / "set", sha256="0" * 64)
    assert left(tmp_path / "set") == []


def test_a_file_of_another_size_than_published_is_not_downloaded(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(OtolithError, match="offers 3,000,000 bytes, but 5 are published"):
        get(shelf, tmp_path / "set", size=5)
    assert left(tmp_path / "set") == []


@pytest.mark.parametrize("chunked", [False, True])
def test_more_than_the_limit_is_never_kept(shelf: Shelf, tmp_path: Path, chunked: bool) -> None:
    shelf.chunked = chunked
    with pytest.raises(OtolithError, match="more than the 2,000,000"):
        get(shelf, tmp_path / "set", limit=2_000_000)
    assert left(tmp_path / "set") == []


def test_a_file_larger_than_the_disk_is_refused_before_it_comes(shelf: Shelf, tmp_path: Path) -> None:
    shelf.claim = 1 << 60
    with pytest.raises(OtolithError, match=r"1,152,921,504,606,846,976 bytes are still to come .*; make room"):
        get(shelf, tmp_path / "set", limit=1 << 61)


def test_a_disk_that_fills_up_keeps_the_part_for_later(shelf: Shelf, tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from otolith_training.data.download import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_234_567, resource.RLIM_INFINITY))\n"
        "try: download(Source(sys.argv[1], 4_000_000), Path(sys.argv[2]), lambda *_: None)\n"
        "except OtolithError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", code, shelf.url, str(tmp_path / "set")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == (
        f"{tmp_path}/set.part: cannot be written (File too large); make room and run the same command again"
    )
    assert (tmp_path / "set.part").stat().st_size == 1_234_567
    assert get(shelf, tmp_path / "set") == SHA256
    assert shelf.asked == ["", "bytes=1234567-"]


def test_an_interrupt_leaves_the_part(shelf: Shelf, tmp_path: Path) -> None:
    def interrupt(done: int, _total: int | None) -> None:
        if done >= 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(Source(shelf.url, 4_000_000), tmp_path / "set", interrupt)
    kept = (tmp_path / "set.part").stat().st_size
    assert get(shelf, tmp_path / "set") == SHA256
    assert shelf.asked == ["", f"bytes={kept}-"]


def test_a_part_that_is_whole_already_is_not_asked_for_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.break_after = [1_000_000]
    with pytest.raises(OtolithError):
        get(shelf, tmp_path / "set")
    (tmp_path / "set.part").write_bytes(CONTENT)
    assert get(shelf, tmp_path / "set") == SHA256
    assert len(shelf.asked) == 1


def test_a_part_longer_than_the_file_is_begun_anew(shelf: Shelf, tmp_path: Path) -> None:
    shelf.break_after = [1_000_000]
    with pytest.raises(OtolithError):
        get(shelf, tmp_path / "set")
    (tmp_path / "set.part").write_bytes(CONTENT * 2)
    assert get(shelf, tmp_path / "set", pauses_s=(0.0,)) == SHA256


def test_an_answer_that_is_no_file_says_what_to_do(shelf: Shelf, tmp_path: Path) -> None:
    shelf.status = [404]
    with pytest.raises(OtolithError, match="the server says 404 Not Found; name another address with --from"):
        get(shelf, tmp_path / "set")


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OtolithError, match=r"cannot be reached \(Connection refused\); run the same command again"):
        get(Shelf(b"", port=9), tmp_path / "set")


@pytest.mark.parametrize("address", ["file:///etc/hosts", "ftp://127.0.0.1/set", "/etc/hosts", "https://"])
def test_only_http_addresses_are_taken(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="is no address of a file"):
        get(Shelf(b""), tmp_path / "set", url=address)


def test_a_server_may_send_elsewhere(shelf: Shelf, tmp_path: Path) -> None:
    with serving(Shelf(b"", send_to=shelf.url)) as first:
        assert get(first, tmp_path / "set") == SHA256


@pytest.mark.parametrize(
    ("come_from", "sent_to"), [("https", "http://a/set"), ("http", "ftp://a/set"), ("http", "file:///etc/hosts")]
)
def test_nobody_is_sent_from_a_safe_address_to_an_unsafe_one(come_from: str, sent_to: str) -> None:
    request = Request(f"{come_from}://a/set")  # noqa: S310 - never opened
    with pytest.raises(OtolithError, match="which is refused"):
        _Redirects().redirect_request(request, io.BytesIO(), 302, "Found", http.client.HTTPMessage(), sent_to)
