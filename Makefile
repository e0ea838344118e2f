# One command per verb; `make help` lists them. All of it runs in .venv, which the first target makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
WORKERS ?= 2
# What is measured takes half as long again: CI measures, whoever works here when they want to know.
COVERAGE ?= $(CI)
SOAK ?= 20m
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# In CI a skipped test is a failed run: there, everything that tests name is installed.
PYTEST := $(BIN)/python -m pytest $(if $(CI),-p tests.support.no_skips)

# Bytecode is kept whatever the machine prefers: without it every start is twice as slow.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help serve test check conformance clients faults bench heavy example examples image wheel lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.runtime ## Serve the registry on 127.0.0.1:5000 with data in ./data (ARGS="--listen ...")
	@exec $(BIN)/entrepot serve $(ARGS)

test: $(VENV)/.development ## Run the default test suite (COVERAGE=1: with its coverage gate, ARGS="-k ...")
	@rm -f .coverage .coverage.*
	$(PYTEST) -n $(WORKERS) $(if $(COVERAGE),--cov --cov-report=) -m "not slow" \
		--ignore tests/architecture --ignore tests/clients --ignore tests/conformance --ignore tests/document \
		--ignore tests/faults $(ARGS)
	$(PYTEST) tests/conformance $(if $(COVERAGE),--cov --cov-append --cov-report=)
	@$(if $(COVERAGE),$(BIN)/coverage json -q -o .coverage.json)
	@$(if $(COVERAGE),$(BIN)/python scripts/coverage_gate.py .coverage.json)

check: $(VENV)/.development ## Run the static gates: format, lint, types, layers, house rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pylint --disable=all --enable=W0133 --score=n src tests bench scripts
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -q tests/architecture

conformance: $(VENV)/.development ## Run our conformance suite in process, over PostgreSQL and S3 and over HTTP; and the API against its document
	$(PYTEST) tests/conformance
	$(PYTEST) tests/conformance --database postgresql --store s3
	$(BIN)/python scripts/conformance_over_http.py
	$(PYTEST) tests/document

clients: $(VENV)/.development ## Run the tests with real clients (tiers a and b; installs them, needs root)
	sh tests/clients/install.sh a b
	$(PYTEST) tests/clients -m "tier_a or tier_b" $(ARGS)

faults: $(VENV)/.development ## Kill and starve real servers and see that nothing acknowledged is lost
	$(PYTEST) tests/faults $(ARGS)
	$(PYTEST) -n $(WORKERS) tests/contract -m slow
	$(PYTEST) -n $(WORKERS) tests/properties --database postgresql --hypothesis-profile brief

bench: $(VENV)/.development ## Measure against CNCF distribution and nginx (bench/README.md)
	$(BIN)/python -m bench $(ARGS)

heavy: $(VENV)/.development ## Everything too long for CI: all clients, faults ten-fold, benchmark, wheel, image
	sh tests/clients/install.sh a b c
	$(PYTEST) tests/clients
	$(PYTEST) tests/clients --database postgresql --store s3
	SOAK=$(SOAK) $(PYTEST) tests/faults --fault-rounds 10
	$(PYTEST) -n $(WORKERS) tests/contract -m slow
	$(PYTEST) -n $(WORKERS) tests/properties --database postgresql
	$(BIN)/python -m bench
	$(BIN)/python -m bench.collection
	$(BIN)/python -m bench.collection --engine postgresql
	$(BIN)/python -m bench.jobs
	$(MAKE) wheel image

example: $(VENV)/.development ## Run one story of examples/ (NAME=push-pull)
	@test -f "examples/$(NAME).sh" || { echo "make example NAME=... is one of:"; ls examples | sed -n 's/\.sh$$//p'; exit 2; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash "examples/$(NAME).sh"

examples: $(VENV)/.development ## Run every story of examples/
	@set -e; for story in examples/*.sh; do PATH="$(CURDIR)/$(BIN):$$PATH" bash "$$story"; done

wheel: $(VENV)/.development ## Build the wheel, install it in a clean environment and serve from it
	bash scripts/try_wheel.sh

image: $(VENV)/.development ## Build the container image without a registry and run it locked down (needs root)
	bash scripts/try_image.sh

lock: $(VENV)/.development ## Resolve the dependencies again into requirements*.txt (UPGRADE=1 for newer ones)
	@for target in "requirements.txt" "requirements-dev.txt --constraint requirements.txt --group test --group check"; do \
		UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --generate-hashes \
			$(if $(UPGRADE),--upgrade) pyproject.toml --output-file $$target; \
	done

clean: ## Remove what make has made, the virtual environment included
	rm -rf $(VENV) dist build .coverage .coverage.* .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# --no-deps: the lists are complete, and pip takes a pinned name with an extra for unpinned once a newer release is out
# (pip issue 9644).
$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) --no-deps --require-hashes --requirement requirements.txt
	$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/.development: requirements-dev.txt $(VENV)/.runtime
	$(PIP) --no-deps --require-hashes --requirement requirements-dev.txt
	@touch $@
