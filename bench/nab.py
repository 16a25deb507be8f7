"""What the anomaly detector is worth on the Numenta Anomaly Benchmark.

    python bench/nab.py --data DATA/nab [--recipe training/otolith_training/recipes/nab.toml] [--out DIR] [--json]

DATA/nab holds `windows.json` and a folder of series for each of the corpus' parts. A model a series is learned from the
series' first 15 %; then the series passes the daemon's own stream, row by row. `docs/anomaly.md` tells of the figures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from otolith_training.measure.nab_run import run_corpus

RECIPE = Path(__file__).parent.parent / "training" / "otolith_training" / "recipes" / "nab.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--out", type=Path, help="Folder for the models.  [default: none are kept]")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = run_corpus(arguments.data, arguments.recipe.read_text("utf-8"), arguments.out or Path(folder))
    if arguments.json:
        print(json.dumps(figures))
        return
    found = f"{figures['found']} of {figures['windows']} windows, {figures['false_positives']} false alarms"
    print(f"score {figures['score']:.1f} at {figures['threshold']}: {found}")
    for name, of in figures["by_folder"].items():
        print(f"  {name}: {of}")
    for of in figures["halves"]:
        print(f"  half of the series, at the other half's threshold {of['threshold']}: {of['score']:.1f}")


if __name__ == "__main__":
    main()
