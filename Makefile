# Perhop. Needs Python 3.11 or newer and make; everything else is fetched, pinned and hashed, into .venv and .cache.

PYTHON ?= python3
VENV := .venv/bin

.PHONY: help demo test test-real conformance drill drill-quick bench bench-quick bench-check lint format docs lock clean

help:
	@echo 'make demo         set up, then run the demo: four tokens, four audiences, and the attacks that fail'
	@echo 'make test         set up, then run the whole Python test-suite'
	@echo 'make test-real    fetch pinned real software into .cache, then test against it'
	@echo 'make conformance  run the official MCP conformance suite through the gateway'
	@echo 'make drill        steal a token in a journal of a million records, kill the server a thousand times (an hour and more)'
	@echo 'make drill-quick  the same, small (two minutes)'
	@echo 'make bench        measure it, beside peers (half an hour); writes docs/performance.md'
	@echo 'make bench-quick  the same, small (three minutes)'
	@echo 'make lint         formatting, lint, types, direction of dependencies'
	@echo 'make format       format the code, and mend what the linter can mend'
	@echo 'make docs         write the generated pages of docs/'
	@echo 'make lock         pin the dependencies anew (maintainers; needs uv)'

demo: .venv/.ready-demo
	@$(VENV)/perhop demo

test: .venv/.ready-dev
	@folder=$$(scripts/test_folder) && trap 'rm -rf "$$folder"' EXIT && \
	$(VENV)/python -m pytest --ignore=tests/real -n 2 --dist loadfile --no-loadscope-reorder --basetemp "$$folder/t"

test-real: .venv/.ready-dev
	@$(VENV)/python -m scripts.fetch_real
	@$(VENV)/python -m scripts.fetch_debian
	@$(VENV)/python -m pytest tests/real -n 2 --dist loadfile --no-loadscope-reorder

conformance: .venv/.ready-dev
	@$(VENV)/python -m scripts.fetch_real
	@$(VENV)/python -m conformance.run

drill: .venv/.ready-dev
	@$(VENV)/python -m scripts.fetch_debian strace
	@$(VENV)/python -m drill.run $(DRILL_FLAGS)

drill-quick: .venv/.ready-dev
	@$(VENV)/python -m scripts.fetch_debian strace
	@$(VENV)/python -m drill.run --quick $(DRILL_FLAGS)

bench: .venv/.ready-dev
	@$(VENV)/python -m bench.run $(BENCH_FLAGS)

bench-quick: .venv/.ready-dev
	@$(VENV)/python -m bench.run --quick $(BENCH_FLAGS)

# As bench-quick, but compares with what is recorded and fails on a gross loss.
bench-check: .venv/.ready-dev
	@$(VENV)/python -m bench.run --quick --check $(BENCH_FLAGS)

lint: .venv/.ready-dev
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports

format: .venv/.ready-dev
	@$(VENV)/ruff check --fix --quiet . || true
	@$(VENV)/ruff format .

docs: .venv/.ready-dev
	@$(VENV)/python -m scripts.generate_docs

.venv/.ready-%: requirements/%.txt pyproject.toml scripts/setup
	@PYTHON='$(PYTHON)' scripts/setup $*

# Keeps the pins that still fit; `make lock LOCK_FLAGS=--upgrade` takes the newest.
UV ?= uv
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(LOCK_FLAGS)
lock:
	$(LOCK) pyproject.toml --extra demo --group build -o requirements/demo.txt
	$(LOCK) pyproject.toml --extra demo --group build --group dev -c requirements/demo.txt -o requirements/dev.txt
	for peer in bench/peers/requirements/*.in; do $(LOCK) "$$peer" -o "$${peer%.in}.txt" || exit; done

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
