"""TCP to many addresses at once, from one thread: crowd.py sink | crowd.py send SECONDS ADDRESS...

Prints, as sender: how many connections there were, the bytes that the other side had acknowledged, the seconds taken.
"""

import fcntl
import selectors
import socket
import struct
import sys
import time

PORT = 5300
CHUNK = bytes(256 * 1024)
SIOCOUTQ = 0x5411


def sink():
    waiting = selectors.DefaultSelector()
    listener = socket.create_server(("0.0.0.0", PORT), backlog=512)
    waiting.register(listener, selectors.EVENT_READ)
    room = bytearray(1 << 20)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setblocking(False)
                waiting.register(connection, selectors.EVENT_READ)
                continue
            try:
                if key.fileobj.recv_into(room):
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            waiting.unregister(key.fileobj)
            key.fileobj.close()


def send(seconds, addresses):
    waiting = selectors.DefaultSelector()
    connections = []
    for address in addresses:
        try:
            connections.append(socket.create_connection((address, PORT), timeout=5))
        except OSError as error:
            print(f"{address}: {error}", file=sys.stderr)
    for connection in connections:
        connection.setblocking(False)
        waiting.register(connection, selectors.EVENT_WRITE)
    sent, started = 0, time.monotonic()
    while time.monotonic() < started + seconds:
        for key, _ in waiting.select(0.1):
            try:
                sent += key.fileobj.send(CHUNK)
            except BlockingIOError:
                pass
    taken = time.monotonic() - started
    # What still waits here has not arrived.
    queued = sum(struct.unpack("i", fcntl.ioctl(one, SIOCOUTQ, bytes(4)))[0] for one in connections)
    print(len(connections), sent - queued, f"{taken:.6f}")


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        sink()
    else:
        send(float(sys.argv[2]), sys.argv[3:])
