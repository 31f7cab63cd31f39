# make demo    the whole loop on simulated subjects; prints where report.html is
# make test    every fast test        make test-all    the slow ones too
# make lint    ruff, mypy, import rules
# make bench   every figure, into benchmarks/RESULTS.md
# make release wheel, .deb, bill of materials and checksums in dist/, tried in clean environments
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-all test-wheel lint bench requirements deb release clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "opticaldr needs Python 3.11 or newer; set PYTHON=python3.x"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[design,fab,slm,export,clinic,test,lint]'
	@touch $@

demo: setup
	$(BIN)/opticaldr demo

# Tests run side by side, a core each; one thread of BLAS each, so that they do not fight for the cores.
PYTEST = OMP_NUM_THREADS=1 $(1)/python -m pytest -n auto --maxprocesses 8 --dist loadgroup

test: setup
	$(call PYTEST,$(BIN))

test-all: setup
	$(call PYTEST,$(BIN)) -m ""

# The same tests against the wheel as a user installs it, before a release; `make test` checks what the wheel holds.
test-wheel:
	rm -rf build/wheel build/lib && $(PYTHON) -m venv build/wheel/venv
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	build/wheel/venv/bin/python -m pip install --quiet --constraint constraints.txt "$$(ls build/wheel/*.whl)[design,fab,slm,export,clinic,test]"
	$(call PYTEST,build/wheel/venv/bin) -m "not slow and not install"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	.ci/mypy
	$(BIN)/lint-imports

# A Debian package that a clinic's machine installs without a network: dist/opticaldr_*.deb
deb:
	PYTHON=$(PYTHON) packaging/build_deb.sh

# docs/requirements.md and docs/risks.md, from docs/requirements.toml and the marks on the tests.
requirements: setup
	$(BIN)/python packaging/traceability.py

release: setup deb
	PYTHON=$(PYTHON) packaging/release.sh

# All rooms, or some: make bench ROOMS="twin device"
bench: setup
	$(BIN)/python -m benchmarks $(ROOMS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
