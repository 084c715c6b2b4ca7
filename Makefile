# Holdfast. `make` lists the targets; `make test` and `make demo` are the two
# that a newcomer needs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
PKG ?= ./...
# The library and the examples are modules of their own.
MODULES := . examples
# The comparisons with others are checked too; their tests, for which pebble
# would be built with the race detector, belong to the bench targets.
CHECKED := $(MODULES) bench/peers bench/replay
# A test binary that hangs is killed with all stacks after this time.
TEST_TIMEOUT ?= 15m
TESTFLAGS ?=
FUZZTIME ?= 10s
# The race detector needs cgo, whatever the machine's default is.
RACE := CGO_ENABLED=1 $(GO)
GOTEST := test -race -shuffle=on -timeout=$(TEST_TIMEOUT)
# Tools have a module of their own, so that none of their dependencies reaches
# the library's go.mod. `go tool` builds them once and keeps them in Go's cache.
LINT = $(GO) -C $(1) tool -modfile=$(CURDIR)/tools/go.mod golangci-lint

export GO FUZZTIME

.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: ## Install redis-server, redis-sentinel and a C compiler where missing (Debian).
	@scripts/setup.sh

.PHONY: demo
demo: ## Re-enact the incident on real Redis servers, plain go-redis beside Holdfast.
	@scripts/setup.sh redis-server
	@$(GO) -C examples run ./incident $(DEMOFLAGS)

.PHONY: test
test: setup ## Install what is missing, then run every test with the race detector.
	@rc=0; for m in $(MODULES); do \
		echo "== go -C $$m $(GOTEST) $(TESTFLAGS) ./..."; \
		$(RACE) -C $$m $(GOTEST) $(TESTFLAGS) ./... || rc=1; \
	done; exit $$rc

.PHONY: race
race: ## Run the tests of PKG (default ./...) with the race detector, installing nothing.
	$(RACE) $(GOTEST) $(TESTFLAGS) $(PKG)

.PHONY: crash
crash: ## Run the crash and kill tests of PKG with the higher counts of a soak.
	HOLDFAST_SOAK=1 $(RACE) test -race -count=1 -timeout=2h -run 'Crash|Kill' $(TESTFLAGS) $(PKG)

.PHONY: soak
soak: ## Run all tests of PKG with the higher counts of a soak (hours).
	HOLDFAST_SOAK=1 $(RACE) test -race -count=1 -shuffle=on -timeout=6h $(TESTFLAGS) $(PKG)

.PHONY: campaign
campaign: ## Kill clients and primaries KILLS times (default 300) in mid-drain and count what is missing, doubled or misordered; HOLDFAST_SEED=n repeats a run.
	HOLDFAST_KILLS=$(or $(KILLS),300) $(RACE) test -race -count=1 -timeout=2h -v -run '^TestCampaign$$' $(TESTFLAGS) ./resilient

.PHONY: calm
calm: ## Ten minutes of load with spikes, stops, dropped connections and a failover: no false outage may be seen.
	HOLDFAST_CALM=10m $(GO) test -count=1 -timeout=30m -v -run '^TestCalm$$' $(TESTFLAGS) ./resilient

# Without the race detector, which makes everything several times slower: the table has times.
.PHONY: scenarios
scenarios: setup ## Play every way for Redis to lose its primary and write docs/scenarios.md (about two minutes).
	$(GO) test -count=1 -timeout=$(TEST_TIMEOUT) -run '^TestScenario' $(TESTFLAGS) ./resilient -scenarios

