"""Runs a command in a terminal of its own, and does to the terminal what standard input says.

Usage: terminal.py [--ignore-hangup] COMMAND [ARGUMENT]...

Lines of input: `type HEX` types these bytes, `close` closes the terminal. Prints `pid N`, then
what the terminal shows, and at last `exit STATUS`.
"""

import os
import pty
import select
import signal
import sys

BYTES = 65536


def say(line):
    os.write(1, line.encode() + b"\n")


def attend(master):
    """Shows what the terminal shows until it is closed, or the command has ended."""
    pending = b""
    while True:
        ready, _, _ = select.select([0, master], [], [])
        if master in ready:
            try:
                os.write(1, os.read(master, BYTES))
            except OSError:
                return
        if 0 not in ready:
            continue
        read = os.read(0, BYTES)
        if not read:
            return
        *lines, pending = (pending + read).split(b"\n")
        for line in lines:
            if line == b"close":
                return
            os.write(master, bytes.fromhex(line.split()[1].decode()))


def main():
    command = sys.argv[1:]
    ignores = command[0] == "--ignore-hangup"
    if ignores:
        command = command[1:]
    pid, master = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignores else signal.SIG_DFL)
        os.execvp(command[0], command)
    say(f"pid {pid}")
    attend(master)
    os.close(master)
    _, status = os.waitpid(pid, 0)
    say(f"exit {os.waitstatus_to_exitcode(status)}")


main()
