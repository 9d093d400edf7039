# Everything runs in .venv, made on first need; only python3 (3.11 or newer) and make must be there.
#
#   make demo [ARGS=--once]      the main job, end to end, then stay up until Ctrl-C
#   make test                    all tests, in several processes
#   make test ARGS=...           some tests, in one process; ARGS go to pytest
#   make test-timescale URL=...  all tests on a server of yours, given by its administrator's URL
#   make bench [ARGS='part']     all benchmarks, or one part; '--full' for the large sizes
#   make chaos [ARGS=...]        the long crash test
#   make lint                    format, rules, types, imports
#   make clean                   remove .venv and caches; the data stays

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# Every process has a server and databases of its own; tests/conftest.py says which shares which.
# One that dies ends it all: a worker in its place may wait for ever (pytest-xdist, issue 784).
ALL_TESTS := --numprocesses 2 --no-loadscope-reorder --max-worker-restart 0
CHROMIUM := /usr/bin/chromium

.PHONY: demo test test-timescale bench chaos lint clean

demo: $(STAMP)
	@$(BIN)/time2plug demo $(ARGS)

test: $(STAMP) | $(CHROMIUM)
	@$(BIN)/python -m pytest $(or $(ARGS),$(ALL_TESTS))

test-timescale: $(STAMP) | $(CHROMIUM)
	@test -n "$(URL)" || { echo "On which server? It is for tests alone:" \
		"make test-timescale URL=postgresql://ADMINISTRATOR:PASSWORD@HOST:5432/postgres" >&2; exit 2; }
	@T2P_TEST_DATABASE_URL='$(URL)' $(BIN)/python -m pytest $(ARGS)

bench: $(STAMP)
	@$(BIN)/time2plug bench $(ARGS)

chaos: $(STAMP)
	@$(BIN)/python -m tests.chaos $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The browser that pages are tested in. Without it those tests are skipped, and .ci/run fails.
$(CHROMIUM):
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing chromium..." && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
			>/dev/null; fi; \
	[ -x $@ ] || echo "Tests in a browser are skipped: $@ is missing;" \
		"install Debian's package chromium." >&2

# Touched only when all of it went well; a change of what is to be installed runs it again.
$(STAMP): constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (python3)." >&2; exit 1; }
	@echo "Setting up $(VENV)..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[dev]' --constraint constraints.txt
	@touch $@
