# Every target sets up what it needs; `make help` explains them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export SAM_CLI_TELEMETRY = 0
# Hundreds of processes start here: without bytecode on disk each compiles all that it imports. Empty is unset.
export PYTHONDONTWRITEBYTECODE =
# SAM looks for python3.13 on PATH; the virtual environment's comes first.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# The first interpreter that really starts (a version manager's shim may exist and still fail); 3.13 is what
# Lambda runs and what `make build` needs. Override with `make PYTHON=/path/to/python3.13 ...`.
PYENV_ROOT ?= $(HOME)/.pyenv
CANDIDATES = $(foreach v,3.13 3.12 3.11,python$(v) $(wildcard $(PYENV_ROOT)/versions/$(v)*/bin/python$(v))) python3
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$p"; break; }; done)

# What this machine can run, for targets that stay on it; `deploy` leaves the templates' default (arm64).
HOST_ARCHITECTURE = $(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64)

# Nothing here may reach a real account by accident; `deploy` alone uses your own credentials.
OFFLINE = env -u AWS_PROFILE AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing AWS_SESSION_TOKEN=testing \
	AWS_DEFAULT_REGION=eu-west-1 AWS_EC2_METADATA_DISABLED=true

.PHONY: help
help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/ready ## Create .venv with everything in it, the `sluice` command included

.venv/ready: pyproject.toml uv.lock
	@test -n "$(PYTHON)" || { echo "No working Python 3.11 or newer found: install one, or run make PYTHON=/path/to/python3.13"; exit 1; }
	@test -x .venv/bin/python && .venv/bin/python -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	@.venv/bin/uv sync --frozen --all-extras --quiet --python .venv/bin/python
	@touch $@

.PHONY: demo
demo: setup ## Watch a group follow its queue 0 -> 1 -> N -> 0 on an embedded AWS
	@.venv/bin/sluice demo

.PHONY: demo-real
demo-real: setup ## The same with real worker processes on the wall clock, where two seconds stand for a minute
	@.venv/bin/sluice demo --real-workers

.PHONY: scenarios
scenarios: setup ## Play every example workload of `sluice demo --list`; each must end with nothing left
	@.venv/bin/sluice demo --list | cut -d ' ' -f 1 | xargs -P "$$(getconf _NPROCESSORS_ONLN)" -I {} \
		.venv/bin/sluice demo --scenario {} --json 2>/dev/null

# In the order of collection: sorted by their number of tests, the longest files would be begun last and alone.
ON_ALL_CORES = --numprocesses auto --dist loadfile --no-loadscope-reorder
THE_DECISIONS_OWN = tests/sluice/core tests/sluice/usecases tests/worker/core

.PHONY: test
test: coverage other-tests ## Run the tests on all cores (under five minutes on two, no AWS account), the decisions' under coverage

.PHONY: other-tests
other-tests: setup
	@$(OFFLINE) .venv/bin/pytest $(ON_ALL_CORES) $(addprefix --ignore ,tests/deploy $(THE_DECISIONS_OWN)) \
		-m 'not processes and not slow'

.PHONY: test-slow
test-slow: setup ## The tests that take longer: whole plays over the embedded AWS, planted defects, the simulator's bound
	@$(OFFLINE) .venv/bin/pytest $(ON_ALL_CORES) --ignore tests/deploy -m slow

.PHONY: day
day: setup ## A whole day of an ECS service over the embedded AWS, some 27,000 messages (five minutes)
	@$(OFFLINE) .venv/bin/pytest tests/scenarios/whole_day.py

.PHONY: processes
processes: setup ## Real worker processes: supervised, killed, under other supervisors, and in a play on the wall clock
	@$(OFFLINE) .venv/bin/pytest -m processes tests/worker tests/worker_chaos tests/scenarios tests/examples

.PHONY: e2e
e2e: setup ## Build, deploy both stacks into an embedded AWS, run the deployed functions in Lambda's runtime
	@$(OFFLINE) .venv/bin/pytest $(ON_ALL_CORES) tests/deploy

.PHONY: local-invoke
local-invoke: build ## Every function with every event in SAM's containers, where a container engine runs
	@$(OFFLINE) .venv/bin/python -m tests.deploy.local_invoke

.PHONY: faults
faults: setup ## Every AWS call of every use case fails in every way: the whole matrix
	@$(OFFLINE) .venv/bin/pytest --numprocesses auto tests/faults/whole_matrix.py tests/faults/whole_switch_matrix.py

.PHONY: chaos
chaos: setup ## 100,000 random interleavings of events over all cores (COUNT=n: fewer)
	@$(OFFLINE) .venv/bin/python -m tests.chaos $(if $(COUNT),--count $(COUNT))

.PHONY: states
states: setup ## Every state of small scopes, breadth first over the use cases (DEPTH=n: so many moves; ten minutes)
	@$(OFFLINE) .venv/bin/python -m tests.states $(if $(DEPTH),--depth $(DEPTH))

