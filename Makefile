# Sabiá's verbs. `make` prints them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet

IMAGE := sabia:0.1.0
# How images get onto the cluster's nodes.
LOAD ?= kind load docker-image
CLUSTER ?= kind

.PHONY: help setup demo test check image kind-up kind-down test-cluster bench-serving lock clean

help: ## print these verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv from the lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11 to 3.13 is needed; say which with PYTHON=…"; exit 1; }
	@echo "setting up $(VENV): a few minutes the first time"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(READY) ## the whole path of the data on real servers, checked; under two minutes after set-up
	$(BIN)/sabia demo

test: $(READY) ## style, types, layers, unit tests and local tests (real servers as processes)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

check: $(READY) ## the part of `make test` that needs no server and no minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not local and not cluster"

image: ## build the image and load it into the kind cluster (LOAD= says how else)
	docker build --network=host --quiet --tag $(IMAGE) --build-arg GIT_COMMIT=$$(git rev-parse HEAD 2> /dev/null) .
	$(LOAD) $(IMAGE)

kind-up: $(READY) ## a kind cluster with Gateway API, Envoy Gateway and KServe; what is there already stays
	PATH=$$PWD/$(BIN):$$PATH manifests/platform/up $(CLUSTER)

kind-down: ## delete that cluster
	kind delete cluster --name $(CLUSTER)

test-cluster: $(READY) image ## everything on the Kubernetes cluster that KUBECONFIG points to
	$(BIN)/pytest -m cluster tests/cluster

bench-serving: $(READY) ## ours beside other servers on the same models, half an hour; needs wrk
	$(BIN)/python -m benchmarks.serving --size full

lock: ## resolve the dependencies anew: names, versions and hashes, no addresses
	$(COMPILE) --all-extras --upgrade --output-file requirements.lock
	$(COMPILE) --extra training --extra monitoring --extra image --constraint requirements.lock --output-file requirements.image.lock

clean: ## remove what was set up and built
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
