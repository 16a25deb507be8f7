# make demo · make test · make check · make bench (docs/ tells of each)

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test check build bench clean

demo: .venv/.base
	$(BIN)/python examples/demo/demo.py

test: .venv/.all
	$(BIN)/python -m pytest

check: .venv/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

build: .venv/.all
	$(BIN)/python -m build --outdir dist

.venv/.base: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

.venv/.all: .venv/.base
	$(PIP) install --constraint constraints.txt --editable '.[training,dev]'
	touch $@

bench: .venv/.all
	$(BIN)/python bench/live.py
	$(BIN)/python bench/hot.py

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