.PHONY: test-servers
test-servers: ## Run the tests that depend on the server's version against SERVER=path of another redis-server.
	@test -n "$(SERVER)" || { echo 'make test-servers: name a server program, as in SERVER=/opt/redis-8.0/redis-server' >&2; exit 2; }
	HOLDFAST_REDIS_SERVER="$(SERVER)" HOLDFAST_SERVER="$(SERVER)" $(RACE) test -race -count=1 -timeout=$(TEST_TIMEOUT) $(TESTFLAGS) ./internal/command/... ./internal/engine ./internal/overlay
	HOLDFAST_REDIS_SERVER="$(SERVER)" $(RACE) test -race -count=1 -timeout=$(TEST_TIMEOUT) $(TESTFLAGS) \
		-run 'Semantics|Cmdable|OutageIsAsHealth|Incident|Transaction|Rules' ./resilient

.PHONY: fuzz-smoke
fuzz-smoke: ## Run every fuzz target of PKG for FUZZTIME (default 10s).
	@scripts/fuzz-smoke.sh $(PKG)

.PHONY: bench
bench: ## Run the benchmarks of PKG ten times into bench/NAME.txt (default date and commit).
	@scripts/bench.sh '$(NAME)' $(PKG)

.PHONY: bench-compare
bench-compare: ## Compare bench files OLD and NEW (default the two newest) with benchstat.
	@scripts/bench-compare.sh '$(OLD)' '$(NEW)'

.PHONY: bench-peers
bench-peers: ## Measure the journal beside other stores into bench/NAME.txt (default date and commit); PEERSFLAGS as in -rounds=3.
	@$(GO) -C bench/peers test ./...
	@name='$(NAME)'; name=$${name:-$$(date +%Y-%m-%d)-$$(git rev-parse --short HEAD)-peers}; \
		$(GO) -C bench/peers run . -o "$(CURDIR)/bench/$$name.txt" $(PEERSFLAGS); \
		$(GO) -C bench/peers run . -table "$(CURDIR)/bench/$$name.txt"

.PHONY: bench-replay
bench-replay: ## Measure the replay into bench/NAME-*.txt, its speed beside pipelines and what other clients notice (20 minutes).
	@$(GO) -C bench/replay test ./...
	@name='$(NAME)'; name=$${name:-$$(date +%Y-%m-%d)-$$(git rev-parse --short HEAD)-replay}; \
		for what in throughput latency; do \
			$(GO) -C bench/replay run . $$what -o "$(CURDIR)/bench/$$name-$$what.txt" $(REPLAYFLAGS); \
			$(GO) -C bench/replay run . $$what -table "$(CURDIR)/bench/$$name-$$what.txt" -into ../../docs/benchmarks.md; \
		done

.PHONY: fmt
fmt: ## Format all Go files (gofumpt).
	$(call LINT,.) fmt

.PHONY: lint
lint: ## Run go vet and golangci-lint (formatting too) on all modules.
	@rc=0; for m in $(CHECKED); do \
		echo "== lint $$m"; \
		$(GO) -C $$m vet ./... || rc=1; \
		$(call LINT,$$m) run || rc=1; \
	done; exit $$rc

# The servers of the tests (internal/redistest) are started with what only Unix
# has: for Windows that leaves the library, and the tests of what touches files.
.PHONY: cross
cross: ## Check that everything compiles for macOS, and the library for Windows.
	CGO_ENABLED=0 GOOS=darwin $(GO) vet ./...
	CGO_ENABLED=0 GOOS=windows $(GO) build . ./resilient/...
	CGO_ENABLED=0 GOOS=windows $(GO) vet ./internal/journal ./internal/entry
	@for os in darwin windows; do CGO_ENABLED=0 GOOS=$$os $(GO) test -c -o /dev/null ./internal/journal || exit 1; done

.PHONY: generate
generate: ## Write all generated files anew.
	@for m in $(CHECKED); do $(GO) -C $$m generate ./...; done

.PHONY: check
check: lint cross ## Lint, other systems, go.mod files and generated files: what CI checks beside the tests.
	@for m in $(CHECKED); do echo "== go mod tidy -diff $$m"; $(GO) -C $$m mod tidy -diff; done
	@echo "== generated files"; scripts/check-generated.sh
