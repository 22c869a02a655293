# make demo | test | check | bench | chaos | train-mini | clean.  Needs Python 3.11 and make.
# Another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
SEED ?= 20261121
KILLS ?= 1000
PART ?=
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: help venv demo test check bench chaos train-mini clean

help:
	@echo "make demo        install into $(VENV), index the bundled pictures, run some queries"
	@echo "make test        install with the test extras, run the tests"
	@echo "make check       format, lint and types, then the tests"
	@echo "make bench       measure against other programs on this machine"
	@echo "make chaos       try long to make it lose something (SEED=$(SEED) KILLS=$(KILLS) PART=kills)"
	@echo "make train-mini  draw, train, evaluate and export the bundled model (SEED=$(SEED))"
	@echo "make clean       remove $(VENV) and what the tools left behind"

venv: $(VENV)/.installed

# The stamp files are written last, so an interrupted installation is taken up again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "clipsearch needs Python 3.11 or newer, and '$(PYTHON)' is not: run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	@echo "Installing clipsearch and what it needs into $(VENV)."
	@echo "The first time this downloads several gigabytes (PyTorch, FAISS) and takes some minutes."
	$(RUN) -m pip install --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(RUN) -m pip install --disable-pip-version-check --quiet --editable '.[test]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-test
	$(RUN) -m pip install --disable-pip-version-check --quiet --editable '.[bench]'
	@touch $@

demo: $(VENV)/.installed
	$(VENV)/bin/clipsearch demo

test: $(VENV)/.installed-test
	$(RUN) -m pytest -q

check: $(VENV)/.installed-test
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q

bench: $(VENV)/.installed-bench
	$(RUN) -m bench

chaos: $(VENV)/.installed-test
	$(RUN) -m tests.chaos --seed $(SEED) --kills $(KILLS) $(if $(PART),--part $(PART))

train-mini: $(VENV)/.installed-test
	$(RUN) -m training.train --run runs/mini --seed $(SEED)
	$(RUN) -m training.export --run runs/mini
	$(RUN) -m training.evaluate

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
