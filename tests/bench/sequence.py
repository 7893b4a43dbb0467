#!/usr/bin/env python3
"""Numbered datagrams at a modest rate: how many arrive, and how long they take.

    sequence.py receive ADDRESS PORT                      prints: received, median, 99th percentile, longest time in ms
    sequence.py send ADDRESS PORT RATE LENGTH SECONDS     prints: sent

The time is from just before the sending call to the moment the kernel has the datagram for the receiver, both of this
machine's clock: a receiver that waits for a core neither loses what its large socket buffer holds nor makes it late.
The receiver ends when nothing has come for two seconds, or nothing at all for twenty.
"""

import socket
import struct
import sys
import time

SO_TIMESTAMPNS = 35
BUFFER_LEN = 16 << 20
HEAD = struct.Struct("!QQ")


def receive(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        try:
            receiver.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), BUFFER_LEN)
        except PermissionError:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_LEN)
        receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        receiver.bind((address, port))
        receiver.settimeout(20)
        times, seen = [], set()
        while True:
            try:
                datagram, control, _, _ = receiver.recvmsg(65_535, 64)
            except TimeoutError:
                break
            receiver.settimeout(2)
            number, sent_at = HEAD.unpack_from(datagram)
            if number not in seen:
                seen.add(number)
                seconds, nanos = struct.unpack("qq", control[0][2])
                times.append(seconds * 10**9 + nanos - sent_at)
    times.sort()
    figures = [times[min(len(times) - 1, int(part * len(times)))] / 1e6 for part in (0.5, 0.99, 1)] if times else [0, 0, 0]
    print(len(times), *(f"{figure:.3f}" for figure in figures))


def send(address, port, rate, length, seconds):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.connect((address, port))
        padding, total, sent = bytes(length - HEAD.size), int(rate * seconds), 0
        started = time.monotonic()
        for number in range(total):
            ahead = started + number / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            try:
                sender.send(HEAD.pack(number, time.time_ns()) + padding)
            except OSError:
                # Refused here and now: lost all the same, but not by the tunnel alone. The next one may go.
                pass
            sent += 1
    print(sent)


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(sys.argv[2], int(sys.argv[3]))
    else:
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]))
