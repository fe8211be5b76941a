#!/bin/sh
# What cargo calls in place of rustc when run.sh builds: flowtap and its parser of heads are
# instrumented for the fuzzer, with the flags in SANCOV, and nothing else is. What libraries and the
# second readings do tells it nothing, and took most of its time.
set -eu
crate='' last='' target=''
for argument; do
    [ "$last" != --crate-name ] || crate=$argument
    [ "$argument" != --target ] || target=yes
    last=$argument
done
case $crate in
# Build scripts and macros run in the compiler, and have no --target.
flowtap | httparse) [ -z "$target" ] || exec "$@" $SANCOV ;;
esac
exec "$@"
