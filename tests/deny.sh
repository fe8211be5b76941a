#!/usr/bin/env bash
# Judges the dependencies by deny.toml: licences, duplicates, where they come from, advisories.
#
# Usage: tests/deny.sh
#
# cargo-deny is built from the registry into target/test-tools, once for each version. The database
# of advisories comes from its repository. Exit status: 0 when all is well; 75 when all that could
# be checked is, but advisories were not, because their database cannot be reached; else 1. With
# ADVISORIES=required that is 1 too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.20.2
# A database that was fetched before serves for as many days.
stale_days=7

root=$PWD/target/test-tools/cargo-deny-$version
deny=$root/bin/cargo-deny

# Unoptimised: it runs for two seconds, and takes one minute of two cores to build, not five.
if [ ! -x "$deny" ]; then
    echo "tests/deny.sh: building cargo-deny $version" >&2
    cargo install --quiet --locked --debug --no-track --root "$root" \
        cargo-deny --version "$version" </dev/null
fi

# What deny.toml allows and nothing needs is an error too.
"$deny" --locked check -D warnings bans licenses sources

# Whether the database in the default place was fetched in the last days.
is_recent() {
    [ -n "$(find "${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/*/.git -maxdepth 1 -name '*HEAD' \
        -mtime "-$stale_days" 2>/dev/null)" ]
}

if timeout 120 "$deny" fetch db >/dev/null 2>&1 </dev/null || is_recent; then
    "$deny" --locked --offline check advisories
    exit 0
fi
echo "tests/deny.sh: advisories NOT CHECKED: their database cannot be fetched" >&2
[ "${ADVISORIES:-}" = required ] && exit 1
exit 75
