# Two commands do it all on a fresh machine: `make run` and `make test`. Python 3.11+, Node 20+; the rest is set up here.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
CITY ?= cities/gimpo
DATA ?= data
PEERS := tests/peers/opcua/node_modules/.ready $(VENV)/peers/ngsi_ld/.ready
UI := src/haechi/faces/console/ui/index.html
CONSOLE_SOURCES := $(shell find console -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)

.PHONY: run test check bench soak docs setup clean

run:
	@$(MAKE) --silent --jobs=2 setup
	@HAECHI_BIN=$(BIN) scripts/demo $(CITY) $(DATA)

test: check $(PEERS)
	cd console && npm run --silent check && npm test --silent
	$(BIN)/pytest --numprocesses 3 --dist loadfile -m 'not alone'
	$(BIN)/pytest -m alone

check: setup $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One table, half an hour on a machine that does nothing else. One row: .venv/bin/python -m bench a
bench: setup $(VENV)/.dev
	$(BIN)/python -m bench

# An hour of fresh fault seeds (SOAK_S seconds); one seed again: .venv/bin/python tests/fault/soak.py SEED
soak: setup $(VENV)/.dev
	$(BIN)/python tests/fault/soak.py

docs: setup $(VENV)/.dev
	$(BIN)/pytest tests/house -q

setup: $(VENV)/.ready $(UI)

$(VENV)/.ready: pyproject.toml testbed/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation -e . -e testbed
	touch $@

$(VENV)/.dev: $(VENV)/.ready
	$(PIP) --no-build-isolation -e '.[dev,opcua]'
	touch $@

console/node_modules/.ready: console/package-lock.json
	cd console && npm ci --no-audit --no-fund --silent
	touch $@

# An independent OPC UA server for the tests.
tests/peers/opcua/node_modules/.ready: tests/peers/opcua/package-lock.json
	cd tests/peers/opcua && npm ci --omit=optional --ignore-scripts --no-audit --no-fund --silent
	touch $@

# Two NGSI-LD clients of others for the tests, each with what it needs beside it.
$(VENV)/peers/ngsi_ld/.ready: tests/peers/ngsi_ld/package-lock.json tests/peers/ngsi_ld/requirements.txt
	cd tests/peers/ngsi_ld && npm ci --ignore-scripts --no-audit --no-fund --silent
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/peers/ngsi_ld/requirements.txt
	touch $@

$(UI): console/node_modules/.ready $(CONSOLE_SOURCES)
	cd console && npm run --silent build

clean:
	rm -rf $(VENV) console/node_modules tests/peers/*/node_modules src/haechi/faces/console/ui $(DATA) artefacts
