# `make quickstart` and `make test` work in a new clone: each first makes the virtual environment in .venv from the lock.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: quickstart test test-core test-spark test-long test-torch check format docs lock clean

quickstart: $(INSTALLED)
	$(BIN)/pipeline quickstart

# Two halves side by side, as both wait much. Each prints when it is done; what evens them out is named here.
EVENED := tests/pipeline/audit tests/pipeline/formats tests/pipeline/localhub
test: $(INSTALLED)
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-core test-spark

test-core: $(INSTALLED)
	$(BIN)/python -m pytest -m "not long" tests/pipeline tests/end_to_end $(EVENED:%=--ignore=%)

test-spark: $(INSTALLED)
	$(BIN)/python -m pytest -m "not long" tests/jobs tests/spark_datasource $(EVENED)

test-long: $(INSTALLED)
	$(BIN)/python -m pytest

# The same tests with torch, which is no dependency: DataLoader workers, ranks, torchdata.
test-torch: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch torchdata
	$(BIN)/python -m pytest tests/pipeline/streaming/test_torch_loading.py tests/pipeline/streaming/test_tars.py

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The generated parts of README.md: option tables, recipe keys, --help texts.
docs: $(INSTALLED)
	$(BIN)/python tests/readme.py --write

lock: $(INSTALLED)
	$(BIN)/uv pip compile --quiet pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	    --generate-hashes --no-annotate --custom-compile-command "make lock" --output-file requirements.lock

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) quickstart dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
