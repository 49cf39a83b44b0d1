# The commands of this repository. `make help` lists them.

CARGO ?= cargo
# How long each fuzz target runs under `make fuzz`; under `make test` each runs for a second or two.
FUZZ_SECONDS ?= 30
# Arguments for the demo: make run ARGS="--bind 192.168.1.10"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test bench fuzz check fmt prompts

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, build, and start the demo office in the foreground
	@tools/install.sh build
	$(CARGO) build --release -p tandem
	@exec $${CARGO_TARGET_DIR:-target}/release/tandem demo $(ARGS)

test: ## install what the tests need, then run every test and check (the command CI runs)
	@tools/install.sh test
	@$(MAKE) --no-print-directory check
	@tools/test.sh

bench: ## figures beside the machine's own limit, in one run
	@tools/install.sh test
	$(CARGO) bench -p tandem-benches

fuzz: ## each fuzz target for FUZZ_SECONDS (30), and the simulated world from a seed of the day
	@tools/install.sh fuzz
	@tools/fuzz.sh $(FUZZ_SECONDS)
	WORLD_SECONDS=$(FUZZ_SECONDS) WORLD_FIRST=$$(date +%s)000 $(CARGO) test --locked -p tandem-fuzz --test world every -- --nocapture

check: ## format, lints, dependency audit
	@tools/install.sh check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@tools/audit.sh

fmt: ## format the code
	$(CARGO) fmt --all

prompts: ## render the phrases that are new or changed (prompts/README.md)
	@tools/install.sh test
	@prompts/make
