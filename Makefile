# Everything a newcomer types. `make help` lists it; each target sets up what it needs and is idempotent.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stageline-ready
JSON ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## .venv with pinned dependencies; mosquitto when missing
	@$(BIN)/python deploy/ensure_mosquitto.py

$(STAMP): pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh deploy/setup.sh
	@touch $@

demo: setup ## a real picture classified by three unequal devices (JSON=build/demo.json to keep what it saw)
	@$(BIN)/stageline demo $(if $(JSON),--json $(JSON),)

test: setup ## the tests (a real mosquitto, real processes)
	@$(BIN)/python -m pytest $(ARGS)

check: setup ## ruff, mypy strict, import-linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

format: setup ## put the code in its usual form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## the figures of docs/performance.md, measured here
	@$(BIN)/stageline bench all

clean: ## remove what was made (not .venv)
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
