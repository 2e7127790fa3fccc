# make demo   the main job on a sample video: in a napari window where there is a display, else headless
# make test   the tests
# make lint   ruff, types, manifest
# Both set up .venv first. PYTHON=... chooses the interpreter. On Linux, TORCH_INDEX=<address of PyTorch's CPU index>
# avoids the CUDA build of PyTorch where the default index offers only that one.

PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(if $(shell $(p) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && echo ok),$(p))))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test lint clean

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(PIP) --editable ".[all,test,lint]"
	@touch $@

demo: $(VENV)/installed
	@scripts/with_display.sh --demo $(BIN)/vivim demo

test: $(VENV)/installed
	@scripts/with_display.sh $(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/npe2 validate napari_vivim/napari.yaml

clean:
	rm -rf $(VENV) build dist demo-output .pytest_cache .mypy_cache .ruff_cache
