#!/usr/bin/env python3
"""One end of a conversation of numbered datagrams, one every 10 ms each way, through the tunnel.

probe.py OWN_ADDRESS OTHER_ADDRESS PORT FILE: sends until it is ended, and appends to FILE a record for each datagram
that comes: its number, when it was sent and when it came (nanoseconds of CLOCK_MONOTONIC, which both ends share).

A datagram that could not be sent has used its number, so whoever reads FILE sees it as lost.
"""

import os
import socket
import struct
import sys
import threading
import time

INTERVAL_NS = 10_000_000
RECORD = struct.Struct("<QQQ")
DATAGRAM = struct.Struct("<QQ")


def main():
    own, other, port, path = sys.argv[1:]
    conversation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # What waits here while this process waits for a core is not lost.
    conversation.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    conversation.bind((own, int(port)))
    threading.Thread(target=send, args=(conversation, (other, int(port))), daemon=True).start()
    with open(path, "ab", buffering=0) as file:
        while True:
            number, sent = DATAGRAM.unpack(conversation.recv(64))
            file.write(RECORD.pack(number, sent, time.monotonic_ns()))


def send(conversation, to):
    number, due = 0, time.monotonic_ns()
    while True:
        now = time.monotonic_ns()
        if now < due:
            time.sleep((due - now) / 1e9)
        # Who was late does not catch up: a burst would say nothing about the time it was late for.
        due = max(due + INTERVAL_NS, now)
        try:
            conversation.sendto(DATAGRAM.pack(number, time.monotonic_ns()), to)
        except OSError:
            pass
        number += 1


if __name__ == "__main__":
    try:
        # The measure must not be what starves. Needs root, helps without.
        os.nice(-10)
    except PermissionError:
        pass
    main()
