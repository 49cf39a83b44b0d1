#!/usr/bin/env bash
# Every test of the repository: units, properties, the bounded fuzz and the simulated world, and the
# end-to-end tests that run the built program with real phones. cargo-nextest runs them:
# .config/nextest.toml says what may run side by side.
set -euo pipefail
cd "$(dirname "$0")/.."

# Everything is built before anything runs: the end-to-end tests listen to real time.
cargo nextest run --workspace --locked --no-run
cargo nextest run --workspace --locked --no-fail-fast
cargo test --workspace --locked --doc --no-fail-fast

# The fuzz targets once more, a few seconds each, guided by coverage; from one seed, so that a red
# run speaks of the change and can be had again. `make fuzz` looks further, from a new seed each time.
FUZZ_SEED="${FUZZ_SEED:-1}" tools/fuzz.sh "${FUZZ_SECONDS:-3}"
