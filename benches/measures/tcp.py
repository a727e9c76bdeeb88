"""The other end of the plain TCP baseline: keeps one buffer, takes it and gives it back.

    python measures/tcp.py BYTES

Listens on IPv6 loopback, prints its port, serves one connection. `w` and BYTES bytes: keeps them
and answers `k`. `r`: answers with the BYTES bytes kept.
"""

from __future__ import annotations

import socket
import sys


def serve(size: int) -> None:
    kept = memoryview(bytearray(size))
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        print(listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        while word := connection.recv(1):
            if word == b"w":
                receive(connection, kept)
                connection.sendall(b"k")
            else:
                connection.sendall(kept)


def receive(connection: socket.socket, buffer: memoryview) -> None:
    """Fill `buffer` from the connection."""
    at = 0
    while at < len(buffer):
        count = connection.recv_into(buffer[at:])
        if not count:
            raise ConnectionError("the other end closed")
        at += count


if __name__ == "__main__":
    serve(int(sys.argv[1]))
