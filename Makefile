# make run    install into .venv and show the matrix of the convention
# make test   install what the tests need and run all checks
# make lock   renew the locked dependencies (requirements/*.txt) from pyproject.toml
# make docs   renew the real output shown in README.md and docs/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

.PHONY: run test check lint types pytest tools lock docs clean

# The matrix shows broken conventions on purpose: exit status 1 is its result, not a failure.
run: $(VENV)/run.stamp
	@$(BIN)/topbit run || test $$? -eq 1

test: $(VENV)/test.stamp lint types tools pytest

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

tools:
	@$(BIN)/topbit tool fetch qemu binutils dtc trace-cmd gdb cpio || \
	  echo "topbit: the tests that need the missing tools will be skipped" >&2

pytest:
	$(BIN)/python -m pytest

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "topbit needs Python 3.11 or later; name one: make PYTHON=python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/python.stamp requirements/run.txt pyproject.toml
	$(PIP) install --require-hashes -r requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/test.stamp: $(VENV)/python.stamp requirements/test.txt pyproject.toml
	$(PIP) install --require-hashes -r requirements/test.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

lock: $(VENV)/python.stamp
	$(PIP) install pip-tools
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-header --upgrade -o requirements/run.txt pyproject.toml requirements/build.in
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-header --upgrade --extra test --extra qemu --extra fast --extra attest \
	  -o requirements/test.txt pyproject.toml requirements/build.in

docs: $(VENV)/run.stamp
	$(BIN)/python tools/tour.py

clean:
	rm -rf $(VENV) build dist
