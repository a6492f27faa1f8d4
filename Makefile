# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv themselves.
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.10,$(shell command -v python$(v) 2>/dev/null)) python3)
BIN := .venv/bin

.PHONY: demo test lint fix

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,cluster]'
	touch $@

demo: .venv/.ready
	$(BIN)/asid demo

test: lint
	RAY_AUTH_MODE=disabled $(BIN)/python -m pytest

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: .venv/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
