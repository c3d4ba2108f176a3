# The words a contributor needs. CI runs the same ones.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes

.PHONY: help setup demo test prove check fix docs site bench bench-sequence gauntlet fuzz crash day lock clean

help:
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## install everything into .venv, from the lock, by hash

$(STAMP): requirements.lock requirements-torch.lock requirements-torch-cpu.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tidegate needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make setup PYTHON=python3.11"; exit 3; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages (about 2 GB on disk, a few minutes) ..."
	$(PIP) -r requirements.lock
	@$(PIP) -r requirements-torch-cpu.lock || { \
	  echo "This index has no CPU build of torch (see README): taking the ordinary one."; \
	  $(PIP) -r requirements-torch.lock; }
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup ## a full governed cycle on a real model, then a poisoned drop
	$(BIN)/tidegate demo

test: setup ## all tests, on as many processes as there are cores (four at most)
	@sh infra/debian.sh
	$(BIN)/python -m pytest -m "not release" -n logical --maxprocesses 4 --dist worksteal --durations 25

prove: setup ## every planted case of the shipped policy on the real model (an hour of one core)
	$(BIN)/tidegate policy prove policies/default.yaml

check: setup ## format, types and the fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow" -q

fix: setup ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## write the generated reference pages
	$(BIN)/python infra/reference.py

site: setup ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet -f infra/mkdocs.yml
	@echo "site/index.html; for its search: $(BIN)/python -m http.server -d site -b 127.0.0.1"

bench: setup ## speed, as ratios against a named alternative
	$(BIN)/python infra/bench/run.py

bench-sequence: setup ## updates in sequence, method by method; ARGS="--arms lora anchored"
	$(BIN)/python infra/bench_sequence.py $(ARGS)

gauntlet: setup ## planted attacks in real public text, if it is there; ARGS="--seeds 3"
	$(BIN)/python infra/gauntlet.py $(ARGS)

fuzz: setup ## hostile rows and texts, for SECONDS=60 (needs atheris)
	$(BIN)/python infra/fuzz/run.py --seconds $(or $(SECONDS),60)

crash: setup ## kill real commands at many points, run them again, compare; ARGS="--seed 2"
	$(BIN)/python -m infra.crash $(ARGS)

day: setup ## a day of operation in minutes, on PostgreSQL, MLflow, Prefect and an S3 store
	$(BIN)/python -m infra.day $(ARGS)

lock: ## resolve pyproject.toml into the lock files (needs uv); ARGS=--upgrade
	$(PYTHON) infra/lock.py $(ARGS)

clean: ## remove what was made; the state in .tidegate stays
	rm -rf $(VENV) dist bench site test-output .mypy_cache .pytest_cache .ruff_cache .hypothesis