.PHONY: worker-chaos
worker-chaos: setup ## Real workers ended at random over a failing SQS (SHARE=0.1: fewer messages)
	@$(OFFLINE) .venv/bin/python -m tests.worker_chaos $(if $(SHARE),--share $(SHARE))

.PHONY: fuzz
fuzz: setup ## A million fresh inputs for every reader of what others wrote (INPUTS=n: fewer)
	@.venv/bin/uv sync --frozen --all-extras --group fuzz --quiet --python .venv/bin/python
	@$(OFFLINE) PYTHONPATH=layers/sluice:. .venv/bin/python -m tests.fuzz $(if $(INPUTS),--inputs $(INPUTS))

.PHONY: bench
bench: bench-simulator bench-promise bench-worker bench-tick bench-cold-start ## Every benchmark: ratios, and what the worker's memory does

.PHONY: bench-simulator
bench-simulator: setup ## The simulator against a plain SimPy model of the same queue and workers: a ratio
	@.venv/bin/python benchmarks/simulator.py

.PHONY: bench-promise
bench-promise: setup ## Share in time, cost over the bound and launches, judged by their limits (TRACES=DIR: real traces too)
	@.venv/bin/python benchmarks/promise.py $(if $(TRACES),--traces $(TRACES))
	@.venv/bin/python benchmarks/deadline.py $(if $(TRACES),--traces $(TRACES))
	@.venv/bin/python benchmarks/short_promise.py $(if $(TRACES),--traces $(TRACES))

.PHONY: bench-worker
bench-worker: setup ## The worker beside a bare boto3 loop and Celery (ratios), when idle, and over a million messages
	@.venv/bin/uv sync --frozen --all-extras --group bench --quiet --python .venv/bin/python
	@.venv/bin/python benchmarks/worker.py
	@.venv/bin/python benchmarks/worker_idle.py
	@.venv/bin/python benchmarks/worker_memory.py

.PHONY: bench-tick
bench-tick: setup ## A tick of 1000 workloads beside bare boto3 clients (ratios), 10,000 in shards, the bill of each engine
	@.venv/bin/python benchmarks/tick.py
	@.venv/bin/python benchmarks/shards.py
	@.venv/bin/python benchmarks/bill.py

.PHONY: bench-cold-start
bench-cold-start: setup ## Each function's first answer beside an empty handler's and one with boto3 alone (ratios)
	@$(OFFLINE) .venv/bin/python benchmarks/cold_start.py

.PHONY: check
check: lint test ## The gate: lint, types, templates, and the tests

.PHONY: lint
lint: setup ## ruff, mypy --strict, sam validate --lint on both templates
	@$(MAKE) -j 2 lint-code lint-templates

.PHONY: lint-code
lint-code: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

.PHONY: lint-templates
lint-templates: setup
	@for t in template.yaml workload.yaml; do \
		$(OFFLINE) .venv/bin/sam validate --lint --template $$t || exit 1; done

FINDINGS = scan/.venv/findings.txt
SHIPPED = scan/.venv/shipped.txt

