# Everything in virtual environments of its own; constraints.txt pins the development environment.
PYTHON ?= python3
DEMO := .venv-demo
TEST := .venv-test
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check clean

demo: $(DEMO)/ready ## train a real model on real data and show what it took
	$(DEMO)/bin/python examples/lightning_digits.py

test: $(TEST)/wheel ## build the wheel, install it, and run the tests against it
	$(TEST)/bin/python -m pytest

check: $(TEST)/ready ## lint, format, strict types
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy

clean:
	rm -rf $(DEMO) $(TEST) build dist footprint lightning_logs

$(DEMO)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(PIP_INSTALL) ".[demo]"
	touch $@

$(TEST)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python $(PIP_INSTALL) ".[dev]"
	$(TEST)/bin/python -m pip uninstall --quiet --yes trainwatt
	touch $@

SOURCES := $(shell find src integrations -type f -not -name '*.pyc')

$(TEST)/wheel: $(TEST)/ready $(SOURCES)
	rm -rf dist
	$(TEST)/bin/python -m build --no-isolation --wheel --outdir dist . > /dev/null
	$(TEST)/bin/python $(PIP_INSTALL) --no-deps --force-reinstall dist/trainwatt-*.whl
	touch $@
