# Every target makes what it needs first: `make demo` works in a fresh clone.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := .venv/bin
RUNTIME := .venv/runtime.stamp
DEV := .venv/dev.stamp
ARGS ?=

.PHONY: help
help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="..." is passed on to demo, test, faults, bench and sanitize.'

.PHONY: setup dev
setup: $(RUNTIME) ## make the environment in .venv, and nothing else
dev: $(DEV) ## the same, with the tools that tests and checks need

.PHONY: demo
demo: $(RUNTIME) ## from a simulated fleet to a closed case, everything embedded; then the scorecard
	$(BIN)/careloop demo $(ARGS)

.PHONY: test
test: $(DEV) provision browser clients senders ## all tests, against real databases and a real broker; with DATABASE_URL=... the storage's, on that
	CARELOOP_TEST_DATABASE_URL='$(DATABASE_URL)' $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

.PHONY: check
check: $(DEV) ## everything that has to hold before a change goes in; types are checked on one core while tests wait
	@$(MAKE) types >.venv/types.txt 2>&1 & types=$$!; $(MAKE) form floors test; rest=$$?; \
	wait $$types; types=$$?; cat .venv/types.txt; exit $$((types || rest))

.PHONY: lint form types floors
lint: form types floors ## form, types and floors of the code

form: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEV)
	$(BIN)/basedpyright

floors: $(DEV)
	$(BIN)/lint-imports

.PHONY: format
format: $(DEV) ## put the code into form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: $(RUNTIME) provision ## the benchmarks, each beside its baselines, as ratios
	$(BIN)/careloop bench ingest $(ARGS)
	$(BIN)/careloop bench detect $(ARGS)
	$(BIN)/careloop bench latency $(ARGS)

.PHONY: faults
faults: $(DEV) provision ## kill -9, full disks, dead networks under load, a proof each round (docs/durability.md)
	$(BIN)/python -m tests.faults.campaign $(ARGS)

.PHONY: sanitize
sanitize: $(DEV) ## the compiled loops under the address and undefined-behaviour sanitizers (docs/detection.md)
	@$(BIN)/python scripts/sanitize.py $(ARGS)

.PHONY: docs
docs: $(DEV) ## the documentation as a site, in artifacts/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: screenshots
screenshots: $(DEV) browser ## every page of the console, of a demo and of a crowded house, in both themes and languages, in artifacts/screenshots
	@$(BIN)/python scripts/screenshots.py artifacts/screenshots

.PHONY: provision
provision: $(RUNTIME) ## TimescaleDB, Mosquitto and promtool for tests and benchmarks, unpacked into a cache
	@$(BIN)/python scripts/provision.py

.PHONY: browser
browser: $(RUNTIME) ## Chromium for the tests of the console, unpacked into the same cache
	@$(BIN)/python scripts/provision_chromium.py

.PHONY: clients
clients: $(DEV) ## MQTT.js for tests, from npm into the same cache (needs Node.js)
	@$(BIN)/python -m tests.services.mqttjs

.PHONY: senders
senders: $(RUNTIME) ## device libraries of other people for the tests, each in an environment of its own, in the cache
	@$(BIN)/python scripts/senders.py

.PHONY: lock
lock: ## renew the lock files (needs uv)
	uv pip compile pyproject.toml --group build $(LOCK_OPTIONS) -o requirements.lock
	uv pip compile pyproject.toml --group dev -c requirements.lock $(LOCK_OPTIONS) -o requirements-dev.lock
	for name in build helpdesk sparkplug thingsboard; do \
	    uv pip compile tests/senders/$$name.in $(LOCK_OPTIONS) -o tests/senders/$$name.lock; done

LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-header --quiet --upgrade

.PHONY: clean
clean: ## remove what make has made here (not the cache of services)
	rm -rf .venv build dist artifacts *.egg-info .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): requirements.lock pyproject.toml scripts/setup.sh scripts/build_native.py $(wildcard */*/native/*.[ch] */*/*/native/*.[ch])
	@scripts/setup.sh requirements.lock
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@scripts/setup.sh requirements-dev.lock
	@touch $@
