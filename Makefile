# The commands of a checkout. `make run` and `make test` set up what they need.
.DEFAULT_GOAL := help
.PHONY: help setup run ui mlflow serve status check docs test test-services test-deep bench lock clean

PYTHON ?= python3.11
BIN := .venv/bin

# Without a home of your own the commands work on the shipped sample, with state in data/.
ifndef INVENTORYBOT_HOME
export INVENTORYBOT_LANDING ?= $(CURDIR)/data/sample
endif
export DBT_SEND_ANONYMOUS_USAGE_STATS := false
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
# Where Python may not keep what it compiled, every process compiles its libraries anew: seconds of each start.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on the path: install Python 3.11 or name it, as in 'make PYTHON=python3 $(MAKECMDGOALS)'"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "installing the locked environment ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

setup: .venv/installed ## install the locked environment
	@$(BIN)/inventorybot prepare --project-only

run: setup ## run the main job on the sample, or on INVENTORYBOT_HOME
	@$(BIN)/inventorybot run

ui: setup ## Dagster's web interface
	@$(BIN)/inventorybot ui

mlflow: setup ## MLflow's web interface
	@$(BIN)/inventorybot mlflow

serve: setup ## the HTTP endpoint on loopback
	@$(BIN)/inventorybot serve

status: setup ## what is published, what is champion, what waits
	@$(BIN)/inventorybot status

check: setup ## lint, types, imports, dbt parse without warnings
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/dbt --quiet --warn-error parse --no-partial-parse --project-dir dbt_project --profiles-dir dbt_project

docs: setup ## write the generated parts of the documents
	@$(BIN)/python -m orchestration.cli.documents

# A file of tests stays with one worker, which makes its fixtures once, and a worker has one thread: they share the cores.
test: export OMP_NUM_THREADS ?= 1
test: setup ## the tests, on up to four cores
	@$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-services: setup ## the tests that need a server; starts the servers
	@bash infra/test_services.sh

test-deep: setup ## the long proofs
	@$(BIN)/pytest -m deep -o faulthandler_timeout=3600

bench: setup ## measure, on data from BENCH_DATA; results in tests/benchmarks/results
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

lock: setup ## make requirements.lock again from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o requirements.lock
	@sed -i '1i # Made by `make lock` from pyproject.toml. Every package pinned with its hashes; installed by `make setup`.' requirements.lock

clean: ## remove the environment, build products and the state in data/ (the sample and data/landing stay)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dbt_project/target dbt_project/logs logs
	find data -mindepth 1 -maxdepth 1 ! -name sample ! -name landing -exec rm -rf {} +
