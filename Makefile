# `make demo` and `make test` do everything on a fresh machine that has Python and make.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench format protos clean tensorflow-check

demo: $(VENV)/.demo-installed
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev-installed
	$(BIN)/python -m pytest

# Tests come last, so that the closing line is pytest's.
check: $(VENV)/.dev-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python protos/compile.py --check
	$(MAKE) --no-print-directory test

format: $(VENV)/.dev-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Measurements beside targets; TensorFlow's side is measured when TENSORFLOW_PYTHON names an interpreter that has it.
bench: $(VENV)/.bench-installed
	$(BIN)/python -m benchmarks $(if $(TENSORFLOW_PYTHON),--tensorflow $(TENSORFLOW_PYTHON)) $(if $(ONLY),--only $(ONLY))

# Real TensorFlow loads what we write; RECORD=1 also records the result.
tensorflow-check: $(VENV)/.dev-installed
	@test -n "$(TENSORFLOW_PYTHON)" || { echo "name an interpreter that has TensorFlow: make $@ TENSORFLOW_PYTHON=PATH" >&2; exit 2; }
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/python -m tests.tensorflow_check.written "$$folder" && \
	$(TENSORFLOW_PYTHON) tests/tensorflow_check/loaded.py "$$folder" $(if $(RECORD),tests/tensorflow_check/recorded.json)

protos: $(VENV)/.dev-installed
	$(BIN)/python protos/compile.py

clean:
	rm -rf $(VENV) build dist *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-installed: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --config-settings editable_mode=compat --editable '.[torch]'
	@touch $@

$(VENV)/.dev-installed: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --config-settings editable_mode=compat --editable '.[dev]'
	@touch $@ $(VENV)/.demo-installed

$(VENV)/.bench-installed: $(VENV)/.dev-installed
	$(PIP) --config-settings editable_mode=compat --editable '.[dev,bench]'
	@touch $@
