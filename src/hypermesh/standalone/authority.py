"""The network that a server is: its root, and the certificate of its one node."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from hypermesh.crypto.files import make_directory
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.trustchain.ca.authority import CertificateAuthority, CertificateOrder
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.ids import Hash

_SECRET = "stoq"
_NAME = "STOQ"


class Certificates(msgspec.Struct, frozen=True, array_like=True):
    """What a client needs to check a server, DER. The pin is the SHA-256 of `root`, so nothing here
    has to be believed of whoever says it."""

    root: bytes
    issuing: bytes

    @property
    def pin(self) -> Hash:
        return fingerprint(self.root)


def own_keys(data: Path) -> QuantumKeys:
    """The keys in `data`, made at first use."""
    make_directory(data, 0o700)
    store = KeyStore(data / "keys")
    if _SECRET not in store:
        store.put(_SECRET, QuantumKeys.generate().secret_bytes())
    return QuantumKeys.from_secret_bytes(store.get(_SECRET))


def is_founded(data: Path) -> bool:
    """Whether a server has its network in `data`."""
    return (data / "ca.sqlite").exists()


class Authority:
    """The root of one server, and the keys of its node."""

    def __init__(self, data: Path, now_s: int) -> None:
        """Opens what is in `data`, or founds it."""
        self.keys = own_keys(data)
        self._ca = CertificateAuthority.found(data, KeyStore(data / "keys"), _NAME, now_s)
        self.certificates = Certificates(self._ca.root, self._ca.issuing)
        self.pin = self.certificates.pin

    def identity(self, now_s: int) -> Identity:
        """The server with a new certificate, good for a day."""
        order = CertificateOrder(
            secrets.token_bytes(32), self.pin, self.keys.public, owner=self.keys.id
        )
        return Identity(self._ca.chain(self._ca.certify(order, now_s)), self.keys)

    def policy(
        self, bearers: frozenset[Hash], revoked: frozenset[Hash], version: int
    ) -> TrustPolicy:
        """Let in `bearers`; end the connections of those `revoked`."""
        return TrustPolicy(
            network=self.pin,
            roots=[self.certificates.root],
            issuers=[self.certificates.issuing],
            bearers=bearers,
            revoked=revoked,
            version=version,
        )

    def close(self) -> None:
        self._ca.close()
