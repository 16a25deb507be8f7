"""The report: one page, whole, that asks for nothing and believes no string it is given."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from otolith.errors import OtolithError
from otolith_training.measure.evaluate import evaluate
from otolith_training.measure.exhibits import Exhibits, Mistake, Strip
from otolith_training.measure.report import render, write_report
from otolith_training.network.cards import make_card
from otolith_training.network.export import export
from otolith_training.network.network import Network
from tests.training.small import DATA, SOUND, sound_recipe

HOSTILE = '"><script>alert(1)</script>$x^$'


class Tags(HTMLParser):
    """Counts the page's elements, and keeps what each refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.refers: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.refers += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


@pytest.fixture
def words(network: Network, tmp_path: Path) -> Path:
    export(network, make_card(sound_recipe(), SOUND), [], tmp_path / "words.onnx")
    return tmp_path / "words.onnx"


def read(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def test_a_page_of_clips_holds_its_figures_plots_and_players_and_asks_for_nothing(words: Path, tmp_path: Path) -> None:
    figures = evaluate(words, DATA / "clips", "all", report=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    tags = read(page)
    assert f"{100 * figures['accuracy']:.1f} %" in page
    assert tags.counts["audio"] >= 2
    assert tags.counts["svg"] >= 2
    assert "script" not in tags.counts
    assert all(target.startswith(("data:", "#")) for target in tags.refers)
    assert not re.search(r"url\((?!#)|@import|://", page)


def test_a_page_of_long_recordings_has_the_curve_and_the_soak_and_the_other_model(words: Path, tmp_path: Path) -> None:
    clips = sorted((DATA / "clips").glob("*/*.flac"))
    data = tmp_path / "long"
    data.mkdir()
    sound = [soundfile.read(path, dtype="float32")[0] for path in clips] * 3
    soundfile.write(data / "a<b>.wav", np.concatenate(sound), 16000)
    rows = [f"a<b>.wav,{at}.2,{at}.8,{path.parent.name}" for at, path in enumerate(clips * 3)]
    (data / "events.csv").write_text("\n".join(["file,start,end,label", *rows]) + "\n")
    figures = evaluate(words, data, other=words, report=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert figures["events"] == sum(path.parent.name in ("yes", "no") for path in clips) * 3
    assert figures["compare"]["points"][0]["difference"] == 0
    assert "a&lt;b&gt;.wav" in page
    assert "<b>.wav" not in page
    assert "false alarms an hour" in page
    assert json.loads(json.dumps(figures)) == figures


def test_recordings_that_hold_no_event_are_told_by_their_false_alarms(words: Path, tmp_path: Path) -> None:
    data = tmp_path / "quiet"
    data.mkdir()
    soundfile.write(data / "room.wav", np.zeros(3 * 16000, np.float32), 16000)
    (data / "events.csv").write_text("file,start,end,label\n")
    figures = evaluate(words, data, soaked=True, other=words, report=tmp_path / "page.html")
    assert (figures["events"], figures["at_card"]["missed"]) == (0, None)
    assert [row["minutes"] for row in figures["soak"]] == [0, 1, 10, 60]
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "false alarms an hour" in page


def test_no_string_of_the_data_becomes_part_of_the_page() -> None:
    labels = [HOSTILE, "_background_"]
    figures = {
        "model": f"{HOSTILE}@0123", "data": HOSTILE, "split": HOSTILE, "clips": 2, "accuracy": 0.5, "macro_f1": 0.5,
        "accuracy_interval": [0, 1], "macro_f1_interval": [0, 1], "interval_over": {"unit": "clip", "count": 2},
        "per_label": {HOSTILE: {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 2}},
        "confusion": {"labels": labels, "matrix": [[1, 0], [1, 0]]},
        "per_group": {HOSTILE: {"clips": 2, "accuracy": 0.5}},
    }  # fmt: skip
    sound = np.zeros(16000, np.float32)
    strip = Strip(HOSTILE, labels, np.full((50, 2), 0.5, np.float32), 0.02, [(HOSTILE, 0, 1)], [(HOSTILE, 0, 1)], sound)
    page = render(figures, Exhibits(16000, [strip], [Mistake(HOSTILE, HOSTILE, sound)], [Mistake(HOSTILE, "", None)]))
    assert "script" not in read(page).counts
    assert page.count("&lt;script&gt;") >= 8
    assert read(page).counts["audio"] == 2


def test_a_report_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    figures = {
        "model": "m@0", "data": "d", "split": "all", "clips": 0, "accuracy": 0.0, "macro_f1": 0.0, "per_label": {},
        "accuracy_interval": [0, 1], "macro_f1_interval": [0, 1], "interval_over": {"unit": "clip", "count": 0},
        "confusion": {"labels": [], "matrix": []}, "per_group": {},
    }  # fmt: skip
    with pytest.raises(OtolithError, match="cannot be written"):
        write_report(tmp_path / "no" / "page.html", figures, Exhibits(16000))
