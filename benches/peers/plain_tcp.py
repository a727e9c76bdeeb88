"""Plain TCP from Python."""

from __future__ import annotations

import socket
from typing import Any

from end import Options, Sink, Source, announce, run


def receive(options: Options) -> dict[str, Any]:
    with socket.create_server((options.host, 0), family=socket.AF_INET6) as listener:
        announce(listener.getsockname()[1])
        connection, _ = listener.accept()
    with connection:
        sink = Sink(options)
        while count := connection.recv_into(sink.room):
            sink.filled(count)
        return sink.ended()


def send(options: Options) -> dict[str, Any]:
    with socket.create_connection((options.host, options.port)) as connection:
        source = Source(options)
        for message in source:
            connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)  # the receiver closes once it has everything
        return source.sent()


if __name__ == "__main__":
    run(receive=receive, send=send)
