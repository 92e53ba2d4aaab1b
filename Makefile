# For GNU make 3.81 (macOS) and newer. All paths are relative, so a space in the path is harmless.
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
args :=

# Does nothing if everything is installed, so every target starts with it.
READY := command -v "$(PYTHON)" >/dev/null || { \
	echo 'Setup stopped: there is no "$(PYTHON)". Install Python 3.11 or newer.' >&2; exit 1; } \
	&& "$(PYTHON)" tools/bootstrap.py

# Keep bytecode despite PYTHONDONTWRITEBYTECODE: otherwise each process that a test starts compiles
# all that it imports, which takes longer than most tests.
PYTEST := env -u PYTHONDONTWRITEBYTECODE \
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.PHONY: help setup dev dev-web test test-all test-python explore coverage check format migration openapi client contract module modules release rename upgrade-check docs graph remove-module removal-drill pages bench bench-growth drills lock audit clean

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## Install everything into .venv
	@$(READY) && echo 'Ready. Start the server with: make dev'

# exec replaces the shell, so that signals reach the server.
dev: ## Start the server and its database, with reload
	@$(READY) && exec $(BIN)/backend dev $(args)

dev-web: ## Start the example front end beside `make dev`, in a second terminal; needs npm
	@$(READY) && exec $(BIN)/python -m tools.dev_web

# `make check` runs the architecture tests.
test: ## Run the quick tests; args="tests/modules -k login" narrows them
	@$(READY) && exec $(PYTEST) -m "not slow" $(or $(args),--ignore tests/test_architecture.py)

test-all: ## Run the slow tests, which make test omits; args="tests/test_browser.py" narrows them
	@$(READY) && $(PYTEST) -m slow $(args)
	$(if $(args),,@$(MAKE) --no-print-directory test-python)

test-python: ## Run setup and the quick tests on the newest other Python; args=python3.12 selects one
	@$(READY) && exec $(BIN)/python -m tools.newest_python $(args)

explore: ## Run the property tests with a hundred times as many examples, for hours
	@$(READY) && exec env TRELLIS_EXAMPLES=100 $(PYTEST) -m hypothesis --timeout 0 $(args)

coverage: ## Run the quick tests and report the branches they cover
	@$(READY) && exec $(PYTEST) -m "not slow" --cov --cov-report=term:skip-covered $(args)

check: ## Run all checks except the tests: style, types, boundaries, migrations, locks
	@$(READY)
	$(BIN)/python -m tools.lock --check
	$(BIN)/python -m tools.pages --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_architecture.py
	$(BIN)/python -m tools.contract
	$(BIN)/backend db check

format: ## Format the code and apply automatic fixes
	@$(READY)
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

migration: ## Write a migration for changed tables; m="add invoices" names it
	@test -n "$$m" || { echo 'Give it a name: make migration m="add invoices"' >&2; exit 1; }
	@$(READY) && exec $(BIN)/backend db revision "$$m"

openapi: ## Write openapi.json, the HTTP contract, and docs/errors.md after a change of routes or schemas
	@$(READY) && $(BIN)/backend openapi --output openapi.json && exec $(BIN)/python -m tools.errors

client: ## Write the generated part of clients/typescript, after `make openapi`
	@command -v npm >/dev/null || { \
		echo 'The client was not written: there is no npm. Install Node 20 or newer.' >&2; exit 1; }
	npm ci --prefix clients/typescript --ignore-scripts --no-audit --no-fund --loglevel=error
	npm run --silent --prefix clients/typescript generate

contract: ## Compare openapi.json with the last release; args="--release" records it as released
	@$(READY) && exec $(BIN)/python -m tools.contract $(args)

module: ## Write a new module; name=invoices fields="number:str:unique, due_on:date?"
	@test -n "$$name" || { echo 'Name it in the plural: make module name=invoices fields="number:str"' >&2; exit 1; }
	@$(READY) && exec $(BIN)/backend module new "$$name" $${fields:+--fields "$$fields"} $(args)

modules: ## List the modules and what they depend on
	@$(READY) && exec $(BIN)/backend module list

release: ## Release Trellis: record its API and files, commit the records, and tag the version
	@$(READY) && exec $(BIN)/python -m tools.release

rename: ## Give the project your name; name="Your Product", args="--dry-run" lists the changes
	@test -n "$$name" || { echo 'Give it a name: make rename name="Your Product"' >&2; exit 1; }
	@$(READY) && exec $(BIN)/backend rename "$$name" $(args)

upgrade-check: ## Compare the project with its release of Trellis; args="--against ../trellis" with a later one
	@$(READY) && exec $(BIN)/backend upgrade-check $(args)

docs: ## Build the documentation site in build/site; args=serve shows it while you write
	@$(READY) && exec $(BIN)/python -m tools.docs $(args)

graph: ## Print which modules depend on which; args="--format mermaid" draws it
	@$(READY) && exec $(BIN)/backend module graph $(args)

remove-module: ## Remove a module, its tests and its tables; name=notes, args="--dry-run" only shows it
	@test -n "$$name" || { echo 'Name the module: make remove-module name=notes' >&2; exit 1; }
	@$(READY) && exec $(BIN)/backend module remove "$$name" $(args)

removal-drill: ## Remove each removable module from a copy, and run all tests without items and articles
	@$(READY) && exec $(BIN)/python -m tools.removal_drill $(args)

pages: ## Write the generated pages: docs/architecture.md, configuration.md, permissions.md
	@$(READY) && exec $(BIN)/python -m tools.pages

bench: ## Measure the server; against=FILE compares it with another one, args="--help" lists the options
	@$(READY) && exec $(BIN)/python -m bench $(if $(against),--against "$(against)") \
		$(if $(checkout),--checkout "$(checkout)") $(args)

bench-growth: ## Measure how cost grows with items, connections, workers and time; 25 minutes
	@$(READY) && exec $(BIN)/python -m bench.growth $(args)

drills: ## Cause operational faults under load; args="rolling" selects one, args="--help" lists them
	@$(READY) && exec $(BIN)/python -m drills $(args)

lock: ## Write the lock files after a change in pyproject.toml; args="--upgrade" upgrades packages
	@$(READY) && $(BIN)/python -m tools.lock $(args) && $(READY)

audit: ## Compare the lock files with the database of known vulnerabilities; needs the network
	@$(READY) && exec $(BIN)/uvx pip-audit==2.10.1 --require-hashes --disable-pip --strict \
		$(addprefix --requirement=,$(wildcard requirements*.lock))

clean: ## Remove .venv and all caches; the development database stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find . -path ./data -prune -o -name __pycache__ -prune -exec rm -rf {} +
