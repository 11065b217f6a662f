# Everything a user does, in one word each. GNU make 3.81 (macOS) or newer.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup reproduce publish tune bench test fuzz torture lab report notebooks lock clean

PROFILE ?= small
ifeq ($(origin PYTHON),undefined)
PYTHON := python3
else
CHOSEN_PYTHON := $(PYTHON)
endif
# A pip index with CPU builds of torch; only saves disk and download on Linux.
TORCH_INDEX ?=
ONLY ?=
SET ?=
FORCE ?=
DATA ?=
ARGS ?=
QUICK ?=
JOBS ?= 2
BENCHMARKS := lda se_step m_step memory events workers rehearsal gpu neural_topics

PY := .venv/bin/python
export PYTHON CHOSEN_PYTHON TORCH_INDEX
# The set-up leaves most byte code to be written when a module is first imported.
unexport PYTHONDONTWRITEBYTECODE
export JUPYTER_PREFER_ENV_PATH := 1
export JUPYTER_PATH := $(CURDIR)/.venv/share/jupyter

help: ## show these lines (the default)
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "  Options: PYTHON=python3.12 (which Python), TORCH_INDEX=URL (a pip index of CPU torch builds)"

setup: ## create .venv from requirements.lock; does nothing when it is current
	@bash .ci/setup

# The first line comes before Python has loaded its packages.
reproduce: setup ## run the paper's notebooks into results/PROFILE/run (PROFILE=small; SET=all, ONLY="02 03", FORCE=1)
	@echo "Profile $(PROFILE): comparing the notebooks with their last run."
	@$(PY) -m experiments.runner --profile "$(PROFILE)" $(if $(SET),--set "$(SET)") $(if $(ONLY),--only $(ONLY)) $(if $(FORCE),--force)

publish: setup ## for maintainers: copy a run over the committed results, renew the report (PROFILE=small; SET=all, ONLY="02")
	@$(PY) -m experiments.publishing --profile "$(PROFILE)" $(if $(SET),--set "$(SET)") $(if $(ONLY),--only $(ONLY))

tune: setup ## choose settings on the development documents (PROFILE=small; DATA=clicks); results/PROFILE/run/tuning*.json
	@$(PY) -m experiments.tune --profile "$(PROFILE)" $(if $(DATA),--data "$(DATA)")

# A quick run goes to a folder that git ignores: the report shows full runs only.
bench: setup ## measure speed and memory against other implementations (QUICK=1: in 3 minutes; ONLY="lda")
	@for name in $(or $(ONLY),$(BENCHMARKS)); do \
	  echo "benchmarks/$$name.py"; \
	  $(PY) benchmarks/$$name.py $(if $(QUICK),--quick) --out results/bench/$(if $(QUICK),quick/)$$name.json || exit 1; \
	done
	@$(if $(QUICK),,$(PY) -m experiments.report)

# Tests, mypy among them, and notebooks run on JOBS processes; tests/conftest.py says which stay together.
# LLA_PROGRESS=/dev/null: no progress bar ever becomes part of a notebook's output.
test: setup ## ruff, mypy, pytest, and the notebooks' stored outputs (JOBS=2)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	LLA_PROGRESS=/dev/null $(PY) -m pytest -q -n $(JOBS) --nbval --nbval-current-env --nbval-cell-timeout=300 tests notebooks

fuzz: setup ## call every public function with odd arguments, kernels under bounds checks (CALLS=2000, SEED=0)
	$(PY) tests/fuzz.py --calls $(or $(CALLS),2000) --seed $(or $(SEED),0)

# A run of the usual size renews tests/torture/README.md; any other only prints its tables.
torture: setup ## kill trainings and notebooks, read bad inputs (N=200 moments, RUNS=10, INPUTS=10000, SEED=0, NUMBER=17)
	$(PY) tests/torture --moments $(or $(N),200) --notebooks $(or $(RUNS),10) --inputs $(or $(INPUTS),10000) \
	  --seed $(or $(SEED),0) $(if $(NUMBER),--only $(NUMBER)) $(if $(N)$(RUNS)$(INPUTS)$(SEED)$(NUMBER),,--publish)

lab: setup ## open the notebooks in JupyterLab
	@$(PY) -m jupyter lab $(ARGS) notebooks/

report: setup ## write REPRODUCIBILITY.md, FINDINGS.md, the tables (CSV) and the READMEs' generated parts from results/
	@$(PY) -m experiments.report

notebooks: setup ## run the notebooks in place, to store their smoke outputs anew
	@LLA_PROGRESS=/dev/null $(PY) -m jupyter nbconvert --log-level=WARN --to notebook --execute --inplace \
	  --ExecutePreprocessor.kernel_name=python3 --ExecutePreprocessor.record_timing=False \
	  --ExecutePreprocessor.store_widget_state=False --ClearMetadataPreprocessor.enabled=True \
	  --ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec \
	  --ClearMetadataPreprocessor.preserve_cell_metadata_mask=tags notebooks/*.ipynb

lock: setup ## resolve pyproject.toml anew into requirements.lock (asks the package index)
	@bash .ci/lock

clean: ## remove .venv, caches and all that runs have written
	@bash .ci/clean
