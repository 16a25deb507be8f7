# make demo · make test · make check · make soak · make bench · make fuzz (docs/ tells of each: faults.md, benchmarks.md)

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

SOAK ?= --minutes 1

.PHONY: demo test check soak build clean bench bench-hot bench-paced bench-start bench-publish bench-calls fuzz

demo: .venv/.base
	$(BIN)/python examples/demo/demo.py

test: .venv/.all
	$(BIN)/python -m pytest

check: .venv/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: .venv/.all
	$(BIN)/python -m tests.faults.soak $(SOAK)

build: .venv/.all
	$(BIN)/python -m build --outdir dist

.venv/.base: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

.venv/.all: .venv/.base
	$(PIP) install --constraint constraints.txt --editable '.[training,dev]'
	touch $@

# Each door that strangers' bytes come in by, for a minute of CPU each; what is found lies in fuzz-found.
fuzz: .venv/.all
	$(BIN)/python -m tests.fuzz --seconds 60

bench: bench-hot bench-paced bench-start bench-publish bench-calls

bench-hot: .venv/.all
	$(BIN)/python bench/against.py

bench-paced: .venv/.all
	$(BIN)/python bench/paced.py --largest

bench-start: .venv/.all
	$(BIN)/python bench/start.py

bench-publish: .venv/.all
	$(BIN)/python bench/publish.py

bench-calls: .venv/.all
	$(BIN)/python bench/calls.py

clean:
	rm -rf .venv bench/.venvs dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
