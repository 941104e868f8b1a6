# The one vocabulary of tasks: people, hooks and CI run the same targets.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

SCRIPTS := .ci/run .ci/figures docker/entrypoint.sh

.DEFAULT_GOAL := help
.PHONY: help repro ui retrain drill test test-slow lint format lock bench recipes-table probe-table sweep clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

repro: .venv/.runtime  ## Build everything: download, prepare, validate, reference, train, evaluate, probe, render, paper
	dvc repro

ui: .venv/.runtime  ## Browse the runs in MLflow on 127.0.0.1:5000
	python -m pipeline ui

retrain: .venv/.runtime  ## Fetch again, rebuild, pass the gate; ARGS="-S seed=7 --git-remote origin"
	python -m pipeline retrain $(ARGS)

drill: .venv/.dev  ## Rehearse retraining: better, worse, equal, new data, divergence, kills, MLflow down (minutes)
	OMP_NUM_THREADS=1 pytest -m slow tests/system/test_drill.py

test: .venv/.dev  ## Run the test suite (under 10 minutes on two cores)
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadscope

test-slow: .venv/.dev  ## Run the slow tests as well
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadscope -m "slow or not slow"

lint: .venv/.dev  ## Check style, types, scripts, workflows and the Dockerfile
	ruff check .
	ruff format --check .
	mypy
	python docs/rooms.py --check
	shellcheck $(SCRIPTS)
	actionlint
	zizmor --quiet --offline --persona=pedantic .github
	hadolint Dockerfile

format: .venv/.dev  ## Bring the code into style
	ruff check --fix .
	ruff format .

lock: .venv/.dev  ## Compile both lock files from pyproject.toml
	uv pip compile --quiet --generate-hashes --python-version 3.11 --no-header --no-emit-index-url pyproject.toml -o requirements.lock
	uv pip compile --quiet --generate-hashes --python-version 3.11 --no-header --no-emit-index-url \
		--constraint requirements.lock --group dev -o requirements-dev.lock

bench: .venv/.dev  ## Measure speed beside what people would use instead
	python bench/probe.py

recipes-table: .venv/.runtime  ## Compare recipes at ten minutes each, three seeds, for docs/recipes.md (hours)
	dvc repro reference
	python bench/recipes.py

probe-table: .venv/.runtime  ## Probe the discriminators of three seeds of best28, for docs/protocol.md (an hour)
	dvc repro reference
	python bench/recipes.py --only best28 --probe

sweep: .venv/.runtime  ## Learning rates x batch sizes x three seeds as DVC experiments, for docs/sweep.md (an hour and a half)
	python bench/sweep.py

clean:  ## Delete the virtual environment and what the checks leave
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache

# The stages depend on the runtime lock. Development tools have a lock of their own, so that a new
# linter retrains nothing.
.venv/.runtime: requirements.lock
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"error: {sys.executable} is Python {v[0]}.{v[1]}: must be 3.11; use make PYTHON=/path/to/python3.11")'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --require-hashes -r requirements.lock
	touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	.venv/bin/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	touch $@
