# make demo   a video that goes badly at first, and what helps: in a napari window where there is a display, else headless
# make test   the tests, in a random order (SEED=... repeats the order of an earlier run)
# make test-robustness  the long forms of tests that `make test` leaves out: more videos, more forged answers
# make test-repeat N=10   the tests N times, each in another order, and how often each failed (BUSY=2: beside two busy loops)
# make resolve  whether all extras can be installed together under constraints.txt; installs nothing
# make lint   ruff, types, the floors of the packages, manifest
# make docs   the documentation, into site/
# make clean  remove what these made
# Each sets up .venv first, once. PYTHON=... chooses the interpreter. On Linux the default package index offers PyTorch
# with several gigabytes of CUDA; TORCH_INDEX=<address of PyTorch's index for the CPU, see pytorch.org> takes the small one.

PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(if $(shell $(p) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && echo ok),$(p))))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test test-robustness test-repeat lint docs resolve clean

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON); the first time takes some minutes ..."
	@# Some systems ship Python's venv without its pip: then the system's pip fills it.
	@$(PYTHON) -m venv $(VENV) >/dev/null || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(if $(TORCH_INDEX),$(PIP) --no-deps --index-url $(TORCH_INDEX) torch==2.13.0)
	$(PIP) --editable ".[all,test,lint]"
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(PIP) --editable ".[docs]"
	@touch $@

demo: $(VENV)/installed
	@scripts/with_display.sh --demo $(BIN)/vivim demo

WORKERS ?= auto
N ?= 10
BUSY ?= 0

test: $(VENV)/installed
	@scripts/with_display.sh $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(if $(SEED),--randomly-seed=$(SEED))

test-robustness: $(VENV)/installed
	@scripts/with_display.sh $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal -m robustness

test-repeat: $(VENV)/installed
	@scripts/with_display.sh $(BIN)/python scripts/repeat_tests.py --times $(N) --workers $(WORKERS) --busy $(BUSY)

resolve: $(VENV)/installed
	$(PIP) --dry-run --editable ".[dev]"

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy
	$(BIN)/npe2 validate napari_vivim/napari.yaml

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist site demo-output .pytest_cache .hypothesis .mypy_cache .ruff_cache
