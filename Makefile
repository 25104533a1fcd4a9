# Everything in virtual environments of its own; constraints.txt pins the development environment.
PYTHON ?= python3
DEMO := .venv-demo
TEST := .venv-test
DOCS := .venv-docs
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check docs linkcheck clean

demo: $(DEMO)/ready ## train a real model on real data and show what it took
	$(DEMO)/bin/python examples/lightning_digits.py

test: $(TEST)/wheel ## build the wheel, install it, and run the tests against it
	$(TEST)/bin/python -m pytest --numprocesses 2 --dist loadfile

check: $(TEST)/ready ## lint, format, strict types
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy

docs: $(DOCS)/ready ## build the documentation site into build/docs; whatever is wrong with it is an error
	$(DOCS)/bin/python -m sphinx -W --keep-going -q -d build/doctrees docs build/docs

linkcheck: $(DOCS)/ready ## ask for every page that the documentation links to; needs the network
	$(DOCS)/bin/python -m sphinx -W --keep-going -q -b linkcheck docs build/linkcheck

clean:
	rm -rf $(DEMO) $(TEST) $(DOCS) build dist footprint lightning_logs

$(DEMO)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(PIP_INSTALL) ".[demo]"
	touch $@

$(TEST)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python $(PIP_INSTALL) ".[dev]"
	$(TEST)/bin/python -m pip uninstall --quiet --yes trainwatt
	touch $@

$(DOCS)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python $(PIP_INSTALL) ".[docs]"
	touch $@

SOURCES := $(shell find src integrations -type f -not -name '*.pyc')

$(TEST)/wheel: $(TEST)/ready $(SOURCES)
	rm -rf dist
	$(TEST)/bin/python -m build --no-isolation --wheel --outdir dist . > /dev/null
	$(TEST)/bin/python $(PIP_INSTALL) --no-deps --force-reinstall dist/trainwatt-*.whl
	touch $@
