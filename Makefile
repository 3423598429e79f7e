# `make demo` and `make test` are all that has to be known; both install what they need under .cache/.
# CARGO_TARGET_DIR is honoured; with CLICKHOUSE_URL the tests run against that server.

SHELL := /bin/sh
CARGO ?= cargo
PYTHON ?= python3
ENGINE_PYTHON := .cache/engine/bin/python
# The first release of Rust that compiles this: `rust-version` in Cargo.toml.
RUST_MINOR_MIN := 95

# Set and empty names no server.
ifeq ($(CLICKHOUSE_URL),)
unexport CLICKHOUSE_URL
endif

.DEFAULT_GOAL := help
.PHONY: help demo session test check bench bench-destination engine schemathesis prometheus dashboards deploy-checks prerequisites clean-cache

help:
	@echo 'make demo           start ClickHouse and the daemon, back up every 15 s, restore, compare; ends with Ctrl-C'
	@echo 'make demo ONCE=1    the same, one round; exit code 0 when every table came back equal'
	@echo 'make test           every test; with CLICKHOUSE_URL=http://user:password@host:8123 against that server'
	@echo 'make session        play the main commands and put what they print into README.md'
	@echo 'make check          format, lints, documentation'
	@echo 'make bench          the daemon beside the raw statement, one table; ONLY=tiny,lists,… for a part; docs/benchmarks.md'
	@echo 'make bench-destination  our view of the destination, and retention over 2,000 backups, one table; ONLY and ARGS'
	@echo 'make clean-cache    remove .cache (the installed ClickHouse engine, schemathesis, Prometheus and the checks of deploy/, and what the demo left)'

demo: prerequisites engine
	@$(PYTHON) tests/demo.py $(if $(filter-out 0,$(ONCE)),--once)

session: prerequisites engine
	@$(PYTHON) tests/session.py

test: prerequisites
ifeq ($(CLICKHOUSE_URL),)
	@$(MAKE) --no-print-directory engine
	@echo 'testing the front of the ClickHouse engine …'
	@$(ENGINE_PYTHON) -m unittest discover tests/engine
else
	@echo 'CLICKHOUSE_URL is set: the engine and the tests of its front are left out, all others use that server'
endif
	@$(MAKE) --no-print-directory schemathesis
	@$(MAKE) --no-print-directory prometheus
	@$(MAKE) --no-print-directory dashboards
	@$(MAKE) --no-print-directory deploy-checks
	@echo 'building and running the tests (the first build takes some minutes) …'
	@$(CARGO) test --locked

check: prerequisites
	@$(CARGO) fmt --check
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps

bench: prerequisites engine
	@echo 'building what is measured (the first build takes some minutes) …' >&2
	@$(CARGO) bench --locked --bench daemon -- $(if $(ONLY),--only $(ONLY))

bench-destination: prerequisites engine
	@echo 'building what is measured (the first build takes some minutes) …' >&2
	@$(CARGO) bench --locked --bench destination -- $(if $(ONLY),--only $(ONLY)) $(ARGS)

engine: prerequisites
	@tests/engine/install

# Generates the requests of tests/it/openapi.rs.
schemathesis: prerequisites
	@tests/openapi/install

# Checks what tests/it/metrics.rs scrapes, and runs the rules of tests/it/dashboards.rs.
prometheus: prerequisites
	@tests/prometheus/install

# Checks the dashboard, and makes Grafana's rules of those of Prometheus.
dashboards: prerequisites
	@tests/dashboards/install

# Checks manifests, image, unit and compose file in tests/it/deploy.rs.
deploy-checks: prerequisites
	@tests/deploy/install

# All that is missing is told at once, with what to do about it.
prerequisites:
	@missing=0; \
	need() { \
	  command -v "$$1" >/dev/null 2>&1 && return; \
	  [ $$missing = 1 ] || echo 'this machine lacks:' >&2; \
	  missing=1; \
	  printf '  %-8s %s\n' "$$2" "$$3" >&2; \
	}; \
	need '$(CARGO)' cargo 'Rust 1.$(RUST_MINOR_MIN) or newer: https://rustup.rs'; \
	need '$(PYTHON)' python3 'Python 3.9 or newer with pip (Debian: apt-get install python3 python3-venv)'; \
	need cc cc 'a C compiler, for SQLite and TLS (Debian: apt-get install build-essential)'; \
	need curl curl 'to ask the daemon (Debian: apt-get install curl)'; \
	[ $$missing = 0 ] || exit 1; \
	version=$$($(CARGO) --version 2>&1) || { printf 'cargo does not run: %s\n' "$$version" >&2; exit 1; }; \
	minor=$$(printf '%s\n' "$$version" | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p'); \
	if [ -n "$$minor" ] && [ "$$minor" -lt $(RUST_MINOR_MIN) ]; then \
	  echo "this is $$version, and Rust 1.$(RUST_MINOR_MIN) or newer is needed: rustup update stable" >&2; exit 1; \
	fi

clean-cache:
	rm -rf .cache
