# Each target installs what it needs into .venv. The first time takes a few minutes, later times seconds.

PYTHON ?= python3.11
PIP_FLAGS ?= --quiet --disable-pip-version-check
BIN := .venv/bin

.PHONY: install demo test lint bench slow lock clean

install: .venv/installed        ## install annealq with all of its extras into .venv

demo: .venv/installed           ## train a network and classify a real data set on a private stack
	$(BIN)/annealq demo $(if $(PHOTOS),--photos $(PHOTOS)) $(if $(BACKBONE),--backbone $(BACKBONE)) \
		$(if $(SCALE),--scale $(SCALE)) $(if $(MNIST),--mnist-train $(MNIST)/mnist_train.npz --mnist-test $(MNIST)/mnist_test.npz)

# Tests wait for other processes and for time to pass: three at a time keep two processors busy.
test: .venv/tested              ## run all quick tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
		-m "not slow and not bench and not qpu" $(ARGS)

slow: .venv/tested              ## run the tests that take minutes, and all commands in the docs
	$(BIN)/python -m pytest -m slow $(ARGS)

bench: .venv/tested             ## print every figure as a table, and write bench.json
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
