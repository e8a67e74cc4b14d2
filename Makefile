# `make quickstart` and `make test` do all the set-up that they need.
PYTHON ?= python3
BIN := .venv/bin
# What needs no GPU must not look for one, and two workers share two cores.
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help setup model quickstart quickstart-smoke check format test test-fast test-cluster docs lock clean

help:  ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: .venv/.installed  ## Virtual environment with the locked dependencies, all extras

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; name another with PYTHON=…")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

model: setup  ## The base model, fetched and converted once
	$(BIN)/python -W ignore -m astrosage.models.smollm2

quickstart: model  ## The whole path on this machine: data, training, score, report
	@if $(BIN)/astroctl status quickstart >/dev/null 2>&1; then \
		$(BIN)/astroctl resume quickstart --follow && $(BIN)/astroctl report quickstart; \
	else \
		$(BIN)/astroctl submit train -f examples/quickstart.yaml --follow; \
	fi

quickstart-smoke: model  ## The same in under three minutes, for CI: too short to learn much
	@$(BIN)/astroctl delete smoke --yes >/dev/null 2>&1 || true
	$(BIN)/astroctl submit train -f examples/quickstart.yaml --follow \
		--set metadata.name=smoke \
		--set spec.stages.cpt.train.epochs=null --set spec.stages.cpt.train.maxSteps=2 \
		--set spec.stages.cpt.train.globalBatchSize=4 \
		--set spec.stages.sft.train.epochs=null --set spec.stages.sft.train.maxSteps=2 \
		--set spec.stages.sft.train.globalBatchSize=4 \
		--set spec.stages.score.bench.questions.0.limit=24

check: setup  ## Lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup  ## The whole test suite, on real parts, with coverage of the parent process
	$(BIN)/python -m pytest -rs --durations=15 --cov --cov-report=term:skip-covered

test-fast: setup  ## Unit tests only
	$(BIN)/python -m pytest -m "not api and not e2e"

test-cluster: setup  ## On a cluster with KubeRay: RAY_IMAGE=… OPERATOR_IMAGE=… [NAMESPACE STORAGE POOL HELM KEEP=1 …]
	ASTRO_TEST_CLUSTER=$(or $(ASTRO_TEST_CLUSTER),yes) RAY_IMAGE="$(RAY_IMAGE)" \
		OPERATOR_IMAGE="$(OPERATOR_IMAGE)" NAMESPACE="$(NAMESPACE)" STORAGE="$(STORAGE)" \
		STORAGE_CLASS="$(STORAGE_CLASS)" STORAGE_SIZE="$(STORAGE_SIZE)" \
		ACCESS_MODE="$(ACCESS_MODE)" POOL="$(POOL)" HELM="$(HELM)" HELM_ARGS="$(HELM_ARGS)" \
		TIMEOUT="$(TIMEOUT)" KEEP="$(KEEP)" \
		$(BIN)/python -m pytest tests/cluster -v --durations=0

docs: setup  ## Reference pages, resource definitions and the chart's schema from the models
	$(BIN)/python -m astrosage.spec.reference --write
	$(BIN)/python -m astroctl.render.crd --write
	$(BIN)/python -m astroctl.render.chart --write
	$(BIN)/python -m astroctl.controller.why.page --write
	$(BIN)/python -m astrosage.plan.scaling --write

lock:  ## New requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --all-extras --python-version 3.11 --no-header --no-annotate \
		--quiet --upgrade --output-file requirements.lock

clean:  ## Stop the local cluster, remove the environment; runs stay
	-$(BIN)/astroctl down
	rm -rf .venv
