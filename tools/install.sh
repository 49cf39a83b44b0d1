#!/usr/bin/env bash
# Installs what is missing: `tools/install.sh build` what a build needs, `… check` what looks over the
# dependencies, `… fuzz` what the fuzzer needs (it is C++), `… test` all that the tests need (real
# phones, a SIP load generator, sound tools, what runs the tests). Needs root or sudo only if something is missing; when nothing is, it takes a few
# milliseconds and touches nothing.
set -euo pipefail

# command:package, for Debian and Ubuntu. A command that is there is never installed again.
build_tools="cc:gcc cc:libc6-dev pkg-config:pkg-config"
fuzz_tools="c++:g++"
test_tools="$fuzz_tools sipp:sip-tester baresip:baresip-core sox:sox flite:flite ffmpeg:ffmpeg kamailio:kamailio"

case "${1:-}" in
    build | check) wanted=$build_tools ;;
    fuzz) wanted="$build_tools $fuzz_tools" ;;
    test) wanted="$build_tools $test_tools" ;;
    *) echo "usage: tools/install.sh build | check | fuzz | test" >&2; exit 2 ;;
esac

missing=()
for entry in $wanted; do
    command -v "${entry%%:*}" >/dev/null 2>&1 || missing+=("${entry#*:}")
done

# A library has no command to be found by. Without it the build makes its own, which takes cmake.
command -v pkg-config >/dev/null 2>&1 && pkg-config --exists opus || missing+=(libopus-dev)

if [ ${#missing[@]} -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "missing: ${missing[*]}. Install them as root, or install sudo." >&2; exit 1; }
        as_root=(sudo)
    fi
    command -v apt-get >/dev/null || { echo "missing: ${missing[*]}. Install them (these are Debian's names) and try again." >&2; exit 1; }
    echo "installing: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    # The tests start a SIP server of their own; the machine is not to become one.
    case " ${missing[*]} " in
        *" kamailio "*)
            if [ -d /run/systemd/system ]; then
                "${as_root[@]}" systemctl disable --now --quiet kamailio
            fi ;;
    esac
fi

if ! command -v cargo >/dev/null; then
    echo "cargo is missing: install a Rust toolchain (1.88 or newer), for example with https://rustup.rs" >&2
    exit 1
fi

# Built once, from crates.io.
cargo_tool() {
    command -v "$1" >/dev/null 2>&1 || cargo install --locked --quiet "$1"
}
case "$1" in check | test) cargo_tool cargo-deny ;; esac
case "$1" in test) cargo_tool cargo-nextest ;; esac
