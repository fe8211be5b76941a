#!/bin/sh
# Runs every fuzz target for a time. Usage: fuzz/run.sh SECONDS_PER_TARGET
#
# Needs stable Rust and a C++ compiler (for libFuzzer), and no cargo-fuzz: the flags below are
# the instrumentation that it would ask for. Exit status: 0 when nothing was found; findings are
# in fuzz/artifacts.
set -eu

case "${1:-}" in
'' | *[!0-9]*)
    echo "usage: $0 SECONDS_PER_TARGET" >&2
    exit 2
    ;;
esac
seconds=$1
cd "$(dirname "$0")"

# With --target, build scripts and macros are not instrumented.
host=$(rustc -vV | sed -n 's/^host: //p')
sancov="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
-Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS="$(echo "$sancov" | tr '\n' ' ') --cfg fuzzing -Ccodegen-units=1" \
    CARGO_TARGET_DIR=target cargo build --release --bins --target "$host"

mkdir -p artifacts
failed=
for file in fuzz_targets/*.rs; do
    target=$(basename "$file" .rs)
    # What the fuzzer adds stays out of the tree.
    corpus=target/corpus/$target
    mkdir -p "$corpus" "corpus/$target"
    dictionary=dictionaries/$target.dict
    [ -f "$dictionary" ] || dictionary=dictionaries/http.dict
    echo "== $target, $seconds s"
    "target/$host/release/$target" "$corpus" "corpus/$target" -dict="$dictionary" \
        -max_total_time="$seconds" -rss_limit_mb=512 -timeout=5 -print_final_stats=1 \
        -artifact_prefix="artifacts/$target-" 2>"target/$target.log" || failed="$failed $target"
    tail -n 12 "target/$target.log"
done
if [ -n "$failed" ]; then
    echo "findings in:$failed; inputs in fuzz/artifacts, logs in fuzz/target" >&2
    exit 1
fi
