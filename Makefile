# Everything runs in .venv, which holds exactly what environment.yml lists.

PROFILE ?= pocket
GPUS ?= 1
# So many seeds of each row; without it as many as the profile has.
SEEDS ?=
STUDY = $(PROFILE)$(addprefix :,$(SEEDS))
PYTHON := .venv/bin/python
# Tests run on every core, the tests of a file one after the other; each takes one thread.
PYTEST := $(PYTHON) -m pytest --numprocesses $(shell nproc 2>/dev/null || sysctl -n hw.ncpu) --maxprocesses 8 \
	--dist loadfile
# Several GPUs train one run after the other together; the small profiles' runs are dealt to them.
TRAIN := $(if $(or $(filter 1,$(GPUS)),$(filter-out paper,$(PROFILE))),$(PYTHON),$(PYTHON) -m torch.distributed.run --standalone --nproc-per-node $(GPUS)) -m tdn train

# A conda environment would otherwise see packages of the user's home directory.
export PYTHONNOUSERSITE := 1

.PHONY: help env lab test test-all smoke reproduce record book bench clean

help:  ## list the targets (default)
	@echo "make TARGET [PROFILE=smoke|pocket|paper|gestures] [GPUS=n] [SEEDS=n]   (PROFILE is now $(PROFILE))"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r target text; do printf '  %-10s %s\n' "$$target" "$$text"; done

env: .venv/.installed  ## install the pinned packages and tdn into .venv
	@[ -e .venv/bin/activate ] && how="source .venv/bin/activate" || how="conda activate ./.venv"; \
		echo "env: ready, $$($(PYTHON) --version). To use it: $$how (or call .venv/bin/tdn)"

# Each stamp is written last, so a broken install is tried again.
# Anew on every change of the list: what is no longer listed must not stay installed.
.venv/.packages: environment.yml
	@echo "env: creating .venv from environment.yml"
	rm -rf .venv
	@if command -v micromamba >/dev/null; then set -x; \
		micromamba create -y -p "$(CURDIR)/.venv" -f environment.yml; \
	elif conda=$$(command -v mamba || command -v conda); then set -x; \
		CONDA_ALWAYS_YES=true MAMBA_ALWAYS_YES=true \
			"$$conda" env create -p "$(CURDIR)/.venv" -f environment.yml; \
	else \
		for python in python3.11 python3 ''; do \
			"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
		done; \
		if [ -z "$$python" ]; then \
			echo "error: Python 3.11 or newer is needed, but neither python3.11 nor python3 is one;" >&2; \
			echo "       install it, or micromamba, mamba or conda, and run make env again" >&2; \
			exit 1; \
		fi; \
		set -ex; \
		"$$python" -m venv .venv; \
		sed -n 's/^ *- *\([^ #]*==[^ #]*\).*/\1/p' environment.yml >.venv/pins.txt; \
		$(PYTHON) -m pip install --disable-pip-version-check -r .venv/pins.txt; \
	fi
	@touch $@

.venv/.installed: .venv/.packages pyproject.toml
	@echo "env: installing tdn into .venv, editable"
	$(PYTHON) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

# In copies: what is run, changed and saved there changes no committed file. A copy that is there stays as it is.
lab: .venv/.installed  ## open JupyterLab on copies of the notebooks, in results/lab
	@mkdir -p results/lab
	@for notebook in notebooks/*.ipynb; do \
		copy="results/lab/$$(basename "$$notebook")"; \
		[ -e "$$copy" ] || sed 's#(\.\./results/record/#(record/#' "$$notebook" >"$$copy"; \
	done
	@ln -sfn ../record results/lab/record
	@echo "lab: JupyterLab on results/lab/, stop it with Ctrl-C twice; a copy that is deleted there is made again next time"
	$(PYTHON) -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) results/lab

test: .venv/.installed  ## lint, check the format, run the fast tests: 5 minutes
	@echo "test: ruff check, ruff format --check, pytest without the slow tests"
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTEST) -m "not slow"

test-all: test  ## all tests: 20 to 30 minutes
	@echo "test-all: the slow tests, and those that need a GPU"
	$(PYTEST) -m slow
	$(PYTEST) -m gpu

smoke:  ## every notebook at the smallest scale: does it run?
	@$(MAKE) --no-print-directory reproduce PROFILE=smoke

reproduce: .venv/.installed  ## train what is missing, every table and figure of PROFILE; pocket: compare with the record
	@echo "reproduce: training the missing runs of profile $(PROFILE), then running the notebooks;"
	@echo "           tables and figures go to results/$(PROFILE)/"
	$(TRAIN) --profile $(STUDY)
	$(PYTHON) -m tdn book execute --profile $(STUDY)
	$(if $(filter pocket,$(PROFILE)),$(PYTHON) -m tdn book compare --profile $(STUDY))

# What is committed. Notebooks write into it where its folder of runs is there, or else beside it.
record: .venv/.installed  ## five seeds of every network, of the gestures too: into results/record, hours
	@echo "record: training what results/record lacks, then its notebooks; interrupted, the same command resumes"
	@mkdir -p results/record/runs results/record/gestures/runs
	$(PYTHON) -m tdn train --profile record/gestures
	$(PYTHON) -m tdn train --profile record
	$(PYTHON) -m tdn book execute --profile record/gestures
	$(PYTHON) -m tdn book execute --profile record
	$(PYTHON) -m tdn book record --profile record
	$(PYTHON) -m tdn book record --profile record/gestures

# Without PROFILE of the record, which takes no training.
BOOK = $(if $(filter file,$(origin PROFILE)),record,$(PROFILE))
book: .venv/.installed  ## the book as pages, searchable, without network: of the record, or of PROFILE as executed
	@echo "book: pages of the profile $(BOOK); of the record in 3 minutes, of another one as make reproduce left it"
	$(if $(filter record,$(BOOK)),$(PYTHON) -m tdn book execute --profile record)
	$(PYTHON) -m tdn book pages --profile $(BOOK)

bench: .venv/.installed  ## reading of clips, memory, and the running time of TDN next to TSN: an hour
	@echo "bench: on videos made for it; tables go to results/bench/"
	$(PYTHON) -m tdn bench

# Only one profile: runs may be hours of work.
clean:  ## remove rendered clips, results/smoke, and the runs and executed notebooks of PROFILE
	@echo "clean: removing what exists of .data, results/smoke, results/$(PROFILE)/runs,"
	@echo "       results/$(PROFILE)/notebooks, results/$(PROFILE)/book and the caches of the tools; committed results stay"
	rm -rf .data results/smoke results/$(PROFILE)/runs results/$(PROFILE)/notebooks results/$(PROFILE)/book \
		.pytest_cache .ruff_cache
