# The front door. Each target is a small script in scripts/; `make help` lists them.
.PHONY: help demo test test-all test-long lint bench bench-verdict build coverage fmt contracts vmlinux

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a shop on real packets, a network fault, the verdict: in the terminal and in the browser (ARGS="--once --json")
	@scripts/demo $(ARGS)

test: ## what every change must pass: format, interface, each crate, the whole product, faults found on real packets
	@scripts/test

test-all: ## the same with what is known to fail
	@scripts/test all

test-long: ## the whole product in the long form: 20 kills under load, other seeds, windows of 10 s
	@scripts/test-long

lint: ## format, lints, order of the tree, licences, generated contracts
	@scripts/lint

bench: ## measure: cost of the agent, store, queries (ARGS="name…" for some)
	@scripts/bench $(ARGS)

bench-verdict: ## every fault at every scope with three seeds: how often the verdict is right (resumable, hours)
	@scripts/bench verdict

build: ## build the interface and the programs, print the path of the edgescope binary
	@scripts/setup build
	@scripts/build

coverage: ## how much of each decoder its fuzz test reaches (ARGS="decoder…" for some)
	@scripts/coverage $(ARGS)

fmt: ## format all code
	@cargo fmt --all

contracts: ## rewrite the committed files that code generates (OpenAPI, protocol, catalogue, command reference)
	@scripts/contracts update

vmlinux: ## rewrite bpf/vmlinux.h, the kernel types that the BPF programs read, from this kernel's BTF
	@EDGESCOPE_SKIP_BPF=1 scripts/cargo run --quiet -p edgescope-probe --example vmlinux bpf/vmlinux.h
