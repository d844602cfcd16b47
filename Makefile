# headstart: what a person types. `make` alone lists the verbs. A POSIX shell and GNU make are enough.
#
#   PYTHON=python3.12 make test      another interpreter
#   VENV=elsewhere make demo         another place for the virtual environment
#   QUICK=--quick make bench         benchmarks in minutes instead of an hour

PYTHON ?= python3
VENV ?= .venv
QUICK ?=
BIN = $(VENV)/bin

# A stamp inside the environment says what is installed in it. Its name hangs on what decides that: the two files and where
# this checkout lies. While it stands, no verb calls pip, so every verb works offline the second time.
STAMP := $(shell { pwd; cat pyproject.toml constraints.txt; } | cksum | cut -d ' ' -f 1)
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' constraints.txt)
MADE = $(VENV)/.made
OFFLINE = $(VENV)/.offline-$(STAMP)
DEV = $(VENV)/.dev-$(STAMP)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs clean
.SUFFIXES:
MAKEFLAGS += --no-print-directory

help: ## this list
	@echo "make VERB, where VERB is one of"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F '|' '{ printf "  %-8s %s\n", $$1, $$2 }'

demo: $(OFFLINE) ## set up on a fresh machine, then the main job on real data: fit, evaluate, predict
	@$(BIN)/python tools/demo.py

test: $(DEV) ## set up, then every test: as many at once as there are cores, in random order, warnings as errors, no network, branch coverage
	@$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

check: $(DEV) ## set up, then style, types, the rooms' contract and the size budget
	@status=0; for command in "ruff check ." "ruff format --check ." "mypy" "lint-imports --no-cache" "python tools/sizes.py"; do \
	    echo "$$command"; $(BIN)/$$command || status=1; \
	done; exit $$status

bench: $(DEV) ## set up, then every benchmark; fails where a figure does not hold
	@status=0; for program in benchmarks/[a-z]*.py; do \
	    test -f "$$program" || { echo "there is no benchmark in benchmarks/" >&2; exit 1; }; \
	    echo "$$program" >&2; $(BIN)/python "$$program" $(QUICK) || status=1; \
	done; exit $$status

docs: $(DEV) ## set up, then write docs/reference.md from the docstrings and the catalogue
	@$(BIN)/python tools/reference.py

clean: ## remove what the verbs made here: the environment, the demo, caches
	rm -rf .venv demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and at exactly the tested version. A looser request, such as the "torch>=2.5" of pyproject.toml, may settle on
# a newer build that brings gigabytes of CUDA libraries to a machine without such a device.
$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "headstart needs Python 3.11 or newer, and '$(PYTHON)' is not: type  PYTHON=python3.11 make ..." >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
	    echo "$(PYTHON) -m venv failed: on Debian and Ubuntu  apt install python3-venv  brings it" >&2; exit 1; }
	@touch $(MADE)

$(OFFLINE): | $(MADE)
	@$(call install,offline,headstart and three pretrained models)

$(DEV): | $(MADE)
	@$(call install,dev,headstart with three pretrained models and the tools of its tests)
	@touch $(OFFLINE)

define install
rm -f $(VENV)/.offline-* $(VENV)/.dev-*; \
echo "Installing $(2) into $(VENV): the first time this downloads some hundred megabytes and takes minutes"; \
$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" -c constraints.txt && \
$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(1)]" -c constraints.txt && \
touch $(VENV)/.$(1)-$(STAMP)
endef
