# Each target does the set-up that it needs. PYTHON=python3.12 make test uses another Python.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
# Processes that share the tests, each of which has one thread.
JOBS ?= 2

.PHONY: setup demo test test-all lint bench clean

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[all,dev]'
	touch $@

demo: setup
	$(BIN)/python run.py fit --config configs/digits/dcgan.yaml

test: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations=25 --durations-min=5

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache
