# make run  | make test  | make lab   (see README.md)
PYTHON ?= python3
CLIENT ?= sample
PIP_FLAGS ?=
BIN := .venv/bin
READY := .venv/.ready

.PHONY: run test lab bench refresh battery browser colab clean

run: $(READY)
	@$(BIN)/playbook run $(CLIENT)

test: $(READY)
	@$(BIN)/python tools/run_tests.py

lab: $(READY)
	@$(BIN)/jupyter lab notebooks/00_start_here.ipynb

bench: $(READY)
	@$(BIN)/python tools/bench.py

# Rebuild the sample documents, run every notebook in place, and store outputs and the sample run.
refresh: $(READY)
	@$(BIN)/python tools/build_documents.py
	@$(BIN)/python tools/refresh_notebooks.py
	@$(BIN)/python tools/difficulty.py --write

# The longer batteries: kills, failing disks, hostile files (about 15 minutes), adapters on wrong labels (20 more).
battery: $(READY)
	@$(BIN)/python tools/battery.py
	@$(BIN)/python tools/adapter_drills.py

# JupyterLab and the record in headless Chromium (Debian: apt install chromium); pictures land in build/screenshots.
browser: $(READY)
	@$(BIN)/python -m pytest tests/browser

# Colab's list of versions: the project resolves for its Python and changes nothing, and runs with them here (but for torch).
colab: $(READY)
	@$(BIN)/python -m pytest tests/colab
	@$(BIN)/uv venv -q --clear .venv-colab
	@grep -viE "^(torch|nvidia|triton|cuda|setuptools)" tests/colab/freeze.txt > .venv-colab/freeze.txt
	@$(BIN)/uv pip install -q -p .venv-colab -c .venv-colab/freeze.txt "torch==2.13.0" -e .
	@PLAYBOOK_ENGAGEMENTS=$$(mktemp -d) .venv-colab/bin/playbook run

clean:
	rm -rf .venv .venv-colab engagements

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'Python %d.%d is too old: install Python 3.11 or newer and call make with PYTHON=/path/to/python3.11.' % sys.version_info[:2])"
	@test -w . || { echo "This folder cannot be written to: copy the project to a folder of your own and run make there."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "Python's venv module is missing: install it (Debian, Ubuntu: apt install python3-venv) and run make again."; exit 1; }
	@echo "Installing (once, 2 to 10 minutes, about 2 GB) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[lab,test]' || { echo "The installation stopped. Most often the disk is full (4 GB are needed) or the network is closed; see the lines above, then run make again."; exit 1; }
	@touch $(READY)
