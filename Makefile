# `make check` is what .ci/run checks first; `make help` lists every target.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO        ?= go
TOOL      := $(GO) tool -modfile=tools/go.mod
FUZZTIME  ?= 10s
BENCHTIME ?= 1s
# The largest static binary the product may ship, in bytes.
MAX_SIZE  := 80000000

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | sort | while IFS=$$'\t' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done

.PHONY: check
check: format-check lint vet shuffle generate-check ## format, lint, vet, shuffled tests, generated files current

.PHONY: test
test: ## the quick tests, as in the README
	$(GO) test ./...

.PHONY: shuffle
shuffle: ## the quick tests in random order
	$(GO) test -shuffle=on ./...

.PHONY: test-long
test-long: ## all tests but the proofs, with real peers (Debian packages) and the long ones
	FETTLE_LONG=1 $(GO) test -timeout 45m ./...

PROVED = $(shell grep -rl --include='*_test.go' 'peer.Prov' . | grep -v '^./internal/peer/' | sed 's,/[^/]*$$,,' | sort -u)

.PHONY: prove
prove: ## the tests that judge by numbers, with as many draws as rule chance out
	FETTLE_PROVE=1 $(GO) test -timeout 45m $(PROVED)

.PHONY: test-arm64
test-arm64: ## the tests of the random cut forest on an emulated arm64; needs qemu-user-static
	@command -v qemu-aarch64-static >/dev/null || { echo "test-arm64: qemu-aarch64-static is missing: apt-get install qemu-user-static" >&2; exit 1; }
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) test -exec qemu-aarch64-static ./detect/kernel/rcf/...

# SQLite and its C library are C translated by a machine, on a heap of their own:
# each of their loads was checked for what C does on purpose, which took three
# quarters of the time of tests with a database. What speaks for each service of
# AWS is written by a machine too and keeps nothing: compiling it took a third of
# the stage. Neither is watched, and the latter not made fast either; the drivers
# around them, the locks in them and all else are watched as ever.
UNWATCHED = $(foreach p,modernc.org/sqlite/lib modernc.org/libc/... modernc.org/memory,-gcflags='$(p)=-race=false -d=checkptr=0') \
	-gcflags='github.com/aws/aws-sdk-go-v2/service/...=-race=false -d=checkptr=0 -N -l'

# Nothing can be watched where neither a package nor its tests run anything beside
# anything: they name no goroutine, no channel, no server and nothing of sync, and
# take part in no conformance suite. Kernels and windows may have nothing to lock
# (internal/archtest), and their arithmetic would take longest of all. The tests of
# crash watch another process, and are all long.
RACED = $(shell grep -rlE --include='*.go' --exclude-dir=testdata '^[[:space:]]*go |[.]Go\>|make.chan|"sync|t[.]Parallel|httptest|"github.com/fettleops/fettle/.*test"' . | \
	sed 's,/[^/]*$$,,' | sort -u | grep -vE '/detect/kernel/|/change/window$$|/internal/archtest$$|/test/crash$$' | \
	while read -r p; do ! compgen -G "$$p/*_test.go" >/dev/null || echo "$$p"; done)

# What is watched is dear to collect too, and collecting is not what is watched: it
# is done less often.
.PHONY: check-race
check-race: ## the quick tests in random order under the race detector; needs gcc
	@command -v gcc >/dev/null || { echo "check-race: gcc is missing and the race detector needs it: apt-get install gcc libc6-dev" >&2; exit 1; }
	GOGC=400 CGO_ENABLED=1 $(GO) test -vet=off -race $(UNWATCHED) -shuffle=on -p $$(($$(nproc) * 3 / 2)) -timeout 25m $(RACED)

.PHONY: format
format: ## rewrite all Go files as gofumpt and goimports want them
	$(TOOL) golangci-lint fmt

.PHONY: format-check
format-check: ## fail, with the difference, when a Go file is not formatted
	$(TOOL) golangci-lint fmt --diff

.PHONY: lint
lint: ## golangci-lint with .golangci.yml
	$(TOOL) golangci-lint config verify
	$(TOOL) golangci-lint run ./...

.PHONY: vet
vet: ## go vet, and the kernels also for processors that have other ones
	$(GO) vet ./...
	for arch in amd64 arm64 386 riscv64; do CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) vet ./detect/kernel/... || exit; done

.PHONY: generate
generate: ## write every generated file anew
	$(GO) generate ./...

.PHONY: generate-check
generate-check: generate ## fail when generating changes a file that is committed or staged
	@git diff --exit-code || { echo "generate-check: files differ from what is staged: stage your work (git add -A), run make generate, look at the difference" >&2; exit 1; }
	@new=$$(git ls-files --others --exclude-standard); [[ -z "$$new" ]] || { printf 'generate-check: files that git does not know, stage or ignore them:\n%s\n' "$$new" >&2; exit 1; }

.PHONY: vuln
vuln: ## known vulnerabilities that our code reaches; says so when the database cannot be reached
	@set +e; out=$$($(TOOL) govulncheck ./... 2>&1); rc=$$?; set -e; printf '%s\n' "$$out"; \
	if (( rc != 0 && rc != 3 )) && grep -qE 'fetching vulnerabilities|vuln\.go\.dev' <<<"$$out"; then \
		echo "vuln: did NOT run: the vulnerability database is not reachable from here"; \
	else exit $$rc; fi

.PHONY: fuzz
fuzz: ## every fuzz target of the tree, or those that match FUZZONLY, for FUZZTIME (10s) each
	@FUZZTIME=$(FUZZTIME) .ci/fuzz

BENCHED = $(shell grep -rl --include='*_test.go' '^func Benchmark' . | sed 's,/[^/]*$$,,' | sort -u)

.PHONY: bench
bench: ## every benchmark of the tree; BENCHTIME=1x runs each once
	$(GO) test -vet=off -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -timeout 25m $(BENCHED)

.PHONY: build
build: ## the product: bin/fettle, static and stripped
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/fettle ./cmd/fettle

.PHONY: size-check
size-check: build ## fail when bin/fettle is not static or too large
	@if ldd bin/fettle >/dev/null 2>&1; then echo "size-check: bin/fettle is linked dynamically" >&2; exit 1; fi
	@size=$$(wc -c <bin/fettle); echo "size-check: bin/fettle has $$size bytes, allowed are $(MAX_SIZE)"; (( size < $(MAX_SIZE) ))
