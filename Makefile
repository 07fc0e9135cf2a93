# The two commands a new user needs are `make repro` and `make test`; both set up what they need.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DVC_NO_ANALYTICS := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help repro test test-label check format wire clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.pipeline: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "make: needs Python 3.11 to 3.13, got: $$($(PYTHON) --version 2>&1); next: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[pipeline]'
	touch $@

$(VENV)/.test: $(VENV)/.pipeline
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

repro: $(VENV)/.pipeline ## create .venv, install, run the whole pipeline (dvc repro), print the headline table
	$(BIN)/dvc repro
	@$(BIN)/covidct report

test: $(VENV)/.test ## create .venv, install the test extras, run the default suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-label: $(VENV)/.test ## the Label Studio tests: a real server in its own environment, and headless Chromium
	COVIDCT_LABEL=1 $(BIN)/python -m pytest -m label tests/curation/test_labelstudio.py

check: $(VENV)/.dev ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wire: $(VENV)/.pipeline ## rewrite dvc.yaml's code dependencies from what the stages import
	$(BIN)/python tools/wire.py

clean: ## remove what the pipeline made (data/, caches); keeps .venv and the DVC cache
	rm -rf data cache .pytest_cache .mypy_cache .ruff_cache