.PHONY: scan
scan: setup scan/.venv/ready ## checkov over templates and examples; pip-audit over what is shipped, where its service answers
	@scan/.venv/bin/checkov --skip-download --compact --framework cloudformation dockerfile kubernetes secrets terraform \
		--file template.yaml workload.yaml $$(find examples -name '.?*' -prune -o -type f -print) > $(FINDINGS) \
		|| { grep -B1 -A1 FAILED $(FINDINGS) || cat $(FINDINGS); exit 1; }
	@# checkov passes over a file that it cannot read, in silence.
	@for file in template.yaml workload.yaml examples/fleet-*.yaml examples/event-listener.yaml examples/pipeline.yaml examples/stackset/code-bucket.yaml examples/*/template.yaml examples/Dockerfile examples/terraform/main.tf examples/kubernetes/worker.yaml; do grep -q "File: /*$$file:" $(FINDINGS) || { \
		echo "checkov judged nothing in $$file, so nothing is known of it: does make lint pass?"; exit 1; }; done
	@grep '^Passed checks' $(FINDINGS)
	@.venv/bin/uv export --frozen --no-dev --group layer --extra worker --no-emit-project --quiet \
		--output-file $(SHIPPED) > /dev/null
	@.venv/bin/python scan/audit.py $(SHIPPED)

scan/.venv/ready: scan/pyproject.toml scan/uv.lock
	@.venv/bin/uv sync --project scan --frozen --quiet --python .venv/bin/python
	@touch $@

BILLS = dist

.PHONY: sbom
sbom: setup ## CycloneDX bills of materials of the layer and the worker, from the lock, in dist/
	@.venv/bin/python -m release.bills $(BILLS)

.PHONY: coverage
coverage: setup ## Every branch of the decisions is tested, by the decisions' own tests
	@$(OFFLINE) .venv/bin/pytest -q $(ON_ALL_CORES) $(THE_DECISIONS_OWN) -m 'not slow' --cov \
		--cov-report=term-missing:skip-covered --cov-fail-under=100

.PHONY: format
format: setup ## Let ruff format the code and mend what it can
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

.PHONY: schema
schema: setup ## Write docs/workload.schema.json anew from the document's model
	@.venv/bin/python -c 'import json; from sluice.document import parsing; print(json.dumps(parsing.json_schema(), indent=2))' \
		> docs/workload.schema.json

.PHONY: screenshots
screenshots: setup ## Write the pictures of the operator's commands and the dashboard in docs/ anew, from the embedded AWS
	@.venv/bin/python docs/screenshots.py
	@.venv/bin/python docs/dashboard.py

.PHONY: infrastructure
infrastructure: setup ## Write what examples/terraform and examples/cdk know of workload.yaml's parameters anew
	@.venv/bin/python docs/infrastructure.py

.PHONY: examples
examples: setup scan/.venv/ready examples/cdk/.venv/ready ## examples/terraform by Terraform itself and examples/cdk by the CDK: both make the resources of workload.yaml
	@cd examples/cdk && .venv/bin/mypy
	@$(OFFLINE) .venv/bin/pytest --numprocesses 2 --dist loadfile tests/examples/terraform_itself.py tests/examples/cdk_synthesis.py

# Installed as a user installs it, with the template inside.
examples/cdk/.venv/ready: examples/cdk/pyproject.toml examples/cdk/uv.lock workload.yaml $(wildcard examples/cdk/src/sluice_cdk/*.py)
	@.venv/bin/uv sync --project examples/cdk --frozen --no-editable --reinstall-package sluice-cdk --quiet --python .venv/bin/python
	@touch $@

.PHONY: grafana
grafana: setup ## Write examples/grafana-*.json anew, from the dashboard of workload.yaml
	@.venv/bin/python docs/grafana.py

.PHONY: lock
lock: setup ## Lock the newest allowed versions, and pin the layer's requirements to them
	@.venv/bin/uv lock --upgrade
	@.venv/bin/uv lock --upgrade --project scan
	@.venv/bin/uv lock --upgrade --project examples/cdk
	@$(MAKE) layers/sluice/requirements.txt

layers/sluice/requirements.txt: uv.lock
	@.venv/bin/uv export --frozen --only-group layer --no-header --no-annotate --quiet > $@

# A layer is read-only in Lambda: without bytecode of its own, each cold start compiles all that it imports.
# Bytecode that is checked by hash outlives the archive, which changes times, and never stands for older source.
WITH_BYTECODE = python3.13 -m compileall -q --invalidation-mode checked-hash

# For a machine of the other kind sam fetches binary wheels a second time, by version alone: this holds them to the
# locked hashes too.
LOCKED = env PIP_CONSTRAINT=$(CURDIR)/layers/sluice/requirements.txt

.PHONY: build
build: setup ## sam build for this machine, into .aws-sam/local (deploy makes its own, for arm64)
	@.venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' || { \
		echo "sam build needs Python 3.13: make clean build PYTHON=/path/to/python3.13"; exit 1; }
	@$(OFFLINE) $(LOCKED) .venv/bin/sam build --build-dir .aws-sam/local \
		--parameter-overrides Architecture=$(or $(ARCHITECTURE),$(HOST_ARCHITECTURE))
	@$(WITH_BYTECODE) .aws-sam/local/SluiceLayer

.PHONY: wheel
wheel: setup ## The wheel that instances install the worker from, in dist/
	@rm -f dist/*.whl && .venv/bin/uv build --quiet --wheel --out-dir dist && ls dist/*.whl

.PHONY: release
release: setup ## All files of a release, from the last commit, in dist/: two builds of one commit have the same bytes
	@rm -rf .aws-sam/release
	@$(OFFLINE) .venv/bin/python -m release .aws-sam/release
	@rm -rf dist && mv .aws-sam/release dist

.PHONY: deploy
deploy: setup ## Deploy the control plane with your own AWS credentials (ENV=transcription: a workload)
	@$(if $(ENV),.venv/bin/sam deploy --config-env $(ENV),\
		$(LOCKED) .venv/bin/sam build && $(WITH_BYTECODE) .aws-sam/build/SluiceLayer && .venv/bin/sam deploy)

.PHONY: stackset
stackset: setup ## The control plane for examples/stackset.yaml, in dist/stackset: code, and a template without transforms
	@rm -rf dist/stackset
	@$(OFFLINE) $(LOCKED) .venv/bin/sam build && $(WITH_BYTECODE) .aws-sam/build/SluiceLayer
	@.venv/bin/python examples/stackset/package.py .aws-sam/build dist/stackset

.PHONY: clean
clean: ## Remove the virtual environment, build output and caches
	@rm -rf .venv scan/.venv examples/cdk/.venv .aws-sam dist .mypy_cache .ruff_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
