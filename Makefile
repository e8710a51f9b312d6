# make run    the whole series, headless, on the real clips in the package
# make test   style, layers and tests
# make lab    the notebooks in JupyterLab
# make book   the series with its results, and every function, as a site
# make run PROFILE=paper DATA=/path/to/challenge-2016   the paper on the real recordings
# make edition DATA=/path/to/challenge-2016             the same, executed into figures/edition
# make slides the slides of a 90-minute class, from figures/edition

PYTHON  ?= python3
PROFILE ?= demo
DATA    ?=
LISTS   ?=
ARGS    ?=

bin     := .venv/bin
run      = $(bin)/python -m hsutils run --profile "$(PROFILE)" \
           $(if $(DATA),--data "$(DATA)") $(if $(LISTS),--lists "$(LISTS)") $(ARGS)

# What JupyterLab writes into a notebook besides outputs.
about   := version codemirror_mode file_extension mimetype nbconvert_exporter pygments_lexer
added   := $(about:%=metadata.language_info.%) cell.metadata.jp-MarkdownHeadingCollapsed
# jsonschema would compile a grammar first: two seconds for each notebook that git looks at. A module
# that is None counts as not installed.
quick   := import sys; sys.modules.update(rfc3987_syntax=None); import nbstripout; nbstripout.main()
strip   := $(bin)/python -c "$(quick)" --keep-id --extra-keys "$(added)"

# JupyterLab does not ask whether it may fetch news.
settings := .venv/share/jupyter/lab/settings
no_news := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}

# uv installs faster; where it cannot, pip does.
pip     := $(bin)/python -m pip install --quiet --disable-pip-version-check
uv      := $(bin)/uv pip install --quiet --native-tls --compile-bytecode --python $(bin)/python
packages = ($(pip) uv==0.13.9 && $(uv) -c constraints.txt $(1)) || $(pip) -c constraints.txt $(1)

.DEFAULT_GOAL := help
.PHONY: help run edition test slides lab book filter install clean

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

run: .venv/installed
	$(run)

edition: PROFILE := paper
edition: override ARGS += --run-dir "runs/$(PROFILE)"
edition: run
	$(bin)/python -m hsutils edition --run-dir "runs/$(PROFILE)" --to figures/edition

test: .venv/installed-for-tests
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/lint-imports
	$(bin)/python -m pytest -n logical --doctest-modules hsutils tests

slides: .venv/installed-for-docs
	$(bin)/python docs/slides.py figures/edition docs/_build/html/slides

lab: .venv/installed filter
	@mkdir -p $(settings) && echo '$(no_news)' > $(settings)/overrides.json
	$(bin)/jupyter lab notebooks

# Warnings, such as a link that leads nowhere, are errors.
book: .venv/installed-for-docs
	@test -e figures/edition/glossary.ipynb || { echo "figures/edition is empty: run make edition DATA=... first" >&2; exit 1; }
	rm -f docs/api/hsutils*.rst
	$(bin)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs . docs/_build/html
	$(bin)/python docs/slides.py figures/edition docs/_build/html/slides
	@echo "Open docs/_build/html/index.html"

# In a checkout, git sees the notebooks without outputs (.gitattributes).
filter:
	@test ! -e .git || git config filter.notebooks.clean \
	    'if [ -x $(bin)/python ]; then $(strip); else echo "Notebooks keep their outputs: run make lab" >&2; cat; fi' \
	    2> /dev/null || echo "git filter not set: git may see the outputs of notebooks" >&2

install: .venv/installed

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and "Python 3.11 to 3.14 is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt constraints.txt pyproject.toml | .venv/bin/python
	$(call packages,-r requirements.txt -e .)
	touch $@

.venv/installed-for-docs: docs/requirements.txt .venv/installed
	$(call packages,-r docs/requirements.txt)
	touch $@

.venv/installed-for-tests: tests/requirements.txt .venv/installed-for-docs
	$(call packages,-r tests/requirements.txt)
	touch $@

clean:
	rm -rf .venv runs cache docs/_build docs/api/hsutils*.rst .pytest_cache .ruff_cache
	test ! -e .git || git config --unset filter.notebooks.clean 2> /dev/null || true
