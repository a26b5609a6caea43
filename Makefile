# `make demo` and `make test` do all their own set-up.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test format

setup: $(READY)

$(READY): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kinoscope needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,export,offline]'
	@$(BIN)/python -m pip install --quiet --no-deps 'mediapipe==0.10.14; python_version < "3.13"' || \
		echo 'mediapipe 0.10.14 has no wheel for this system: `kinoscope pose` is left out'
	touch $(READY)

demo: setup
	$(BIN)/kinoscope demo

test: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
