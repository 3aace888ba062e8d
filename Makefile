# Everything below sets itself up: uv is fetched when it is missing, packages come from uv.lock.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV ?= $(shell command -v uv || echo .uv/bin/uv)
export UV_PYTHON_DOWNLOADS = never
# The machine's own certificates, as pip uses them: behind a company's proxy uv's built-in list is not enough.
export UV_SYSTEM_CERTS = true
# Containers often forbid byte code. Without it every process compiles all that it imports, and pytest rewrites
# every test for each of its workers.
unexport PYTHONDONTWRITEBYTECODE
SYNC = $(UV) sync --quiet --frozen --all-extras --no-extra gcs --no-extra azure --no-extra kubernetes --group dev
RUN = .venv/bin

# What shows that an upgrade, a restored warehouse and the silence about secrets and people hold; `make test` runs
# these files, too.
UPGRADE = tests/warehouse/test_migrate.py tests/warehouse/test_older_programs.py tests/cli/test_older_program.py \
	tests/warehouse/test_previous_release.py
RESTORE = tests/writes/test_restored_warehouse.py tests/inbox/test_archive_again.py
CANARY = tests/warehouse/test_quiet_errors.py tests/enerflo/test_client_secrets.py tests/cli/test_support_bundle.py \
	tests/retention/test_forget.py tests/dags/test_logs_hold_no_row.py

.PHONY: help demo test versions celery simulate soak upgrade restore canary mutate audit sbom check bench pictures docs clean sync

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: sync ## run everything once against a simulated company (PostgreSQL, Airflow), and serve the report
	$(RUN)/enerflo-sync demo $(DEMO)

# Twice as many workers as cores: many tests wait for a server, a clock or a kill, and one waits in the demo for long.
test: sync ## run every test, WORKERS=4 at a time (browser tests need Chromium)
	$(UV) sync --quiet --frozen --script tests/copies/fake_snowflake.py
	$(RUN)/pytest -n $(or $(WORKERS),4) --dist loadfile --no-loadscope-reorder $(TESTS)

versions: sync ## try the wheel with each Python that is here, the next Airflow and the lowest versions, VERSIONS="--short"
	$(RUN)/python -m tests.versions $(VERSIONS)

celery: sync ## a backfill of INSTALLS=n across two Celery workers that are killed, with the shipped DAGs (needs redis-server)
	$(RUN)/python -m tests.workers --installs $(or $(INSTALLS),20000)

simulate: sync ## run SEEDS=n seeds of the deterministic simulation, FROM=0 on, HOURS=24 simulated hours each
	$(RUN)/python -m tests.simulation --from $(or $(FROM),0) --seeds $(or $(SEEDS),100) --hours $(or $(HOURS),24) $(SIMULATE)

soak: sync ## run YEARS=5 simulated years of one company, and fail on what grows or slows down
	$(RUN)/python -m tests.soak --years $(or $(YEARS),5) $(SOAK)

upgrade: sync ## test migrations, and programs of other versions on their tables
	UPGRADES=all $(RUN)/pytest $(UPGRADE)

restore: sync ## test backup, restore, and a warehouse that was set back to an earlier moment
	$(RUN)/pytest $(RESTORE)

canary: sync ## test that planted secrets and persons stand in no log, note, error and bundle
	$(RUN)/pytest $(CANARY)

mutate: sync ## change the deciding code SAMPLE=n times (all without it), and count what the tests notice
	$(RUN)/python -m tests.mutation $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(MODULE),--module $(MODULE)) $(MUTATE)

# `look` alone, without the list, is what a schedule runs (docs/security.md): make ends with 2 whatever failed.
audit: sync ## look for known weaknesses of the locked packages, and list their licences
	$(RUN)/python -m tests.supply_chain licences
	$(RUN)/python -m tests.supply_chain look

sbom: sync ## write a bill of materials (CycloneDX) of what a server needs
	$(RUN)/python -m tests.supply_chain sbom enerflo-sync.cdx.json

check: sync ## lint, types, import rules, generated files, compose file
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/pytest tests/test_structure.py
	$(RUN)/python docs/generate.py --check

bench: ## measure speed and memory beside the peers (BENCH=--list: what, and how long; BENCH="poll --write")
	$(UV) sync --quiet --frozen --all-extras --no-extra gcs --no-extra azure --no-extra kubernetes --all-groups
	$(RUN)/python -m benchmarks $(BENCH)

pictures: sync ## take the pictures of docs/tour.md and the README again (needs Chromium)
	$(RUN)/python -m tests.pages.look --tour docs/images

docs: sync ## write the generated pages again
	$(RUN)/python docs/generate.py

clean: ## remove what the other targets made (the demo's data too)
	rm -rf .venv .versions .uv .demo .mypy_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

sync: $(if $(filter .uv/%,$(UV)),.uv/bin/uv)
	@$(SYNC)

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv
