#!/usr/bin/env bash
# What the dependencies bring along: known vulnerabilities and licences, with cargo-deny or
# cargo-audit, whichever is installed; and always, that the lock file is complete.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo metadata --locked --format-version 1 >/dev/null
if cargo deny --version >/dev/null 2>&1; then
    cargo deny check
elif cargo audit --version >/dev/null 2>&1; then
    cargo audit
else
    echo "dependency audit skipped: neither cargo-deny nor cargo-audit is installed (cargo install cargo-deny)" >&2
fi
