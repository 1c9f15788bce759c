# `make demo` and `make test` do everything on a fresh machine that has Python and make.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all golden check bench coverage format fuzz mutation package protos clean tensorflow-check \
	docs release test-matrix check-oldest export-check

demo: $(VENV)/.demo-installed
	$(BIN)/python examples/demo.py

# Spread over the cores; a single test is run quicker without: python -m pytest tests/...
test: $(VENV)/.dev-installed
	$(BIN)/python -m tests.transformers4
	$(BIN)/python -m pytest --numprocesses=auto

# The slow tests as well, and every point of those that choose some.
test-all: $(VENV)/.dev-installed
	$(BIN)/python -m tests.transformers4
	$(BIN)/python -m pytest --numprocesses=auto --all

# Rewrites the transcripts in tests/golden, which hold the wording of every command; read the difference before you commit.
golden: $(VENV)/.dev-installed
	GOLDEN=rewrite $(BIN)/python -m pytest --quiet tests/golden

# Tests come last, so that the closing line is pytest's.
check: $(VENV)/.dev-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python protos/compile.py --check
	$(MAKE) --no-print-directory package
	$(MAKE) --no-print-directory test

format: $(VENV)/.dev-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Measurements beside targets; TensorFlow's side is measured when TENSORFLOW_PYTHON names an interpreter that has it.
bench: $(VENV)/.bench-installed
	$(BIN)/python -m benchmarks $(if $(TENSORFLOW_PYTHON),--tensorflow $(TENSORFLOW_PYTHON)) $(if $(ONLY),--only $(ONLY))

# Coverage-guided fuzzing of every kind of file, FUZZ_SECONDS for each; found inputs are kept in the current folder.
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.dev-installed
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) --config-settings editable_mode=compat --editable '.[dev,fuzz]' \
		|| { echo "atheris cannot be installed here (its wheels are for Linux and CPython 3.11 and later);" \
			"python -m tests.fuzz.mutate needs nothing more" >&2; exit 2; }
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS)

# Lines and branches of tfckpt that the tests run in their own process; under 95 % it fails.
coverage: $(VENV)/.dev-installed
	$(BIN)/python -m pytest --quiet --cov=tfckpt --cov-branch --cov-report=term-missing:skip-covered \
		--cov-fail-under=95 tests/tfckpt tests/contracts tests/hostile tests/test_public_api.py tests/test_import.py

# Small changes to the code that reads and writes the formats, and whether a test notices them; one in five, or what
# MUTANTS matches, as in MUTANTS='tfckpt.sstable.block.*'. `mutmut show NAME` shows a change.
MUTANTS ?= tfckpt.*__mutmut_*[37]
mutation: $(VENV)/.mutation-installed
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mutmut run '$(MUTANTS)'
	$(BIN)/mutmut results | sed -n '/survived$$/p; /no tests$$/p; /suspicious$$/p'

# Jobs against a real S3 server on the loopback, in processes and on Dask, with workers killed, in an environment of its
# own; a few minutes. FIGURES names a file that gets the counts for docs/scale.md.
scale-check: $(VENV)-scale/.installed
	SCALE_FIGURES=$(abspath $(FIGURES)) $(VENV)-scale/bin/python -m pytest -W default tests/scale tests/tfckpt/jobs tests/tfckpt/sinks

$(VENV)-scale/.installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)-scale
	$(VENV)-scale/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--config-settings editable_mode=compat --editable '.[scale]'
	@touch $@

# The tests that need no torch, with every interpreter that is there, and the oldest and newest releases that setup.cfg
# admits; about three minutes a combination on two cores, and a table in the end.
test-matrix:
	$(PYTHON) -m tests.matrix

# The tests of the formats with the oldest releases that setup.cfg allows: NumPy 1 computes with other types.
check-oldest:
	$(PYTHON) -m tests.matrix $$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])') oldest --tests \
		tests/contracts $(addprefix tests/tfckpt/,bundle coding files graphs keras sstable storage tensors v1 writing)

# Programs for phones, each in an environment of its own: 550 MB for ExecuTorch and 1.1 GB for LiteRT. Both import
# packages that warn, so that warnings are no errors here.
export-check:
	for extra in executorch litert; do \
		$(PYTHON) -m venv .export-check/$$extra && \
		.export-check/$$extra/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
			--config-settings editable_mode=compat --editable ".[$$extra]" fsspec hypothesis pytest && \
		.export-check/$$extra/bin/python -m pytest --quiet -W default --all \
			tests/converter/programs/test_phones.py tests/test_deployment_doc.py || exit 1; \
	done

# The wheel of both packages, built and tried in an empty environment.
package: $(VENV)/.dev-installed
	$(BIN)/python -m tests.package

# What is published: sdist and wheel in dist/, checked by twine and tried in empty environments with the dependencies
# that pip finds for them.
release: $(VENV)/.dev-installed
	rm -rf dist
	$(BIN)/python -m tests.package dist

# The site of docs/ in build/site, strictly, in an environment of its own; then every link in it is followed.
docs: $(VENV)-docs/.installed
	$(VENV)-docs/bin/zensical build --strict --clean
	$(VENV)-docs/bin/python -m tests.site

$(VENV)-docs/.installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--config-settings editable_mode=compat --editable '.[docs]'
	@touch $@

# Real TensorFlow loads what we write, and lives in one process with us; RECORD=1 also records the result.
tensorflow-check: $(VENV)/.dev-installed
	@test -n "$(TENSORFLOW_PYTHON)" || { echo "name an interpreter that has TensorFlow: make $@ TENSORFLOW_PYTHON=PATH" >&2; exit 2; }
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/python -m tests.tensorflow_check.write "$$folder" && \
	$(TENSORFLOW_PYTHON) tests/tensorflow_check/load.py "$$folder" $(if $(RECORD),tests/tensorflow_check/recorded.json)
	TFCKPT_TENSORFLOW_PYTHON=$(TENSORFLOW_PYTHON) $(BIN)/python -m pytest --quiet tests/test_coexistence.py

protos: $(VENV)/.dev-installed
	$(BIN)/python protos/compile.py

clean:
	rm -rf $(VENV) $(VENV)-docs .export-check build dist mutants *.egg-info

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

$(VENV)/.mutation-installed: $(VENV)/.dev-installed
	$(PIP) --config-settings editable_mode=compat --editable '.[dev,mutation]'
	@touch $@
