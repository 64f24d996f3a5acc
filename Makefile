# The two commands of this project: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint format docs clean

help:
	@echo "make demo    install into $(VENV) (no torch) and transcribe the samples"
	@echo "make test    install everything for development and run all tests"
	@echo "make lint    ruff, mypy, and whether docs/cli.md is up to date"
	@echo "make format  let ruff write the code's form"
	@echo "make docs    write docs/cli.md anew from the program's own help"

demo: $(VENV)/.lite
	$(BIN)/python samples/demo.py

test: $(VENV)/.full
	$(BIN)/python -m pytest

lint: $(VENV)/.full
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate_cli.py --check

format: $(VENV)/.full
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.full
	$(BIN)/python docs/generate_cli.py

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamps: installed again only when pyproject.toml changed since.
$(VENV)/.lite: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e .
	@touch $@

$(VENV)/.full: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.lite

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ark-asr needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
