# `make demo` and `make test` need nothing but python3 (3.10 or newer) and make: they create .venv and install into it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CHECKED := build/checked

.PHONY: help venv demo test check bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(INSTALLED)  ## create .venv and install genkit into it

# Torch by its pin first: a build that lies on this machine is taken before the large one of the package index.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: venv  ## make five videos and a contact sheet in outputs/demo
	$(BIN)/genkit demo

test: venv  ## every test
	$(BIN)/pytest

check: venv  ## style, types of the built package, import directions, fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build && $(BIN)/pip install --quiet --no-deps --target $(CHECKED) .
	cd $(CHECKED) && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --package genkit
	$(BIN)/pytest -m "not slow and not gpu"

bench: venv  ## speed of the attention kernels on this machine
	$(BIN)/python -m genkit.benchmarks.block_sparse

clean:  ## remove what make created, but not outputs/
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
