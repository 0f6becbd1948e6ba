# What a person types. Needs GNU make and Python 3.11 to 3.13; everything else goes into .venv and .tools.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first of these that runs and is new enough; `make PYTHON=/path/to/python3.12 install` overrides.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)

NEEDS_PYTHON = test -n "$(PYTHON)" || { \
	echo "edgevision needs Python 3.11, 3.12 or 3.13 on PATH, or: make PYTHON=/path/to/python" >&2; exit 1; }

# uv resolves and installs; pip fetches it into .tools where it is not on PATH.
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
# On a terminal uv shows how far it is.
UV_FLAGS := $(shell test -t 2 || echo --quiet) --python .venv/bin/python

# In the order that tests/conftest.py gives: the longest files first.
TWO := -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

MEMBERS := device converters benchmarks
PROJECTS := pyproject.toml $(MEMBERS:%=%/pyproject.toml)
INSTALLED := .venv/.installed
BIN := .venv/bin

.PHONY: help install demo bench test test-arm64 check lint format types lock build clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED)  ## install everything into .venv, at the versions in requirements.lock

demo: $(INSTALLED)  ## train, export, verify, benchmark and stream on real digits; results in demo/
	$(BIN)/edgevision demo --out demo --overwrite

# Arguments by way of BENCH: make bench BENCH="--threads 2 exports/pets.int8.tflite".
bench: $(INSTALLED)  ## how fast MediaPipe, ONNX Runtime, OpenVINO and OpenCV are with the same network (15 minutes)
	$(BIN)/python benchmarks/field.py $(BENCH)

test: $(INSTALLED)  ## run the tests, in two processes
	$(BIN)/python -m pytest $(TWO)

test-arm64: $(INSTALLED)  ## the device's tests on the Raspberry Pi's architecture, under qemu (about 15 minutes)
	$(BIN)/python tests/arm64/run.py

check: $(INSTALLED)  ## the whole gate: format, lint, types, tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest $(TWO)

lint: $(INSTALLED)  ## ruff's checks
	$(BIN)/ruff check

format: $(INSTALLED)  ## rewrite the source in ruff's format
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

types: $(INSTALLED)  ## pyright, strict
	$(BIN)/pyright --pythonpath $(BIN)/python

# Not uv.lock: that one writes the address of the package index next to each file, and fails behind a mirror.
lock: | $(UV)  ## choose the versions in requirements.lock anew
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --no-annotate --no-emit-index-url \
		--extra digits --extra pretrained --extra tensorboard --group dev \
		--no-emit-package edgevision $(MEMBERS:%=--no-emit-package edgevision-%) \
		--output-file requirements.lock pyproject.toml

build: $(INSTALLED)  ## build the four wheels into dist/
	@for project in . $(MEMBERS); do \
		(cd $$project && $(CURDIR)/$(BIN)/python -m hatchling build -t wheel -d $(CURDIR)/dist) || exit 1; done

clean:  ## remove what make installed and built; demo/ and runs/ stay
	rm -rf .venv .venvs .arm64 .tools dist build .pytest_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.lock $(PROJECTS) | $(UV)
	@$(NEEDS_PYTHON)
	@test -x .venv/bin/python || $(UV) venv --quiet --clear --no-python-downloads --python "$$(command -v $(PYTHON))" .venv
	@echo "installing into .venv (about 3 GB the first time)"
	@$(UV) pip sync $(UV_FLAGS) --compile-bytecode --require-hashes requirements.lock
	@$(UV) pip install $(UV_FLAGS) --no-deps --no-build-isolation -e . $(MEMBERS:%=-e ./%)
	@touch $@

.tools/bin/uv:
	@$(NEEDS_PYTHON)
	@if $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target .tools uv; \
	elif $(PYTHON) -m venv .tools/venv >/dev/null 2>&1; then \
		.tools/venv/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore uv \
		&& mkdir -p .tools/bin && ln -s ../venv/bin/uv $@; \
	else \
		echo "$(PYTHON) has neither pip nor ensurepip to fetch uv with: sudo apt install python3-pip," \
			"or put uv on PATH" >&2; exit 1; \
	fi
