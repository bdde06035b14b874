PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint phantom-base bench docs clean

demo: $(STAMP)
	$(BIN)/medpref run --out runs/demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy

phantom-base: $(STAMP)
	$(BIN)/python -m medpref.pretrain

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $$(command -v $(PYTHON) || command -v python3) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --requirement constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,dicom,judge]'
	touch $@

# About 25 minutes on two quiet cores; what docs/benchmarks holds already is not measured again.
bench: $(VENV)/.dev
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/throughput.py --workload A B Bp C D1 D4 D4own --out docs/benchmarks
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/head.py --out docs/benchmarks
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/growth.py --out docs/benchmarks --plot docs/images/growth.png
	$(BIN)/python benchmarks/document.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
