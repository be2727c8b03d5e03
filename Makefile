# make demo        detect objects in the sample images and video, then fine-tune for a moment
# make test        run the tests; make test-slow runs those that take minutes
# make test-trackers   tests of the libraries of experiment trackers, in an environment of their own: minutes
# make check       style, types, vocabulary
# make results     train and score everything in docs/results.md: days on two cores; RESULTS="--runs balloon_short" selects runs
#
# The first of them creates .venv and installs what it needs. PYTHON=python3.12 selects the interpreter,
# PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu" PyTorch's smaller CPU wheels.

PYTHON ?= python3
PIP_FLAGS ?=
RESULTS ?=
BIN = .venv/bin
TRACKERS = .venv/trackers
# One process per core, and one thread in each process that the tests start.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-slow test-trackers check results clean

demo: .venv/.installed
	$(BIN)/python demo.py

test: .venv/.installed-dev
	$(PYTEST)

test-slow: .venv/.installed-dev
	$(PYTEST) -m slow

test-trackers: $(TRACKERS)/.installed
	OMP_NUM_THREADS=1 $(TRACKERS)/bin/python -m pytest -m slow tests/training/logging/test_installed_trackers.py

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy detect benchmarks $(wildcard *.py)
	$(BIN)/python .ci/vocabulary.py

results: .venv/.installed
	$(BIN)/python benchmark.py results $(RESULTS)

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install $(PIP_FLAGS) -r requirements.txt
	touch $@

.venv/.installed-dev: requirements-dev.txt requirements-serve.txt requirements-app.txt .venv/.installed
	$(BIN)/python -m pip install $(PIP_FLAGS) -r requirements-dev.txt
	touch $@

# The trackers need other versions of some packages than the tests. The rest is taken from .venv.
$(TRACKERS)/.installed: requirements-trackers.txt .venv/.installed-dev
	$(BIN)/python -m venv $(TRACKERS)
	$(BIN)/python -c 'import glob, sysconfig; \
	    (folder,) = glob.glob("$(TRACKERS)/lib/*/site-packages"); \
	    open(folder + "/dev.pth", "w").write(sysconfig.get_path("purelib"))'
	$(TRACKERS)/bin/python -m pip install $(PIP_FLAGS) -r requirements-trackers.txt
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
