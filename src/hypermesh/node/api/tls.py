"""TLS 1.3 with the certificate that this node has on its network.

The chain is the classical part of the node's hybrid chain: P-256 signatures up to the network's
root, an Ed25519 key in the leaf. OpenSSL, and so curl and Python, take it with the root as their
CA; browsers know no Ed25519 certificates (`docs/how-to/reach-a-node-from-elsewhere.md`).
Where the network's authority is on this machine, whoever names one of `local.NAMES` (SNI, RFC 6066)
gets a certificate for these, with a P-256 key.
"""

from __future__ import annotations

import logging
import ssl
import time

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hypermesh.http.tls import context_of, listening
from hypermesh.node.membership import Membership
from hypermesh.node.names import local
from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.authority import NODE_LIFETIME_S, CertificateAuthority
from hypermesh.trustchain.ca.signer import stored_signer
from hypermesh.wire.errors import HyperMeshError

SERVICE_SECRET = "tls"
"""The key of the certificate for `local.NAMES`, in the key store."""

log = logging.getLogger(__name__)


class ServerCertificate:
    """The node's present certificate as a server's: each handshake gets the one that the node has
    at that moment, so a renewed one needs no restart."""

    def __init__(
        self, membership: Membership, authority: CertificateAuthority | None = None
    ) -> None:
        """`authority`: that of the network, where it is here."""
        self._membership = membership
        self._services = None if authority is None else _Services(membership, authority)
        self._certificate = b""
        self._present = self._renewed()
        self.context = listening(self._renewed(), self._choose)
        """The context to listen with."""

    def _choose(self, name: str | None) -> ssl.SSLContext:
        if self._services is not None and name is not None and name.lower() in local.NAMES:
            try:
                return self._services.present()
            except HyperMeshError as error:
                # The client sees a certificate for another name, and says so to its user.
                log.warning("there is no certificate for %s: %s", name, error)
        if self._membership.chain[0] != self._certificate:
            self._present = self._renewed()
        return self._present

    def _renewed(self) -> ssl.SSLContext:
        # A root that a client does not have already is worth nothing to it: leaf and issuing only.
        chain = self._membership.chain
        context = context_of(chain[:2], self._membership.keys.ed25519_pkcs8())
        self._certificate = chain[0]
        return context


class _Services:
    """The certificate for the names that lead to this machine, made at first use and anew in the
    middle of its life, or when the issuing CA was replaced. Used by one thread."""

    def __init__(self, membership: Membership, authority: CertificateAuthority) -> None:
        self._membership = membership
        self._authority = authority
        self._present: ssl.SSLContext | None = None
        self._issuing = b""
        self._due_s = 0

    def present(self) -> ssl.SSLContext:
        """The context to go on with. Raises `StoreUnavailable`, `SignerUnusable`."""
        now_s = int(time.time())
        issuing = self._authority.issuing
        if self._present is None or now_s >= self._due_s or issuing != self._issuing:
            signer, _ = stored_signer(
                self._membership.store, SERVICE_SECRET, KeyKind.P256, is_hybrid=False
            )
            public = load_der_public_key(signer.public_key)
            if not isinstance(public, ec.EllipticCurvePublicKey):
                raise TypeError(f"the secret {SERVICE_SECRET!r} is no P-256 key")
            leaf = self._authority.certify_service(public, local.NAMES, now_s)
            self._present = context_of([leaf, issuing], signer.pkcs8())
            self._issuing = issuing
            self._due_s = now_s + NODE_LIFETIME_S // 2
        return self._present
