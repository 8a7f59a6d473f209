# Each target installs what it needs into .venv. The first time takes a few minutes, later times seconds.

PYTHON ?= python3.11
PIP_FLAGS ?= --quiet --disable-pip-version-check
BIN := .venv/bin

# Compiled modules are stored, whatever the environment says: hundreds of processes of the tests would each
# compile annealq again, and every process of xdist all tests.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo test lint bench bench-all slow lock clean

install: .venv/installed        ## install annealq with all of its extras into .venv

demo: .venv/installed           ## train a network and classify a real data set on a private stack
	$(BIN)/annealq demo $(if $(PHOTOS),--photos $(PHOTOS)) $(if $(BACKBONE),--backbone $(BACKBONE)) \
		$(if $(SCALE),--scale $(SCALE)) $(if $(MNIST),--mnist-train $(MNIST)/mnist_train.npz --mnist-test $(MNIST)/mnist_test.npz)

# Tests wait for other processes and for time to pass: four at a time keep two processors busy. Benchmarks are
# not collected: they import their rivals.
test: .venv/tested              ## run all quick tests
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder --ignore=tests/benchmarks \
		-m "not slow and not bench and not qpu" $(ARGS)

slow: .venv/tested              ## run the tests that take minutes, and all commands in the docs
	$(BIN)/python -m pytest -m "slow and not bench" $(ARGS)

bench: .venv/tested             ## print the quick figures, and fail if a ratio is a tenth worse than the last one
	$(BIN)/python -m pytest -m "bench and not slow" -s --durations=8 $(ARGS)

bench-all: .venv/tested         ## print every figure: hours
	$(BIN)/python -m pytest -m bench -s $(ARGS)

lint: .venv/linted              ## check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: .venv/linted .venv/tested ## write constraints.txt from the installed versions
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//' > constraints.txt

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch is installed first and alone, so that pip takes a CPU build if it finds one.
.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt torch
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[all]'
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[all,test]'
	touch $@

.venv/linted: .venv/installed
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[all,lint]'
	touch $@
