# Every target sets up what it needs in .venv; `make` alone shows this list.
.DEFAULT_GOAL := help
.PHONY: help demo quick test test-fast soak lint sweep bench bench-quick docs clean

# The first Python that is new enough and can make virtualenvs.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 \
	&& { echo $$python; break; }; done)
SECONDS ?= 600
IN_VENV := .venv/bin/python

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.venv/ready: pyproject.toml workers/setup.py workers/neuropod_worker/_native.c
	@test -n "$(PYTHON)" || { echo "No Python 3.10 or newer (with venv) on PATH: make ... PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv
	$(IN_VENV) -m pip install --quiet --disable-pip-version-check -e ./workers -e '.[test]'
	@touch $@

demo: .venv/ready  ## torches, TensorFlows and more answer side by side in one application, on real data
	$(IN_VENV) examples/digits/demo.py

quick: .venv/ready  ## the same idea in under a minute: two numpys, no framework
	$(IN_VENV) examples/quick/quick.py

test: lint  ## everything: lint, and all tests in all tiers
	$(IN_VENV) -m pytest

test-fast: .venv/ready  ## tests without workers and frameworks, under a minute
	$(IN_VENV) -m pytest -m "not workers and not frameworks"

soak: .venv/ready  ## random models, calls, faults and kills, every answer checked: SECONDS=600
	$(IN_VENV) tests/soak/soak.py --seconds $(SECONDS)

lint: .venv/ready  ## ruff, mypy --strict, and the worker's floor of Python 3.6
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m ruff format --check .
	$(IN_VENV) -m mypy
	.venv/bin/vermin --quiet --no-tips --violations -t=3.6- workers

sweep: .venv/ready  ## try every minor release of the frameworks and write docs/versions.md: hours, 100 GB through the net
	PYTHONPATH=tests $(IN_VENV) -m sweep

bench: .venv/ready  ## measure calls beside in-process, the standard library and peers; all suites
	$(IN_VENV) -m benchmarks

bench-quick: .venv/ready  ## the same with few rounds and cases, under two minutes
	$(IN_VENV) -m benchmarks --quick

docs: .venv/ready  ## write the generated parts of docs/
	$(IN_VENV) docs/generate.py

clean:  ## remove .venv and what was built here; environments stay in the user's cache
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache workers/build workers/*.egg-info *.egg-info \
		workers/neuropod_worker/*.so
