# Everything a newcomer types. `make help` lists it; each target sets up what it needs and is idempotent.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JSON ?=
JSON_FOLDER = $(if $(JSON),mkdir -p '$(dir $(JSON))' && )
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help setup setup-bench setup-learn setup-dev demo test check format bench bench-adaptive bench-exits bench-learning study chaos fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: ## .venv with pinned dependencies; mosquitto when missing
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh deploy/setup.sh demo

setup-bench:
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh deploy/setup.sh demo,bench

setup-learn:
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh deploy/setup.sh demo,bench,learn

setup-dev:
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh deploy/setup.sh demo,bench,learn,dev

demo: setup ## a real picture classified by three unequal devices (JSON=build/demo.json to keep what it saw)
	@$(JSON_FOLDER)$(BIN)/stageline demo $(if $(JSON),--json $(JSON),)

test: setup-dev ## the tests (a real mosquitto, real processes)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup-dev ## ruff, mypy strict, import-linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup-dev ## put the code in its usual form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup-bench ## measure everything on emulated devices: ~1 hour; QUICK=1: under 6; ONLY=name: one; PICTURES=dir
	@$(BIN)/python -m bench $(ONLY) $(if $(QUICK),--quick) $(if $(PICTURES),--pictures '$(PICTURES)') $(ARGS)

chaos: setup-bench ## kill, stop, cut off and starve what runs, and compare every answer (JSON=file; ONLY=name; QUICK=1)
	@$(JSON_FOLDER)$(BIN)/python -m bench.chaos $(foreach name,$(ONLY),--only $(name)) $(if $(QUICK),--quick) $(if $(JSON),--json '$(JSON)') $(ARGS)

fuzz: setup-dev ## damaged bytes at everything that decodes bytes, guided by coverage: 60 s in all (SECONDS=n)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt atheris || true
	@$(BIN)/python -m fuzz --seconds $(SECONDS)

bench-adaptive: setup-bench ## plans that follow a changing fleet against plans that stay: ~35 min; QUICK=1: 9; LOAD=paced: half
	@$(JSON_FOLDER)$(BIN)/python -m bench.adaptive $(if $(QUICK),--quick) $(if $(LOAD),--load $(LOAD)) $(if $(JSON),--json '$(JSON)') $(ARGS)

bench-exits: setup-bench ## easy inputs, then hard ones, and the cut moves, live: about 3 min; ARGS='--seconds 20': less
	@$(JSON_FOLDER)$(BIN)/python -m bench.exits $(if $(JSON),--json '$(JSON)') $(ARGS)

study: setup-learn ## the paper's study of networks with exits: all methods beside the exact plan: ~5 min; QUICK=1: 1
	@$(JSON_FOLDER)$(BIN)/python -m bench.study $(if $(QUICK),--quick) $(if $(JSON),--json '$(JSON)') $(ARGS)

bench-learning: setup-learn ## policies that learn where the cost model is wrong, made-up worlds: some minutes; QUICK=1: less
	@$(JSON_FOLDER)$(BIN)/python -m bench.learning $(if $(QUICK),--quick) $(if $(JSON),--json '$(JSON)') $(ARGS)

clean: ## remove what was made (not .venv)
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
