#!/bin/sh
# What cargo calls in place of rustc when run.sh builds: flowtap, its parser of heads and the
# properties (which have flowtap's generic functions in them) are instrumented for the fuzzer, with
# the flags in SANCOV, and nothing else is. What libraries do tells it nothing, and took most of its
# time.
set -eu
crate='' last='' target=''
for argument; do
    [ "$last" != --crate-name ] || crate=$argument
    [ "$argument" != --target ] || target=yes
    last=$argument
done
case $crate in
# Build scripts and macros run in the compiler, and have no --target.
flowtap | flowtap_fuzz | httparse) [ -z "$target" ] || exec "$@" $SANCOV ;;
esac
exec "$@"
