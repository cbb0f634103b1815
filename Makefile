# make run     set up, then 30 days of the global ocean on 2 ranks, with pictures
# make test    set up, then the suite: one rank, then the MPI tests on 2, 4 and 6 ranks
# make help    the rest
#
# Variables: NP (ranks), DAYS, EXPERIMENT, OUTPUT, PYTHON, and those of tools/setup_env.sh, e.g. make run NP=4 DAYS=360

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

NP         ?= 2
DAYS       ?= 30
EXPERIMENT ?= global_4deg
OUTPUT     ?= output/$(EXPERIMENT)
VENV       ?= .venv
PYTHON     ?=
# Ranks of the MPI stages of the suite, and seconds after which a stage counts as hanging.
TEST_NP      ?= 2 4 6
TEST_LIMIT   ?= 3000
# More words for pytest in every stage, e.g. make test PYTEST_ARGS='-k kpp' works on the one-rank stage.
PYTEST_ARGS  ?=

export VENV PYTHON
bin := $(VENV)/bin

.PHONY: help env run plot test test-all bench docs lint types house oldest clean distclean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20
	@echo "  variables: NP=$(NP) DAYS=$(DAYS) EXPERIMENT=$(EXPERIMENT) OUTPUT=$(OUTPUT) TEST_NP=\"$(TEST_NP)\""

env: ## make .venv with everything pinned
	@tools/setup_env.sh run

run: env ## set up, run EXPERIMENT for DAYS on NP ranks, plot it
	@launch/mpirun.sh -n $(NP) dogcm run $(EXPERIMENT) --days $(DAYS) --output $(OUTPUT) --overwrite
	@$(MAKE) --no-print-directory plot

plot: env ## draw the pictures of OUTPUT
	@$(bin)/dogcm plot $(OUTPUT)
	@echo; echo "Results of $(EXPERIMENT), $(DAYS) days on $(NP) rank(s), are in $(CURDIR)/$(OUTPUT):"
	@find $(OUTPUT) -type f \( -name '*.nc' -o -name '*.png' -o -name '*.yaml' \) | sort | sed 's/^/  /'

test: ## set up, run the suite on one rank and the MPI tests on TEST_NP ranks
	@tools/setup_env.sh run test
	@TEST_NP="$(TEST_NP)" TEST_LIMIT=$(TEST_LIMIT) tools/run_tests.sh $(PYTEST_ARGS)

test-all: ## the same with the tests marked slow: before a release, and after a change to what they cover
	@TEST_SLOW=1 $(MAKE) --no-print-directory test

bench: ## set up, measure speed (benchmarks/)
	@tools/setup_env.sh run
	@$(bin)/python -m benchmarks

docs: ## build the documentation into site/
	@tools/setup_env.sh run docs
	@$(bin)/mkdocs build --strict

lint: ## format and lint (ruff), and shell scripts where shellcheck is installed
	@tools/setup_env.sh run lint
	@$(bin)/ruff format --check .
	@$(bin)/ruff check .
	@if command -v shellcheck >/dev/null; then \
	    shellcheck .ci/run launch/*.sh launch/*.sbatch tools/*.sh tests/slurm/*.sh; \
	else echo "shell scripts not checked: shellcheck is not installed"; fi

types: ## check types (mypy)
	@tools/setup_env.sh run lint
	@$(bin)/mypy

house: ## measure the house: circles, rooms, long functions
	@tools/setup_env.sh run
	@$(bin)/python tools/measure_house.py

oldest: env ## step a small gyre with the oldest jax that pyproject.toml allows
	@tools/oldest_jax.sh $(bin)/python

clean: ## remove what runs and tests wrote (output/ too)
	@rm -rf output build dist site .pytest_cache .hypothesis *.egg-info
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0r rm -rf

distclean: clean ## the same, and .venv
	@rm -rf $(VENV)
