# `make lab` opens the course, `make test` runs everything CI runs. Both build .venv first, and reuse it afterwards.
# Options: PYTHON=/path/to/python3.12 (which interpreter .venv is made with), ARGS="…" (passed on).

VENV    ?= .venv
ARGS    ?=
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check install -c constraints.txt
PINS    := pyproject.toml constraints.txt
TRY     := python3.11 python3.12 python3.13 python3 python
FITS    := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.PHONY: help app book lab test test-full test-latest coverage mutation check bench bench-ui e2e

help:
	@echo "make lab        JupyterLab on notebooks/00_start_here.ipynb   (ARGS=\"--no-browser --port 8899\")"
	@echo "make app        the Compare, FeatureMaps and Detections panels as pages without code"
	@echo "make test       everything CI runs; ends with the times"
	@echo "make test-full  the same and the tests that take minutes each"
	@echo "make test-latest  the plug's tests with today's releases instead of the pins, in .venv-latest"
	@echo "make coverage   which lines of workbench/ the tests reach; records it in data/results"
	@echo "make mutation   whether the tests notice small wrong changes, a sample; half an hour"
	@echo "make check      ruff, nbstripout and mypy only"
	@echo "make bench      plug, ruler, grading, training, sweep; 40 minutes   (ARGS=\"ruler --run 2\")"
	@echo "make bench-ui   how long the eye waits for a panel, in a real browser"
	@echo "make e2e        the tests that drive a real browser"
	@echo "make book       every lesson, run, as pages in site/ that need no network"

lab: $(VENV)/.lab
	@$(BIN)/python -m workbench lab $(ARGS)

app: $(VENV)/.app
	@$(BIN)/python -m workbench app $(ARGS)

test: $(VENV)/.test
	@$(BIN)/python .ci/suite.py $(ARGS)

test-full: $(VENV)/.test
	@$(BIN)/python .ci/suite.py --full $(ARGS)

test-latest: | $(BIN)/python
	@$(BIN)/python .ci/latest.py $(ARGS)

coverage: $(VENV)/.test
	@$(BIN)/python .ci/cover.py $(ARGS)

mutation: $(VENV)/.test
	@$(BIN)/python .ci/mutate.py $(ARGS)

check: $(VENV)/.test
	@$(BIN)/python .ci/suite.py --only check $(ARGS)

bench: $(VENV)/.test
	@$(BIN)/python .ci/bench.py $(ARGS)

bench-ui: $(VENV)/.test
	@$(BIN)/python .ci/bench.py --part workbench.panels.bench $(ARGS)

e2e: $(VENV)/.test
	@$(BIN)/python -m pytest tests/e2e -m browser $(ARGS)

book: $(VENV)/.book
	@$(BIN)/python docs/build.py $(ARGS)

$(BIN)/python:
	@for python in $(or $(PYTHON),$(TRY)); do \
	  if $$python -c '$(FITS)' 2>/dev/null; then \
	    echo "Building $(VENV) with $$python"; exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "The workbench needs Python 3.11, 3.12 or 3.13 with its venv module; none of '$(or $(PYTHON),$(TRY))' is one." \
	  "Install one of them (on Debian and Ubuntu also python3-venv), or name it: make PYTHON=/path/to/python3.12 lab" >&2; \
	exit 2

$(VENV)/.lab: $(PINS) | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.app: $(PINS) | $(BIN)/python
	$(PIP) -e ".[app]"
	@touch $@

$(VENV)/.test: $(PINS) | $(BIN)/python
	$(PIP) -e ".[dev,runtimes,reference,classroom,app]"
	@touch $(VENV)/.lab $(VENV)/.app $@

$(VENV)/.book: $(PINS) | $(BIN)/python
	$(PIP) -e ".[book,runtimes,reference]"
	@touch $(VENV)/.lab $@
