# One verb, one target; CI calls the same ones. `make help` lists them.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help venv lock demo demo-down test test-unit node-vm-test soak lint format bench crds images cluster-up cluster-down kueue prometheus3

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.ready ## make the virtual environment from the lock file

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@hack/venv

lock: venv ## write requirements/*.txt from pyproject.toml
	@hack/lock

demo: ## set everything up and show budgets acting on a real cluster
	@hack/demo up

demo-down: ## remove the demo, the chart and the cluster
	@hack/demo down

test: venv ## unit, property and cluster tests (root: starts a cluster of its own)
	@hack/test

test-unit: venv ## the tests that need no cluster
	@$(BIN)/pytest -m "not cluster"

node-vm-test: venv ## ten minutes of loads on two nodes, cgroup v1 and v2, one in a virtual machine (root; half an hour)
	@hack/node-vm-test

soak: venv ## the long counts (an hour): 2,000 examples of each law, 300 kills, 100,000 hostile reports, benchmarks, two nodes
	@$(BIN)/pytest --hypothesis-profile=soak --timeout=3600 tests/agent/test_attribution.py tests/agent/test_usage.py \
	  tests/agent/test_counter.py tests/agent/test_mirrors.py tests/agent/test_baseline.py tests/agent/test_parsers.py \
	  tests/core tests/allocation tests/carbon tests/budgets tests/enforcement/test_suspension_laws.py
	@CARBONBUDGET_AGENT_KILLS=200 CARBONBUDGET_KILLS=100 CARBONBUDGET_HOSTILE=100000 CARBONBUDGET_HISTORIES=500 \
	  $(BIN)/pytest --timeout=3600 tests/agent/test_kill.py tests/ledger/test_faults.py tests/ingest/test_hostile.py \
	  tests/answers/test_expected_intensity.py
	@hack/bench quick
	@hack/node-vm-test

kueue: venv ## try enforcement.kueue against a real Kueue (builds it once: some minutes)
	@hack/kueue

prometheus3: venv ## run the tests of rules, dashboards and exports with Prometheus 3 (builds it once: some minutes)
	@hack/prometheus3

lint: venv ## ruff, mypy --strict, import-linter, generated files, no registry addresses
	@hack/lint

format: venv ## let ruff format and mend what it can
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

bench: venv ## figures of cost: agent, ingest, allocation
	@hack/bench

crds: venv ## write the CRDs and the reference pages from the models and the table of exceptions
	@$(BIN)/python hack/crds
	@$(BIN)/python hack/exceptions

images: ## build the container images into build/images (hack/images --load: and load them)
	@hack/images

cluster-up: ## start a real Kubernetes on this machine (as root)
	@hack/cluster up

cluster-down: ## stop it and remove all it brought but its logs
	@hack/cluster down
