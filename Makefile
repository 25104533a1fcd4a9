# Each environment is a virtual environment of its own; constraints.txt pins the development environments.
PYTHON ?= python3
DEMO := .venv-demo
TEST := .venv-test
DOCS := .venv-docs
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST := -m pytest --numprocesses 2 --dist loadfile
# further arguments for pytest, such as a folder: make test TESTS=tests/site
TESTS ?=

# older versions of pip do not know dependency groups
define create_venv
	$(PYTHON) -m venv $(1)
	$(1)/bin/python $(PIP_INSTALL) --upgrade "pip>=25.1"
endef

.PHONY: demo test test-fast sdist-test dist check docs linkcheck clean

demo: $(DEMO)/ready ## train a model on real data and print its energy
	$(DEMO)/bin/python examples/lightning_digits.py

test: $(TEST)/wheel ## build the wheel, install it and run all tests against it
	$(TEST)/bin/python $(PYTEST) $(TESTS)

test-fast: $(TEST)/wheel ## run the tests of the core, without frameworks and slow tests, against the wheel
	$(TEST)/bin/python $(PYTEST) @tests/fast.txt $(TESTS)

sdist-test: $(TEST)/ready ## build the sdist, unpack it, and run its tests against the wheel built from it
	@set -e; work="$$(mktemp -d)"; trap 'rm -rf "$$work"' EXIT; \
	python="$(abspath $(TEST))/bin/python"; \
	"$$python" -m build --no-isolation --sdist --outdir "$$work" . > /dev/null; \
	mkdir "$$work/unpacked"; \
	tar -xzf "$$work"/trainwatt-*.tar.gz -C "$$work/unpacked" --strip-components=1; \
	"$$python" -m build --no-isolation --wheel --outdir "$$work" "$$work/unpacked" > /dev/null; \
	rm -f $(TEST)/wheel; \
	"$$python" $(PIP_INSTALL) --no-deps --force-reinstall "$$work"/trainwatt-*.whl; \
	cd "$$work/unpacked"; \
	"$$python" $(PYTEST) $(TESTS)

dist: $(TEST)/ready ## build the sdist and the wheel as they are published, and check them
	rm -rf dist
	$(TEST)/bin/python -m build --no-isolation --outdir dist . > /dev/null
	$(TEST)/bin/python -m twine check --strict dist/*

check: $(TEST)/ready ## lint, format, strict types
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy

docs: $(DOCS)/ready ## build the documentation site into build/docs; warnings are errors
	$(DOCS)/bin/python -m sphinx -W --keep-going -q -d build/doctrees docs build/docs

linkcheck: $(DOCS)/ready ## request every page that the documentation links to; needs the network
	$(DOCS)/bin/python -m sphinx -W --keep-going -q -b linkcheck docs build/linkcheck

clean:
	rm -rf $(DEMO) $(TEST) $(DOCS) build dist footprint lightning_logs

$(DEMO)/ready: pyproject.toml constraints.txt
	$(call create_venv,$(DEMO))
	$(DEMO)/bin/python $(PIP_INSTALL) --group demo ".[lightning]"
	touch $@

# trainwatt itself is only installed as the wheel, by the targets that run tests
$(TEST)/ready: pyproject.toml constraints.txt
	$(call create_venv,$(TEST))
	$(TEST)/bin/python $(PIP_INSTALL) --group dev ".[lightning,keras,transformers,completion]"
	$(TEST)/bin/python -m pip uninstall --quiet --yes trainwatt
	touch $@

$(DOCS)/ready: pyproject.toml constraints.txt
	$(call create_venv,$(DOCS))
	$(DOCS)/bin/python $(PIP_INSTALL) --group docs .
	touch $@

SOURCES := $(shell find src integrations -type f -not -name '*.pyc')

$(TEST)/wheel: $(TEST)/ready $(SOURCES) README.md
	rm -rf dist
	$(TEST)/bin/python -m build --no-isolation --wheel --outdir dist . > /dev/null
	$(TEST)/bin/python $(PIP_INSTALL) --no-deps --force-reinstall dist/trainwatt-*.whl
	touch $@
