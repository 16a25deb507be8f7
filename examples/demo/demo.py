"""The demo: a daemon listens to bundled recordings in real time, and this process, its subscriber, shows what it hears.

Words over household noise first, then a wrist in motion. Behind each, what was heard is held against the truth that
stands beside the recording.

    python examples/demo/demo.py [PICTURE.svg]      # PICTURE: the last screen of each part, as a drawing
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from otolith import Subscriber
from otolith.cli.lines import line_for
from otolith.cli.screen import Screen
from otolith.wire.messages import DetectionMessage

HERE = Path(__file__).parent
MODELS = HERE.parent.parent / "exported_models"
EARLY_S = 0.2  # where one activity ends and the next begins is a matter of taste
GRACE_S = 1.0  # a label may come this long after what it names has ended
QUIET_S = 2.0  # after so long without a heartbeat the daemon is gone

console = Console()
picture = Console(record=True, width=88, file=io.StringIO(), force_terminal=True)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that is in the recording, in seconds from its start."""

    label: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A detection: its label, what of the recording it stands on, and when it reached us, in seconds from the start."""

    label: str
    at: float
    received: float


def main() -> None:
    words = [h for h in words_truth(HERE / "words.csv") if not h.label.startswith("_")]
    heard = [h for h in listen("words.onnx", "words.flac", rate=16000) if not h.label.startswith("_")]
    summarize("words", words, heard, late_from="end")
    activities = motion_truth(HERE / "motion.csv")
    summarize("activities", activities, listen("motion.onnx", "motion.csv", rate=104.3), late_from="start")
    if len(sys.argv) > 1:
        save_picture(Path(sys.argv[1]))


def save_picture(path: Path) -> None:
    """The last screens as a drawing that asks no other host for its font."""
    drawing = picture.export_svg(title="make demo")
    path.write_text(re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", drawing, flags=re.DOTALL))


def listen(model: str, recording: str, rate: float) -> list[Heard]:
    """Run a daemon on a recording in real time, show what it publishes, and return its detections."""
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/publish.sock"
        command = [sys.executable, "-m", "otolith", "run", "--model", MODELS / model]
        command += ["--source", f"recording:{HERE / recording}", "--publish", endpoint]
        with Subscriber(endpoint) as subscriber, subprocess.Popen(command, stderr=subprocess.PIPE) as daemon:
            heard = show(subscriber, rate)
        if daemon.returncode:
            sys.exit(f"the daemon ended with {daemon.returncode}: {daemon.stderr.read().decode()}")
    return heard


def show(subscriber: Subscriber, rate: float) -> list[Heard]:
    """A live screen on a terminal, a line a detection otherwise, until the daemon falls silent."""
    screen = Screen()
    heard: list[Heard] = []
    start_ns: int | None = None
    with Live(screen, console=console, refresh_per_second=15) if console.is_terminal else nullcontext():
        while (message := subscriber.receive(QUIET_S if start_ns else 20)) is not None:
            now_ns = time.time_ns()
            screen.take(message)
            if start_ns is None:
                start_ns = message.time_ns - round(message.position * 1e9 / rate)
            if isinstance(message, DetectionMessage) and message.phase == "start" and start_ns:
                at = (message.time_ns - start_ns) / 1e9
                heard.append(Heard(message.label, at, (now_ns - start_ns) / 1e9))
                if not console.is_terminal:
                    console.print(line_for(message), highlight=False, soft_wrap=True)
    picture.print(screen)
    return heard


def words_truth(path: Path) -> list[Happening]:
    with path.open() as file:
        return [Happening(row["label"], float(row["start"]), float(row["end"])) for row in csv.DictReader(file)]


def motion_truth(path: Path) -> list[Happening]:
    """Runs of equal labels, of at least a quarter of a second."""
    with path.open() as file:
        rows = [(float(row["t"]), row["label"]) for row in csv.DictReader(file)]
    runs = []
    for label, group in itertools.groupby(rows, key=lambda row: row[1]):
        times = [t for t, _ in group]
        runs.append(Happening(label, times[0], times[-1]))
    return [run for run in runs if run.end - run.start >= 0.25]


def summarize(what: str, truth: list[Happening], heard: list[Heard], late_from: str) -> None:
    """Hold detections against the truth: each may be the answer to one happening of its label."""
    left = list(heard)
    lateness = []
    missed = []
    for happening in truth:
        answers = [
            h
            for h in left
            if h.label == happening.label and happening.start - EARLY_S <= h.at <= happening.end + GRACE_S
        ]
        if answers:
            left.remove(answers[0])
            lateness.append(answers[0].received - getattr(happening, late_from))
        else:
            missed.append(happening)
    table = Table(title=f"{what}, held against the recording's truth", title_justify="left")
    for column in ("in the recording", "heard", "missed", "false", f"median lateness from its {late_from}"):
        table.add_column(column, justify="right", no_wrap=True)
    late = f"{1000 * statistics.median(lateness):.0f} ms" if lateness else "-"
    table.add_row(str(len(truth)), str(len(lateness)), str(len(missed)), str(len(left)), late)
    console.print(table)
    picture.print(table)
    for happening in missed:
        console.print(f"missed: {happening.label} at {happening.start:.1f} s", style="dim", highlight=False)
    for h in left:
        console.print(f"false: {h.label} at {h.at:.1f} s", style="dim", highlight=False)


if __name__ == "__main__":
    main()
