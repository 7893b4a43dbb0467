#!/usr/bin/env python3
"""Runs a program in a pseudo-terminal of 80x24 until it has shown a text, ends it, and fails unless the terminal is as it was.

top.py END TEXT PROGRAM ARGUMENT...     END: q, or the name of a signal
"""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

end, text, *program = sys.argv[1:]
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
before = termios.tcgetattr(theirs)
child = subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)


def read(until, seconds=10):
    deadline, seen = time.monotonic() + seconds, b""
    while not until(seen):
        if time.monotonic() > deadline:
            sys.exit(f"not in time; the terminal has shown {seen.decode(errors='replace')!r}")
        if select.select([ours], [], [], 0.05)[0]:
            seen += os.read(ours, 65536)
    return seen


read(lambda seen: text.encode() in seen)
if termios.tcgetattr(theirs) == before:
    sys.exit("it takes no single keys")
if end == "q":
    os.write(ours, b"q")
else:
    child.send_signal(getattr(signal, end))
read(lambda seen: b"\x1b[?1049l" in seen and b"\x1b[?25h" in seen and child.poll() is not None)
if termios.tcgetattr(theirs) != before:
    sys.exit("the terminal takes keys as it did not before")
sys.exit(child.returncode)
