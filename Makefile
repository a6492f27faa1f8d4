# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv themselves, from Python 3.10, 3.11 or 3.12.
# The first interpreter that runs and fits: a pyenv shim exists for versions that are not switched on, so ask it.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
FOUND = $(shell for p in python3.11 python3.12 python3.10 python3 python; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
PYTHON := $(or $(PYTHON),$(FOUND))
BIN := .venv/bin

.PHONY: demo test slow lint fix site

.venv/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "asid needs Python 3.10, 3.11 or 3.12 with venv: install one, or make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench,docs,cluster]'
	touch $@

demo: .venv/.ready
	$(BIN)/asid demo

test: lint
	$(BIN)/python -m pytest

slow: .venv/.ready
	$(BIN)/python -m pytest -m slow -rP --show-capture=stdout

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: .venv/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

site: .venv/.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
