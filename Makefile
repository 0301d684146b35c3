# make demo   search, retrain and report on real images that ship inside scikit-learn
# make check  format, lint, types, layers, the examples in docstrings
# make test   every test but those that wait for a compiler; make test-all   those, too
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo
# two processes, and the tests of a file in one of them, so that what they share is made once
TWO := -n 2 --dist loadscope --no-loadscope-reorder

# one thread a process: two lose time to each other on small machines
export OMP_NUM_THREADS ?= 1

# what is imported is compiled once and kept, whatever the environment says: pip leaves it to the first import
export PYTHONDONTWRITEBYTECODE :=

# real data for the tests that want it, where the folder is there
ifneq ($(wildcard ../shared/data),)
export RENASCENT_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test test-all check types examples bench-quick clean

.venv/.ok: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --no-compile -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/.ok
	rm -rf $(DEMO)
	$(BIN)/renascent search resnet20 --strategy nes --data digits --lowest 4 --highest 8 --budget 'macs<=0.1x' --sandwich 2 --epochs 20 --lr 0.1 --out $(DEMO)
	$(BIN)/renascent fit $(DEMO) --epochs 10 --batch 64 --random-cells 8 --uniform
	$(BIN)/renascent report $(DEMO)

test: .venv/.ok
	$(BIN)/python -m pytest -q $(TWO) -m 'not compiler' tests

test-all: .venv/.ok
	$(BIN)/python -m pytest -q $(TWO)

check: .venv/.ok
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) -j 2 types examples

types: .venv/.ok
	$(BIN)/mypy

examples: .venv/.ok
	$(BIN)/python -m pytest -q -n 2 tests/test_layers.py renascent

bench-quick: .venv/.ok
	$(BIN)/python benchmarks/step_cost.py --channels 8 --cells 1 --rounds 3

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist runs *.egg-info
