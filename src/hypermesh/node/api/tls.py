"""TLS 1.3 with the certificate that this node has on its network.

The chain is the classical part of the node's hybrid chain: P-256 signatures up to the network's
root, an Ed25519 key in the leaf. OpenSSL, and so curl and Python, take it with the root as their
CA; browsers know no Ed25519 certificates (`docs/how-to/reach-a-node-from-elsewhere.md`).
The key never touches a file: OpenSSL reads it from anonymous memory.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from hypermesh.node.membership import Membership


class ServerCertificate:
    """The node's present certificate as a server's: each handshake gets the one that the node has
    at that moment, so a renewed one needs no restart."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._certificate = b""
        self._present = self._renewed()
        self.context = self._renewed()
        """The context to listen with. OpenSSL asks at each handshake which one to go on with."""
        self.context.sni_callback = self._choose

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        if self._membership.chain[0] != self._certificate:
            self._present = self._renewed()
        connection.context = self._present

    def _renewed(self) -> ssl.SSLContext:
        chain = self._membership.chain
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["http/1.1"])
        key = ssl.DER_cert_to_PEM_cert(self._membership.keys.ed25519_pkcs8())
        # A root that a client does not have already is worth nothing to it: leaf and issuing only.
        pem = "".join(ssl.DER_cert_to_PEM_cert(each) for each in chain[:2])
        pem += key.replace("CERTIFICATE", "PRIVATE KEY")
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem.encode())
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        self._certificate = chain[0]
        return context
