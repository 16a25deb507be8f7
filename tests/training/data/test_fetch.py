"""A set fetched from a real server, through the real command where that can be: there whole, or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import io
import resource
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from otolith.cli.main import otolith
from otolith.errors import OtolithError, UsageError
from otolith_training.data.catalogue import RECIPES, SETS, PublicSet, find_set
from otolith_training.data.fetch import data_folder, fetch
from tests.processes import OTOLITH
from tests.training.data.publishing import sp_sw_har, speech_commands
from tests.training.data.serving import Shelf, serving


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return sp_sw_har(tmp_path_factory.mktemp("published")).read_bytes()


@pytest.fixture
def shelf(motion: bytes) -> Iterator[Shelf]:
    with serving(Shelf(motion)) as shelf:
        yield shelf


def get(name: str, into: Path, mirror: str) -> Result:
    return CliRunner().invoke(otolith, ["data", "get", name, "--into", str(into), "--from", mirror])


def left(into: Path) -> list[str]:
    return sorted(path.name for path in into.iterdir() if path.suffix != ".lock")


def test_get_ends_with_the_command_that_trains_on_the_set(shelf: Shelf, tmp_path: Path) -> None:
    found = get("sp_sw_har", tmp_path, shelf.url)
    assert found.exit_code == 0, found.output
    assert found.output.splitlines()[-1] == f"otolith train {RECIPES / 'motion.toml'} --data {tmp_path}"
    assert "CC BY 4.0, Matey-Sanz, Casteleyn, Granell" in found.output
    assert left(tmp_path) == ["sp_sw_har", "sp_sw_har.origin.json"]
    assert left(tmp_path / "sp_sw_har") == ["phone.npz", "subjects_info.csv", "watch.npz"]


def test_a_set_with_a_published_checksum_comes_without_a_word_of_trust(tmp_path: Path) -> None:
    content = speech_commands(tmp_path).read_bytes()
    chosen, said = find_set("speech_commands"), io.StringIO()
    with serving(Shelf(content)) as shelf:
        source = replace(chosen.source, url=shelf.url, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        place = fetch(replace(chosen, source=source), tmp_path / "data", None, Console(file=said))
    assert (place / "manifest.csv").is_file()
    assert "checksum" not in said.getvalue()
    assert f"{place}: done" in said.getvalue()


def test_a_set_that_is_there_is_not_fetched_again(shelf: Shelf, tmp_path: Path) -> None:
    get("sp_sw_har", tmp_path, shelf.url)
    found = get("sp_sw_har", tmp_path, shelf.url)
    assert "is there; delete it to fetch it again" in found.output
    assert found.output.splitlines()[-1].startswith("otolith train ")
    assert len(shelf.asked) == 1


def test_what_came_first_is_trusted_and_what_differs_later_is_not(shelf: Shelf, tmp_path: Path) -> None:
    first = get("sp_sw_har", tmp_path, shelf.url)
    assert "no checksum is published: sha256" in first.output
    assert "trusted this first time" in first.output
    (tmp_path / "sp_sw_har").rename(tmp_path / "elsewhere")
    shelf.content, content = shelf.content + b" ", shelf.content
    second = get("sp_sw_har", tmp_path, shelf.url)
    assert isinstance(second.exception, OtolithError)
    assert "but the first time it was" in str(second.exception)
    assert left(tmp_path) == ["elsewhere", "sp_sw_har.origin.json"]
    shelf.content = content
    assert "as the first time" in get("sp_sw_har", tmp_path, shelf.url).output


def test_what_turns_out_to_be_no_set_is_not_remembered(shelf: Shelf, tmp_path: Path) -> None:
    content, shelf.content = shelf.content, b"<html>Please log in</html>"
    found = get("sp_sw_har", tmp_path, shelf.url)
    assert "sp_sw_har.zip: holds damage" in str(found.exception)
    assert left(tmp_path) == []
    shelf.content = content
    assert get("sp_sw_har", tmp_path, shelf.url).exit_code == 0


def test_an_archive_that_would_write_elsewhere_leaves_nothing(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("fine"))
        tar.addfile(tarfile.TarInfo("../../evil"))
    with serving(Shelf(content.getvalue())) as shelf:
        found = get("sp_sw_har", tmp_path / "into", shelf.url)
    assert "'../../evil', which leads out of its folder" in str(found.exception)
    assert left(tmp_path / "into") == []
    assert [path.name for path in tmp_path.iterdir()] == ["into"]


def test_a_mirror_of_another_size_than_published_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    found = get("speech_commands", tmp_path, shelf.url)
    assert isinstance(found.exception, OtolithError)
    assert found.exception.exit_code == 1
    assert "but 2,428,923,189 are published" in str(found.exception)


def test_a_mirror_may_be_a_folder(shelf: Shelf, tmp_path: Path) -> None:
    found = get("sp_sw_har", tmp_path, shelf.url.replace("set.bin", "mirror/"))
    assert "/mirror/sp_sw_har.zip" in found.output


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive(shelf: Shelf, tmp_path: Path) -> None:
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    shelf.content = packed_zeros()
    command = [*OTOLITH, "data", "get", "sp_sw_har", "--into", str(tmp_path), "--from", shelf.url]
    done = subprocess.run(command, preexec_fn=small_disk, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        "cannot be written (File too large); make room and run the same command again" in done.stderr.splitlines()[-1]
    )
    assert left(tmp_path) == ["sp_sw_har.zip"]


def packed_zeros() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        entry = tarfile.TarInfo("zeros")
        entry.size = 10_000_000
        tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    return content.getvalue()


def test_ctrl_c_says_that_the_part_is_kept(motion: bytes, tmp_path: Path) -> None:
    with serving(Shelf(motion, slow_after=20_000)) as shelf:
        command = [*OTOLITH, "data", "get", "sp_sw_har", "--into", str(tmp_path), "--from", shelf.url]
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests may have it ignored
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
            part = tmp_path / "sp_sw_har.zip.part"
            deadline = time.monotonic() + 20
            while not (part.is_file() and part.stat().st_size) and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.5)  # it waits for the next bytes by now
            process.send_signal(signal.SIGINT)
            try:
                _, said = process.communicate(timeout=20)
            finally:
                process.kill()
    assert process.returncode == 1
    assert "interrupted: what has come is kept" in said
    assert "Traceback" not in said
    assert part.stat().st_size >= 20_000


def test_two_commands_do_not_fetch_the_same_set_at_once(shelf: Shelf, tmp_path: Path) -> None:
    with (tmp_path / ".sp_sw_har.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = get("sp_sw_har", tmp_path, shelf.url)
    assert "is being fetched by another command" in str(found.exception)


def test_a_name_that_is_none_is_a_mistake_in_usage(tmp_path: Path) -> None:
    found = get("speech", tmp_path, "http://127.0.0.1/")
    assert isinstance(found.exception, UsageError)
    assert "name one of speech_commands, speech_commands_test, sp_sw_har" in str(found.exception)


def test_the_list_tells_size_licence_and_what_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "sp_sw_har").mkdir()
    said = CliRunner().invoke(otolith, ["data", "list", "--into", str(tmp_path)]).output
    lines = {known.name: next(line for line in said.splitlines() if f" {known.name} " in line) for known in SETS}
    assert all("CC BY 4.0" in line for line in lines.values())
    assert "2,429 MB" in lines["speech_commands"]
    assert "about 27 MB" in lines["sp_sw_har"]
    assert [line.rstrip("│ ").endswith("yes") for line in lines.values()] == [False, False, True]


def test_sets_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "otolith" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")  # to be ignored, says the specification
    assert data_folder() == Path.home() / ".cache" / "otolith" / "data"


@pytest.mark.parametrize("known", SETS, ids=lambda known: known.name)
def test_every_set_comes_safely_and_says_whose_it_is(known: PublicSet) -> None:
    assert known.source.url.startswith("https://")
    assert known.home.startswith("https://")
    assert known.licence
    assert known.attribution
    assert known.recipe is None or (RECIPES / known.recipe).is_file()
