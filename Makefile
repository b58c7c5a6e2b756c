# make run           install into .venv and show the matrix of the convention
# make test          install what the tests need, fetch the oracles, and run ruff, mypy and pytest
# make test-all      the same, the long series of boots and fuzzing included
# make test-fast     pytest alone, without booting kernels and without long series
# make test-debian13 test-fast on Debian 13 and its Python 3.13, in a folder of its own (as root)
# make mutants       change one line at a time and list what the tests of each room let pass:
#                    ROOM=vmm (or several, or a file of one), COUNT=n a room (0: all), SEED=n
# make hooks         run ruff and mypy before every commit (pre-commit)
# make lock          renew the locked dependencies (requirements/*.txt) from pyproject.toml
# make docs          renew the real output shown in README.md and docs/, and docs/reference/
# make site          build the documents as a web site into build/site/, warnings being errors
# make dist          build wheel and sdist into dist/
# make man           manual pages, and completion for bash and zsh, into build/man/
#
# PYTHON=python3.13 names another Python: .venv is made anew with it if it is another one's.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# Two cores boot two kernels in the time of one; more than eight gain nothing.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 1); echo $$((n < 8 ? n : 8)))
PYTEST := $(BIN)/python -m pytest -n $(WORKERS)

# What a machine's pip warns of is shown if it fails.
quietly = @echo "topbit: $(1)" >&2; \
  { $(2); } >$(VENV)/pip.log 2>&1 || { cat $(VENV)/pip.log >&2; exit 1; }

.PHONY: run test test-all test-fast test-newest-qemu test-debian13 lint types tools mutants hooks lock docs site dist man clean named

# The matrix shows broken conventions on purpose: exit status 1 is its result, not a failure.
run: $(VENV)/run.stamp
	@$(BIN)/topbit run || test $$? -eq 1

test: SERIES := not slow
test-all: SERIES := slow or not slow
test test-all: $(VENV)/test.stamp lint types tools
	$(PYTEST) --dist worksteal -m "not qemu and ($(SERIES))" --cov --cov-report=
	$(PYTEST) --dist worksteal -m "qemu and ($(SERIES))"

test-fast: $(VENV)/test.stamp
	$(PYTEST) --dist worksteal -m "not qemu and not slow"

# With the libraries of its own Debian, in the cache.
test-newest-qemu: $(VENV)/test.stamp tools
	qemu=$$($(BIN)/topbit tool fetch newest-qemu | cut -f2) && \
	  TOPBIT_QEMU=$$qemu $(PYTEST) --dist worksteal -m "qemu and not slow"

test-debian13: $(VENV)/test.stamp
	tools/debian13.sh

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test.stamp
	$(BIN)/mypy

tools: $(VENV)/test.stamp
	@$(BIN)/topbit tool fetch qemu newest-qemu binutils dtc trace-cmd gdb cpio || \
	  echo "topbit: the tests that need the missing tools will be skipped" >&2
	@$(BIN)/topbit kernel fetch --source 6.12 7.2 7.3 >/dev/null || \
	  echo "topbit: the tests that need kernel sources will be skipped" >&2
	@tools/oracles.sh

hooks: $(VENV)/test.stamp
	$(BIN)/pre-commit install

$(VENV)/python.stamp: $(if $(filter-out file,$(origin PYTHON)),named)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "topbit needs Python 3.11 or later; name one: make PYTHON=python3.11 ..." >&2; exit 2; }
	@which='import sys; print(sys.base_prefix, sys.version)'; \
	  test -e $@ && test "$$($(BIN)/python -c "$$which")" = "$$($(PYTHON) -c "$$which")" || \
	  { rm -f $(VENV)/*.stamp; $(PYTHON) -m venv --clear $(VENV) && touch $@; }

$(VENV)/run.stamp: $(VENV)/python.stamp requirements/run.txt pyproject.toml
	$(call quietly,installing into $(VENV),\
	  $(PIP) install --require-hashes -r requirements/run.txt && \
	  $(PIP) install --no-deps --no-build-isolation -e . && \
	  $(BIN)/python -m compileall -q src)
	@touch $@

$(VENV)/test.stamp: $(VENV)/python.stamp requirements/test.txt pyproject.toml
	$(call quietly,installing what the tests need into $(VENV),\
	  $(PIP) install --require-hashes -r requirements/test.txt && \
	  $(PIP) install --no-deps --no-build-isolation -e . && \
	  $(BIN)/python -m compileall -q src)
	@touch $@

ROOM ?=
COUNT ?= 40
SEED ?= 1

mutants: $(VENV)/test.stamp
	@$(BIN)/python tools/mutants.py $(ROOM) --count $(COUNT) --seed $(SEED)

lock: $(VENV)/python.stamp
	$(call quietly,installing pip-tools,$(PIP) install pip-tools)
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-header --upgrade -o requirements/run.txt pyproject.toml requirements/build.in
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-header --upgrade --extra test --extra fast --extra attest --extra proofs \
	  -o requirements/test.txt pyproject.toml requirements/build.in
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-header --upgrade --extra docs -c requirements/test.txt \
	  -o requirements/docs.txt pyproject.toml requirements/build.in
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-header --upgrade -c requirements/docs.txt -o requirements/man.txt requirements/man.in

docs: $(VENV)/test.stamp
	$(BIN)/python tools/tour.py
	$(BIN)/python tools/reference.py

site: $(VENV)-docs/stamp
	$(VENV)-docs/bin/sphinx-build --quiet -W --keep-going -b html docs build/site

$(VENV)-docs/stamp: requirements/docs.txt pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)-docs
	$(VENV)-docs/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/docs.txt
	$(VENV)-docs/bin/python -m pip --quiet --disable-pip-version-check install --no-deps --no-build-isolation -e .
	@touch $@

dist: $(VENV)/test.stamp
	$(BIN)/python -m build

man: $(VENV)-docs/stamp
	$(VENV)-docs/bin/python tools/man_pages.py build/man

clean:
	rm -rf $(VENV) $(VENV)-docs build dist
