# Two commands: `make train` and `make test`, and `make quick` while you work. All set up .venv first.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null && \
	command -v $$p && break; done)
BIN := .venv/bin
PIP := -m pip --quiet --disable-pip-version-check
PINNED = --constraint constraints.txt --editable . $(DEV)
DEV = $(call GROUP,dev)
GROUP = $$($(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups']['$(1)'])")

# A .venv outlives the Python that it was made with, and is of no use then.
ifneq ($(wildcard .venv),)
ifneq ($(shell $(BIN)/python -c 'print(1)' 2>/dev/null),1)
$(info the Python of .venv is gone; it is made again)
$(shell rm -rf .venv)
endif
endif

# What is imported is compiled once, also where nothing is to be written beside it otherwise: the
# tests start the program hundreds of times.
export PYTHONDONTWRITEBYTECODE :=

# Three tests at a time, each with one BLAS thread: on two cores, as many wait for a process.
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal

.PHONY: train test pytest quick parity mutation setup setup-dev check lint types format lock clean

train: setup
	@echo "mlx-rev is in $(BIN): 'source $(BIN)/activate' puts it on your path"
	@$(BIN)/mlx-rev train $(ARGS)

# mypy takes one core for a while, so the tests begin beside it.
test: setup-dev lint
	@$(MAKE) --no-print-directory --jobs 2 types pytest

pytest: setup-dev
	$(PYTEST) $(ARGS)

# For the loop of work: without the tests that start programs, train, compile kernels or write
# models in every format, and without the slowest two of the rest. Hardly any of these waits for
# something, so two at a time are enough.
quick: setup-dev
	$(PYTEST) -n 2 -m 'not slow and not gpu and not parity and not process' \
		--hypothesis-profile quick --ignore tests/cpu --ignore tests/train \
		--ignore tests/cli --ignore tests/faults --ignore tests/formats --ignore tests/tools \
		--ignore tests/text/test_chunk_cache.py --ignore tests/data/test_tokenising.py $(ARGS)

# Against PyTorch's transformers. On Linux the index has the build without CUDA.
parity: setup-dev
	$(BIN)/python $(PIP) install --editable '.[parity]' \
		--extra-index-url https://download.pytorch.org/whl/cpu
	$(BIN)/python -m pytest -m parity $(ARGS)

# Small faults put into the code on purpose: do the tests notice? Minutes for every module.
mutation: setup-dev
	$(BIN)/python $(PIP) install --constraint constraints.txt $(call GROUP,mutation)
	$(BIN)/python tools/mutation.py $(ARGS)

check: setup-dev
	@$(MAKE) --no-print-directory --jobs 2 lint types

lint: setup-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: setup-dev
	$(BIN)/mypy

format: setup-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

setup: .venv/installed
setup-dev: .venv/installed-dev

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "mlx-rev needs Python 3.11 or newer: 'brew install python@3.12' on macOS, 'apt install python3 python3-venv' on Debian or Ubuntu, then run make again" >&2; exit 2; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "could not make .venv: on Debian or Ubuntu, 'apt install python3-venv', then run make again" >&2; exit 2; }

# Python compiles what is imported when it first is: a fraction of all that is installed.
.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python $(PIP) install --no-compile --editable .
	@touch $@

# The tests run with the versions in constraints.txt, whatever came out since. uv is many times
# faster than pip, but does not know pip's settings: where it cannot, or pip was told of another
# index, pip does it.
.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	{ ! $(BIN)/python -m pip config list | grep -q '[.]index-url=' && \
		$(BIN)/python $(PIP) install --constraint constraints.txt uv && \
		UV_SYSTEM_CERTS=1 $(BIN)/uv pip install --quiet --python $(BIN)/python $(PINNED); } || \
		$(BIN)/python $(PIP) install --no-compile $(PINNED)
	@touch $@ .venv/installed

# Renews constraints.txt with the newest versions that pyproject.toml allows; run the tests then.
lock: BIN := build/lock/bin
lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	$(BIN)/python $(PIP) install --editable . $(DEV) uv
	{ echo '# What `make test` installs. Renewed by `make lock`, on Linux.'; \
		$(BIN)/python $(PIP) freeze --exclude-editable; } > constraints.txt
	rm -rf build/lock

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
