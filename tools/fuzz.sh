#!/usr/bin/env bash
# Every fuzz target under libFuzzer, guided by coverage: tools/fuzz.sh SECONDS_EACH [TARGET…]
# Builds once, with stable Rust, into target/fuzz. Starts from fuzz/corpus; what it learns stays in
# target/fuzz/learned, what breaks a target is kept in fuzz/artifacts. Exit 1 if anything broke.
# FUZZ_SEED=N begins from that seed; without it each run is another.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: tools/fuzz.sh SECONDS_EACH [TARGET…]}
shift
out=${CARGO_TARGET_DIR:-target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
vectors=${TANDEM_VECTORS:-../shared/vectors}

# What `cargo fuzz` passes, without the parts that need a nightly compiler (the address sanitizer:
# the code under test has no unsafe). With --target, build scripts stay uninstrumented.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks" \
    cargo build --release --locked -p tandem-fuzz --features libfuzzer --bin libfuzzer \
    --target "$host" --target-dir "$out"
fuzzer=$out/$host/release/libfuzzer

if [ $# -eq 0 ]; then
    # Asked for no known target, it names them.
    read -ra targets <<<"$({ TANDEM_FUZZ_TARGET='' "$fuzzer" -runs=1 -artifact_prefix="$out/" 2>&1 || true; } | sed -n 's/.*to one of: //p')"
else
    targets=("$@")
fi
[ ${#targets[@]} -gt 0 ] || { echo "the fuzzer names no targets" >&2; exit 1; }

broken=0
for target in "${targets[@]}"; do
    learned=$out/learned/$target
    artifacts=fuzz/artifacts/$target
    mkdir -p "$learned" "$artifacts"
    seeds=("fuzz/corpus/$target")
    case $target in sip*) [ -d "$vectors/rfc4475" ] && seeds+=("$vectors/rfc4475") ;; esac
    log=$out/$target.log
    if TANDEM_FUZZ_TARGET=$target "$fuzzer" "$learned" "${seeds[@]}" -max_total_time="$seconds" -seed="${FUZZ_SEED:-0}" \
        -rss_limit_mb=2048 -timeout=10 -max_len=16384 -print_final_stats=1 \
        -artifact_prefix="$artifacts/" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
        printf '%-20s ok      %9s inputs, %s\n' "$target" "$runs" "$coverage"
    else
        broken=1
        printf '%-20s BROKEN\n' "$target"
        grep -E 'panicked|ERROR|Test unit written' -A1 "$log" | head -8 || true
        echo "replay: TANDEM_FUZZ_TARGET=$target $fuzzer FILE   (the whole output: $log)"
    fi
done
exit $broken
