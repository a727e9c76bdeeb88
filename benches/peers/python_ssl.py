"""TLS 1.3 over TCP by Python's own `ssl`: AES-256-GCM, as OpenSSL prefers it."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from end import TLS_NAME, Options, Sink, Source, announce, run

CIPHER = "TLS_AES_256_GCM_SHA384"


def receive(options: Options) -> dict[str, Any]:
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.credentials / "tls.pem", options.credentials / "tls.key")
    with socket.create_server((options.host, 0), family=socket.AF_INET6) as listener:
        announce(listener.getsockname()[1])
        accepted, _ = listener.accept()
    with context.wrap_socket(accepted, server_side=True) as connection:
        sink = Sink(options)
        while count := connection.recv_into(sink.room):
            sink.filled(count)
        found = sink.ended()
        connection.unwrap()
        return found


def send(options: Options) -> dict[str, Any]:
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(options.credentials / "tls.pem")
    plain = socket.create_connection((options.host, options.port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(plain, server_hostname=TLS_NAME) as connection:
        cipher = connection.cipher()
        if cipher is None or cipher[0] != CIPHER:
            raise SystemExit(f"{cipher} was negotiated")
        source = Source(options)
        for message in source:
            connection.sendall(message)
        connection.unwrap()  # says that all was sent, and waits for the receiver to say the same
        return source.sent()


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


if __name__ == "__main__":
    run(receive=receive, send=send)
