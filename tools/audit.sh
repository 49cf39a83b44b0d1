#!/usr/bin/env bash
# What the dependencies bring along, with cargo-deny (deny.toml): licences, sources, doubtful versions, and
# known vulnerabilities wherever the RustSec database can be had. Also, that the lock file is complete.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo metadata --locked --format-version 1 >/dev/null
cargo deny --all-features check --hide-inclusion-graph bans licenses sources
if cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --all-features check --hide-inclusion-graph advisories
else
    echo "known vulnerabilities were not looked up: the RustSec database cannot be reached from here" >&2
fi
