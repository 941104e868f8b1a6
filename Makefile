# The one vocabulary of tasks: people, hooks and CI run the same targets.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
# The first Python from 3.11 to 3.13.
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	if $$each -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	then command -v $$each; break; fi; done)
# For the stages that DVC starts. Targets name .venv/bin, because the make of macOS looks up programs
# in the PATH that it was given.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# One lock for all platforms and Pythons: markers say which lines are for whom.
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url
SCRIPTS := .ci/run .ci/audit .ci/figures docker/entrypoint.sh jobs/slurm.sh

.DEFAULT_GOAL := help
.PHONY: help repro experiments ui retrain drill test test-slow lint format site lock audit sbom bench recipes-table probe-table sweep clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

repro: repository .venv/.runtime  ## Build everything, and say what came out; TORCH=cpu installs torch without CUDA
	$(BIN)/python -m pipeline repro $(ARGS)

# The columns that people compare, of the hundreds that there are.
FIGURES := ^(Experiment|lr|batch_size|epochs|seed|fid\.mean|fid\.deviation|precision\.mean|recall\.mean|discriminator\.test_accuracy|mlflow_run)$$
experiments: .venv/.runtime  ## List the experiments with the figures that matter
	$(BIN)/dvc exp show --no-pager --drop '.*' --keep '$(FIGURES)' $(ARGS)

ui: .venv/.runtime  ## Browse the runs in MLflow on 127.0.0.1:5000
	$(BIN)/python -m pipeline ui

retrain: repository .venv/.runtime  ## Fetch again, rebuild, pass the gate; ARGS="-S seed=7 --git-remote origin"
	$(BIN)/python -m pipeline retrain $(ARGS)

drill: .venv/.dev  ## Rehearse retraining: better, worse, equal, new data, divergence, kills, MLflow down (minutes)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow tests/system/test_drill.py

test: .venv/.dev  ## Run the test suite (under 10 minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadscope

test-slow: .venv/.dev  ## Run the slow tests as well
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadscope -m "not gpu"

lint: .venv/.dev  ## Check style, types, scripts, workflows and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/rooms.py --check
	$(BIN)/shellcheck $(SCRIPTS)
	$(BIN)/actionlint
	$(BIN)/zizmor --quiet --offline --persona=pedantic .github
	$(BIN)/hadolint Dockerfile

format: .venv/.dev  ## Bring the code into style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/.dev  ## Compile both lock files from pyproject.toml
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --constraint requirements.lock --group dev -o requirements-dev.lock

site: .venv/.dev  ## Write the documents as a site to site/, with a page of functions for each package
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

audit: .venv/.dev  ## Compare the runtime's packages with the database of known vulnerabilities
	.ci/audit

sbom: .venv/.dev  ## Write sbom.json: the runtime's packages in CycloneDX form
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --output-file sbom.json

bench: .venv/.dev  ## Measure speed beside what people would use instead
	$(BIN)/dvc repro reference
	$(BIN)/python bench/training.py --write
	$(BIN)/python bench/processes.py --write
	$(BIN)/python bench/evaluation.py --write
	$(BIN)/python bench/many_images.py --write
	$(BIN)/python bench/probe.py

recipes-table: .venv/.runtime  ## Compare recipes at ten minutes each, three seeds, for docs/recipes.md (hours)
	$(BIN)/dvc repro reference
	$(BIN)/python bench/recipes.py

probe-table: .venv/.runtime  ## Probe the discriminators of three seeds of best28, for docs/protocol.md (an hour)
	$(BIN)/dvc repro reference
	$(BIN)/python bench/recipes.py --only best28 --probe

sweep: .venv/.runtime  ## Learning rates x batch sizes x three seeds as DVC experiments, for docs/sweep.md (an hour and a half)
	$(BIN)/python bench/sweep.py

clean:  ## Delete the virtual environment and what the checks leave
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache

# A "Download ZIP" of the repository has no git, which DVC needs.
.PHONY: repository
repository:
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "error: this folder is no git repository, which DVC needs: type  git init && git add -A && git commit -qm start" >&2; exit 6; }

# The stages depend on the runtime lock. Development tools have a lock of their own, so that a new
# linter retrains nothing. With TORCH=cpu all but torch and CUDA comes from the lock, and torch of the
# same version from PyTorch's own index, whose wheels have other hashes: these are not checked.
CUDA := ^(torch|torchvision)==|^(triton|nvidia-|cuda-)
ifeq ($(TORCH)$(wildcard .venv/cpu.lock),cpu)
ifneq ($(wildcard .venv/.runtime),)
$(error .venv has torch with CUDA: run make clean, then make repro TORCH=cpu)
endif
endif
# An environment without CUDA stays without: this file says that it is one.
CPU := $(TORCH)$(wildcard .venv/cpu.lock)
.venv/.runtime: requirements.lock
	@test -n "$(PYTHON)" || { echo "error: found no Python from 3.11 to 3.13; use make PYTHON=/path/to/python3.13" >&2; exit 6; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"error: {sys.executable} is Python {v[0]}.{v[1]}: must be 3.11 to 3.13; use make PYTHON=/path/to/python3.13")'
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
ifneq ($(CPU),)
	awk '/^[a-z]/ { keep = !/$(CUDA)/ } keep' requirements.lock > .venv/cpu.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r .venv/cpu.lock
	$(BIN)/python -m pip install --quiet --no-deps --index-url https://download.pytorch.org/whl/cpu $$(grep -oE '^(torch|torchvision)==[0-9.]+' requirements.lock)
else
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
endif
	touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
ifneq ($(CPU),)
	awk '/^[a-z]/ { keep = !/$(CUDA)/ } keep' requirements-dev.lock > .venv/cpu-dev.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r .venv/cpu-dev.lock
else
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
endif
	touch $@
