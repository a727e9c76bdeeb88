"""What makes a process a node of a network: its keys, its certificate, the network's genesis.

keys/            node, owner (where the owner was made here), and the CA's where it founded
genesis          the genesis document; written last, so that it is there only when all is
certificate      leaf, issuing, root: the present chain
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.stoq.trust import TrustPolicy
from hypermesh.trustchain.verify import Anchors, CertifiedNode, check_chain, read_node
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.ids import GenesisId, Hash, NodeId, OwnerId
from hypermesh.wire.tx import Certificate

NODE_SECRET = "node"
OWNER_SECRET = "owner"


class Chain(msgspec.Struct, frozen=True, array_like=True):
    """Leaf, issuing and root certificate, DER."""

    certificates: list[Certificate]


class Membership:
    """One node's membership in one network, in its data directory."""

    def __init__(self, data: Path, genesis: Genesis, chain: list[bytes]) -> None:
        self._data = data
        self.store = key_store(data)
        self.keys = QuantumKeys.from_secret_bytes(self.store.get(NODE_SECRET))
        self.genesis = genesis
        self.genesis_id: GenesisId = digest_of("genesis", genesis)
        self.chain = chain
        self._leaf = read_node(chain[0])

    @classmethod
    def open(cls, data: Path) -> Membership | None:
        """The membership in `data`; None where it has none yet, or an unfinished one."""
        file = data / "genesis"
        if not file.exists():
            return None
        chain = decode(Chain, (data / "certificate").read_bytes()).certificates
        return cls(data, decode(Genesis, file.read_bytes()), chain)

    @classmethod
    def create(cls, data: Path, genesis: Genesis, chain: list[bytes]) -> Membership:
        """Write a new membership down. Repeating it after a crash is harmless."""
        replace(data / "certificate", encode(Chain(chain)))
        replace(data / "genesis", encode(genesis))
        return cls(data, genesis, chain)

    @property
    def anchors(self) -> Anchors:
        return Anchors.of(self.genesis, self.genesis_id)

    @property
    def is_founder(self) -> bool:
        """Whether this node sequences, and holds the CA."""
        return self.keys.public == self.genesis.sequencer

    @property
    def owner_keys(self) -> QuantumKeys | None:
        """The owner's keys, where they were made on this machine."""
        if OWNER_SECRET not in self.store:
            return None
        return QuantumKeys.from_secret_bytes(self.store.get(OWNER_SECRET))

    @property
    def owner(self) -> OwnerId:
        """The owner that the certificate names."""
        return self._leaf.owner

    @property
    def not_after_s(self) -> int:
        """The end of the certificate, seconds since 1970."""
        return self._leaf.not_after_s

    @property
    def certificate_sha256(self) -> Hash:
        return hashlib.sha256(self.chain[0]).digest()

    def certified(self, now_s: int) -> CertifiedNode:
        """What the certificate says; raises a `CertificateRefused` where it does not hold now."""
        return check_chain(self.chain, self.anchors, now_s=now_s)

    def policy(self, revoked: frozenset[NodeId]) -> TrustPolicy:
        """Whom STOQ shall trust on this network."""
        return TrustPolicy(
            network=self.genesis_id,
            roots=[self.genesis.root_certificate],
            issuers=[self.genesis.issuing_certificate],
            revoked=revoked,
            version=len(revoked),
        )

    def renewed(self, chain: list[bytes]) -> None:
        """Take a renewed certificate."""
        replace(self._data / "certificate", encode(Chain(chain)))
        self.chain = chain
        self._leaf = read_node(chain[0])


def key_store(data: Path) -> KeyStore:
    """The key store of a data directory; sealed where `HYPERMESH_PASSPHRASE` is set."""
    return KeyStore(data / "keys", os.environ.get("HYPERMESH_PASSPHRASE") or None)


def keys_of(store: KeyStore, name: str) -> QuantumKeys:
    """The keys called `name`, made at first use."""
    if name not in store:
        store.put(name, QuantumKeys.generate().secret_bytes())
    return QuantumKeys.from_secret_bytes(store.get(name))


def replace(file: Path, content: bytes) -> None:
    """Write a whole file, durably, or leave the old one."""
    fresh = file.with_name(f"{file.name}.new")
    with fresh.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    fresh.replace(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
