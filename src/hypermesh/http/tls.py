"""TLS 1.3 of a server whose certificate changes while it listens.

OpenSSL asks at each handshake which certificate to go on with, so a renewal ends no connection and
nothing listens anew. Keys never touch a file: OpenSSL reads them from anonymous memory.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from typing import Any


def context_of(chain: Sequence[bytes], pkcs8: bytes) -> ssl.SSLContext:
    """A context that shows `chain` (DER, leaf first), whose leaf has the key `pkcs8` (DER). Raises
    `ssl.SSLError` where OpenSSL cannot sign by it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    pem = "".join(ssl.DER_cert_to_PEM_cert(each) for each in chain)
    pem += ssl.DER_cert_to_PEM_cert(pkcs8).replace("CERTIFICATE", "PRIVATE KEY")
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


def listening(
    context: ssl.SSLContext, choose: Callable[[str | None], ssl.SSLContext]
) -> ssl.SSLContext:
    """`context` as the one to listen with: each handshake goes on with what `choose` gives for the
    name that the client asks for (RFC 6066 section 3)."""

    def chosen(connection: Any, name: str | None, asked: ssl.SSLContext) -> None:
        del asked
        connection.context = choose(name)

    context.sni_callback = chosen
    return context
