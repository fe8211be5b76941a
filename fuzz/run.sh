#!/usr/bin/env bash
# Runs the fuzz targets of the table in README.md.
#
#   fuzz/run.sh SECONDS [TARGET]…   each for a time
#   fuzz/run.sh --long [TARGET]…    each until it has run as often as the table says; may be
#                                   stopped, and goes on where it was, with the same program
#
# Needs stable Rust and a C++ compiler (for libFuzzer), and no cargo-fuzz: flowtap is instrumented
# as that would do it, and libraries are not (instrument.sh). Exit status: 0 when nothing was found;
# findings are in fuzz/artifacts. What --long has done is added to RUNS.md; FUZZ_STATE is where it
# keeps what it needs to go on (fuzz/target/long), and FUZZ_UNTIL a time as `date +%s` tells it at
# which it stops.
set -euo pipefail
export LC_ALL=C
# Bundles that are written for each input need no disk.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm

usage() {
    sed -n '2,/^# Needs/s/^# \{0,1\}//p' "$0" | sed '$d' >&2
    exit 2
}

# The columns of the table: target, size, bytes of an input, dictionary.
table() {
    sed -n 's/^| `\([a-z0-9_]*\)` | \(small\|large\) | \([0-9]*\) | `\([a-z0-9_]*\)` |.*/\1 \2 \3 \4/p' \
        README.md
}

# build NAME: the programs, in target/NAME. Those of --long do without the tracing of comparisons,
# which takes half of the time and finds constants that the dictionaries have.
build() {
    local host
    programs=${FUZZ_PROGRAMS:-}
    [ -z "$programs" ] || return 0
    host=$(rustc -vV | sed -n 's/^host: //p')
    SANCOV="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
    [ "$1" = untraced ] || SANCOV="$SANCOV -Cllvm-args=-sanitizer-coverage-trace-compares"
    # With --target, build scripts and macros have flags of their own.
    SANCOV=$SANCOV RUSTC_WRAPPER=$PWD/instrument.sh RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1" \
        CARGO_TARGET_DIR=target/$1 cargo build --locked --release --bins --target "$host"
    programs=target/$1/$host/release
}

# Runs a program once, for this many seconds: what it says goes to target/TARGET.log.
# fuzz PROGRAM TARGET BYTES DICTIONARY SECONDS [OPTION]…
fuzz() {
    local program=$1 target=$2 bytes=$3 dictionary=$4 seconds=$5
    shift 5
    # What the fuzzer adds stays out of the tree.
    mkdir -p "$state/corpus/$target" artifacts
    # Its own limit of time is a signal's, which may find it in malloc, where it hangs: it is far
    # off, for endless loops, and a hang comes to an end.
    timeout --kill-after=10 $((seconds + 180)) \
        "$program" "$state/corpus/$target" "corpus/$target" -dict="dictionaries/$dictionary.dict" \
        -max_len="$bytes" -rss_limit_mb=512 -timeout=60 -report_slow_units=1 \
        -max_total_time="$seconds" -print_final_stats=1 \
        -artifact_prefix="artifacts/$target-" "$@" 2>"$state/$target.log"
}

# The last number that the log has for a word, or 0.
said() {
    local number
    number=$(grep -a "$2" "$state/$1.log" | tail -n 1 | sed "s/.*$2 *\([0-9]*\).*/\1/")
    echo "${number:-0}"
}

# Whether a run that ended with this status has found something. An input that took too long must
# do so in the processor too: libFuzzer looks at the clock, and other work may have been in its way.
# found STATUS PROGRAM TARGET
found() {
    local status=$1 program=$2 target=$3 input spent
    for input in "artifacts/$target-slow-unit-"* "artifacts/$target-timeout-"*; do
        [ -f "$input" ] || continue
        spent=$(TIMEFORMAT=%U && { time "$program" -timeout=60 "$input" >/dev/null 2>&1; } 2>&1)
        [ "${spent%.*}" -lt 1 ] || return 0
        rm "$input"
    done
    # 70 is what libFuzzer ends with after a timeout.
    [ "$status" -ne 0 ] && [ "$status" -ne 70 ]
}

