# Run `make` to list the targets. Everything is installed into .venv; set PYTHON to use another Python 3.11+.
.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin
# Processes that run tests side by side; some wait for Dagster, so one more than two cores. Each takes up to 1 GB.
WORKERS ?= 3
export DAGSTER_HOME := $(CURDIR)/dagster_home
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where Python may not keep what it compiled, every process compiles Dagster anew: seconds each, and a step is a process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo dev test test-packs test-ui test-onnx lint

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: .venv/.ready ## make .venv with the package and its tools

.venv/.ready: pyproject.toml
	@echo "installing into .venv (a few minutes the first time)"
	$(PYTHON) -m venv .venv
	@# Compiled is what steps import, 3,600 modules; pip would compile all 20,000.
	$(BIN)/pip install --quiet --no-compile --editable '.[dev]'
	$(BIN)/python -c 'import s3_assets.definitions, openai, scipy.stats, sklearn.linear_model, torch, transformers'
	@touch $@

demo: setup ## the rounds of the demo task, with what they achieved (a few minutes after installing)
	$(BIN)/s3-assets demo

dev: setup ## the Dagster UI on http://127.0.0.1:3000
	@# dg warns when a .venv is there and not the active one.
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/dg dev --host 127.0.0.1

test: setup ## the tests; needs no network, browser or packs (where S3_ASSETS_PACKS names packs, those on real text too)
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(if $(S3_ASSETS_PACKS),-m "not ui and not onnx")
	@echo "left out: tests that need $(if $(S3_ASSETS_PACKS),,the text packs (make test-packs), )a browser (make test-ui), the extra onnx (make test-onnx)"

test-packs: setup ## tests on real text; S3_ASSETS_PACKS names the folder of packs
	@test -n "$(S3_ASSETS_PACKS)" || { echo "set S3_ASSETS_PACKS to the folder of packs"; exit 2; }
	$(BIN)/pytest -q -m packs -n $(WORKERS) --dist loadfile

test-ui: setup ## tests of the UI in headless Chromium (found as chromium on the PATH, or S3_ASSETS_CHROMIUM)
	$(BIN)/pip install --quiet --editable '.[ui]'
	$(BIN)/pytest -q -m ui

test-onnx: setup ## tests of students as ONNX files
	$(BIN)/pip install --quiet --editable '.[onnx]'
	$(BIN)/pytest -q -m onnx

lint: setup ## format, lint and type checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
