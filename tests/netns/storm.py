#!/usr/bin/env python3
"""A storm on a configuration socket: storm.py SOCKET CLIENTS KEYS_FILE

Each client, as fast as it is answered: opens a connection, asks (get, add and remove a peer of its own, change the private
key, the port or the mark, something that is no request, half a request, nothing at all), reads the answer, closes. Until
the socket is gone; then prints `name=number` for each outcome:

    answered    a whole answer          closed    closed before the first byte of one, which a full or ending server may
    torn        part of an answer       hung      no answer, no close within ten seconds
    slowest_get milliseconds

KEYS_FILE has private keys, one per line, hexadecimal, which are used in turn; the device's own is the first.
"""

import asyncio
import collections
import pathlib
import random
import sys
import time

PATIENCE = 10


class Storm:
    def __init__(self, socket, keys):
        self.socket, self.keys = socket, keys
        self.count = collections.Counter(answered=0, closed=0, torn=0, hung=0, refused=0)
        self.slowest_get = 0.0

    async def client(self, n):
        chance = random.Random(n)
        peer = chance.randbytes(32).hex()
        address = f"10.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32"
        requests = [
            ("get", b"get=1\n\n", 8),
            ("add", f"set=1\npublic_key={peer}\nendpoint=127.0.0.1:9\nallowed_ip={address}\n\n".encode(), 4),
            ("remove", f"set=1\npublic_key={peer}\nremove=true\n\n".encode(), 4),
            ("mark", b"set=1\nfwmark=0\n\n", 1),
            ("wrong", b"set=1\npublic_key=nothing\n\n", 1),
            ("half", b"set=1\npublic_key=", 1),
            ("silent", b"", 1),
            ("port", None, 0.2),
            ("key", None, 0.2),
        ]
        names = [name for name, _, _ in requests]
        weights = [weight for _, _, weight in requests]
        text = {name: text for name, text, _ in requests}
        while True:
            name = chance.choices(names, weights)[0]
            request = text[name]
            if name == "port":
                request = f"set=1\nlisten_port={chance.choice([1, 4711, 4712])}\n\n".encode()
            elif name == "key":
                request = f"set=1\nprivate_key={chance.choice(self.keys)}\n\n".encode()
            try:
                reader, writer = await asyncio.open_unix_connection(self.socket, limit=1 << 24)
            except BlockingIOError:
                # More wait to be accepted than the kernel holds.
                self.count["refused"] += 1
                await asyncio.sleep(0.05)
                continue
            except (FileNotFoundError, ConnectionRefusedError):
                return
            try:
                await self.ask(name, request, reader, writer)
            finally:
                writer.close()

    async def ask(self, name, request, reader, writer):
        started, answer = time.monotonic(), b""
        try:
            writer.write(request)
            if name in ("half", "silent"):
                await asyncio.sleep(0.02)
                return
            async with asyncio.timeout(PATIENCE):
                answer = await reader.readuntil(b"\n\n")
        except asyncio.IncompleteReadError as error:
            answer = error.partial
        except ConnectionError:
            pass
        except TimeoutError:
            self.count["hung"] += 1
            return
        if answer.endswith(b"\n\n") and b"errno=" in answer:
            self.count["answered"] += 1
            if name == "get":
                self.slowest_get = max(self.slowest_get, time.monotonic() - started)
        else:
            self.count["torn" if answer else "closed"] += 1


async def main(socket, clients, keys):
    storm = Storm(socket, keys)
    await asyncio.gather(*(storm.client(n) for n in range(clients)))
    for outcome, number in storm.count.items():
        print(f"{outcome}={number}")
    print(f"slowest_get={int(storm.slowest_get * 1000)}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3]).read_text().split()))