for_a_time() {
    local seconds=$1 failed='' status
    state=target
    while read -r target _ bytes dictionary; do
        echo "== $target, $seconds s"
        status=0
        fuzz "$programs/$target" "$target" "$bytes" "$dictionary" "$seconds" || status=$?
        ! found $status "$programs/$target" "$target" || failed="$failed $target"
        tail -n 12 "target/$target.log"
    done <<<"$lines"
    if [ -n "$failed" ]; then
        echo "findings in:$failed; inputs in fuzz/artifacts, logs in fuzz/target" >&2
        exit 1
    fi
}

# Runs one target until its count is reached, in slices of some minutes: what is done, and how
# long it took, is kept after each.
to_count() {
    local target=$1 size=$2 bytes=$3 dictionary=$4
    local most=100000000 program=$state/bin/$target kept=$state/$target.done
    local runs=0 seconds=0 peak=0 slowest=0 coverage=0 commit findings=none began left status
    [ "$size" = small ] || most=10000000
    mkdir -p "$state/bin"
    if [ ! -f "$kept" ]; then
        cp "$programs/$target" "$program"
        echo "0 0 0 0 0 $(git describe --always --dirty)" >"$kept"
    fi
    read -r runs seconds peak slowest coverage commit <"$kept"
    while [ "$runs" -lt "$most" ]; do
        left=$((${FUZZ_UNTIL:-9999999999} - $(date +%s)))
        [ "$left" -gt 5 ] || return 0
        began=$(date +%s)
        status=0
        fuzz "$program" "$target" "$bytes" "$dictionary" $((left < 300 ? left : 300)) \
            -runs=$((most - runs)) || status=$?
        ! found $status "$program" "$target" || findings="exit status $status"
        runs=$((runs + $(said "$target" number_of_executed_units:)))
        seconds=$((seconds + $(date +%s) - began))
        coverage=$(said "$target" "cov:")
        local now
        now=$(said "$target" peak_rss_mb:)
        peak=$((now > peak ? now : peak))
        now=$(said "$target" slowest_unit_time_sec:)
        slowest=$((now > slowest ? now : slowest))
        echo "$runs $seconds $peak $slowest $coverage $commit" >"$kept"
        [ "$findings" = none ] || break
    done
    if ! [ -f "$state/$target.told" ]; then
        printf '| %s | %s | `%s` | %s | %s | %s | %s | %s MB | %s s | %s |\n' "$(date -u +%F)" \
            "$commit" "$target" "$runs" "$seconds s" "$((runs / (seconds > 0 ? seconds : 1)))" \
            "$coverage" "$peak" "$slowest" "$findings" >>"$results"
        touch "$state/$target.told"
    fi
    [ "$findings" = none ]
}

to_counts() {
    local failed=
    state=${FUZZ_STATE:-target/long}
    results=${FUZZ_RESULTS:-RUNS.md}
    while read -r target size bytes dictionary; do
        echo "== $target"
        to_count "$target" "$size" "$bytes" "$dictionary" || failed="$failed $target"
    done <<<"$lines"
    if [ -n "$failed" ]; then
        echo "findings in:$failed; inputs in fuzz/artifacts, logs in $state" >&2
        exit 1
    fi
}

# The lines of the table for the targets that were named, or all, in the order that was asked for.
chosen() {
    if [ "${#named[@]}" -eq 0 ]; then
        table
        return
    fi
    local name
    for name in "${named[@]}"; do
        table | grep "^$name " || { echo "there is no target $name" >&2 && return 2; }
    done
}

mode=${1:-}
shift || usage
named=("$@")
cd "$(dirname "${BASH_SOURCE[0]}")"
lines=$(chosen)
case $mode in
--long)
    build untraced
    to_counts
    ;;
'' | *[!0-9]*) usage ;;
*)
    build traced
    for_a_time "$mode"
    ;;
esac
