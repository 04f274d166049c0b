# Every target sets up what it needs; all of it goes to .venv, from a bare Python >= 3.11.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
CHECKPOINTS := src/antiphon/builtin/checkpoints
JOBS ?= 2
# A file's tests share fixtures, so they stay in one process. The long files come first, and the short ones fill up.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
COMMA := ,
OLDEST := build/oldest
EXTRAS := synth,lora,serve,hub,lhotse,webdataset,arrayrecord,dashboard,track
LANES := tests/e2e tests/contract tests/parity tests/unit

.DEFAULT_GOAL := help
.PHONY: help install demo browser node-client screenshots docs docs-serve test test-fast test-oldest lint format recognizers clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

install: $(STAMP)  ## make .venv with antiphon, its extras and the developers' tools

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	  sys.version_info >= (3, 11) or sys.exit("antiphon needs Python 3.11 or later, and $(PYTHON) is " + v + "; set PYTHON=python3.x")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## reinforcement learning on the built-in recognizer, about a minute
	$(BIN)/antiphon demo

browser:  ## install Chromium for the browser tests, which are skipped without it (Debian and Ubuntu, as root)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

build/node/node_modules: $(wildcard tests/e2e/node/*)
	mkdir -p build/node && cp tests/e2e/node/* build/node/
	npm ci --prefix build/node --no-audit --no-fund --silent
	@touch $@

node-client:  ## install OpenAI's client for Node, whose test is skipped without it (needs Node)
	@command -v npm >/dev/null && $(MAKE) --no-print-directory build/node/node_modules || echo "no npm: skipped"

screenshots: $(STAMP)  ## take the docs' screenshots anew, by the tests that click the pages
	ANTIPHON_SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/python -m pytest tests/e2e -k browser

docs: $(STAMP)  ## build the documentation site into build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(STAMP)  ## show the site while you write, at http://127.0.0.1:8000
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

test: $(STAMP)  ## run the test suite, in JOBS processes (2) of one thread each
	$(PYTEST) $(LANES)

test-fast: $(STAMP)  ## run the tests that train nothing to speak of: tests/unit and tests/contract
	$(PYTEST) -m "not slow" tests/unit tests/contract

# pip cannot resolve to the lowest versions, and uv does not find a torch without CUDA: so uv says which, and pip installs.
$(OLDEST)/.installed: pyproject.toml
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet uv
	$(OLDEST)/bin/uv pip compile --quiet --no-header --resolution lowest-direct $(addprefix --extra ,$(subst $(COMMA), ,$(EXTRAS))) pyproject.toml \
	  --output-file $(OLDEST)/lowest.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/lowest.txt \
	  --editable '.[$(EXTRAS)]' pytest pytest-timeout pytest-xdist hypothesis
	@touch $@

test-oldest: $(OLDEST)/.installed  ## run the fast tests with the lowest versions that pyproject.toml allows
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -n $(JOBS) --dist loadfile tests/unit tests/contract

lint: $(STAMP)  ## check style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(STAMP)  ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

recognizers: $(STAMP)  ## train the built-in recognizers anew and write their model cards (about an hour and a half)
	$(BIN)/python -m antiphon.builtin.pretrain student --out $(CHECKPOINTS)/student
	$(BIN)/python -m antiphon.builtin.pretrain teacher --out build/teacher
	$(BIN)/python -m antiphon.builtin.pretrain teacher-refined --start build/teacher --out $(CHECKPOINTS)/teacher
	$(BIN)/python -m antiphon.builtin.pretrain whisper --out $(CHECKPOINTS)/whisper
	$(BIN)/python -m antiphon.builtin.pretrain wav2vec2 --out $(CHECKPOINTS)/wav2vec2
	$(BIN)/python scripts/model_cards.py $(addprefix $(CHECKPOINTS)/,student teacher whisper wav2vec2)

clean:  ## remove .venv and every cache; runs/ stays
	rm -rf .venv build dist .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf src/*.egg-info
