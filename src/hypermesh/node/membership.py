"""What makes a process a node of a network: its keys, its certificate, the network's genesis.

keys/            node, sealing, owner (where it was made here), and the CA's where it founded
genesis          the genesis document; written last, so that it is there only when all is
certificate      leaf, issuing, root: the present chain
logged           what shows that the certificate is in the network's transparency log
seeds            where the network was when this node joined it
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.encryption import QuantumEncryption
from hypermesh.crypto.files import replace
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.node.kept import read
from hypermesh.stoq.trust import TrustPolicy
from hypermesh.trustchain.federation import Partnership
from hypermesh.trustchain.verify import Anchors, CertificateMalformed, check_chain
from hypermesh.wire.asset import Locator
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import encode
from hypermesh.wire.ids import GenesisId, Hash, NodeId, OwnerId
from hypermesh.wire.transparency import Logged
from hypermesh.wire.tx import Certificate

NODE_SECRET = "node"
OWNER_SECRET = "owner"
SEALING_SECRET = "sealing"
"""What messages to this node are sealed for; made at first use."""


class Certified(msgspec.Struct, frozen=True, array_like=True):
    """Leaf, issuing and root certificate (DER), and what the leaf said when it was checked."""

    chain: list[Certificate]
    owner: OwnerId
    not_after_s: int


class KeptEvidence(msgspec.Struct, frozen=True, array_like=True):
    """What shows that the certificate with this SHA-256 is logged."""

    certificate_sha256: Hash
    logged: Logged


class Membership:
    """One node's membership in one network, in its data directory."""

    def __init__(self, data: Path, genesis: Genesis, certified: Certified) -> None:
        self._data = data
        self._certified = certified
        self._evidence = _evidence(data)
        self.store = key_store(data)
        self.keys = QuantumKeys.from_secret_bytes(self.store.get(NODE_SECRET))
        self.genesis = genesis
        self.genesis_id: GenesisId = digest_of("genesis", genesis)

    @classmethod
    def open(cls, data: Path) -> Membership | None:
        """The membership in `data`; None where it has none yet, or an unfinished one."""
        file = data / "genesis"
        if not file.exists():
            return None
        genesis = read(Genesis, file, "Every node of the network has the same: copy it")
        fix = "Restore it from a backup, or join as a new node"
        return cls(data, genesis, read(Certified, data / "certificate", fix))

    @classmethod
    def create(
        cls,
        data: Path,
        genesis: Genesis,
        chain: list[bytes],
        seeds: list[Locator],
        now_s: int,
        logged: Logged | None = None,
    ) -> Membership:
        """Write a new membership down. Repeating it after a crash is harmless. `logged` has been
        checked.

        Raises a `CertificateRefused` where `chain` does not hold under `genesis` at `now_s`.
        """
        certified = _checked(genesis, chain, now_s)
        _keep_evidence(data, _beside(chain, logged))
        replace(data / "certificate", encode(certified))
        replace(data / "seeds", encode(seeds))
        replace(data / "genesis", encode(genesis))
        return cls(data, genesis, certified)

    @property
    def seeds(self) -> list[Locator]:
        """Where the network was when this node joined it."""
        return read(list[Locator], self._data / "seeds", "Copy it from a node that joined")

    @property
    def chain(self) -> list[bytes]:
        """Leaf, issuing and root certificate, DER."""
        return self._certified.chain

    @property
    def is_founder(self) -> bool:
        """Whether this node sequences, and holds the CA."""
        return self.keys.public == self.genesis.sequencer

    @cached_property
    def is_sealed(self) -> bool:
        """Whether the secrets were sealed at rest when this process first looked."""
        return self.store.protected

    @property
    def owner_keys(self) -> QuantumKeys | None:
        """The owner's keys, where they were made on this machine."""
        if OWNER_SECRET not in self.store:
            return None
        return QuantumKeys.from_secret_bytes(self.store.get(OWNER_SECRET))

    @cached_property
    def encryption(self) -> QuantumEncryption:
        """What opens messages to this node."""
        if SEALING_SECRET not in self.store:
            self.store.put(SEALING_SECRET, QuantumEncryption.generate().secret_bytes())
        return QuantumEncryption.from_secret_bytes(self.store.get(SEALING_SECRET))

    @property
    def owner(self) -> OwnerId:
        """The owner that the certificate names."""
        return self._certified.owner

    @property
    def not_after_s(self) -> int:
        """The end of the certificate, seconds since 1970."""
        return self._certified.not_after_s

    @property
    def certificate_sha256(self) -> Hash:
        return _digest(self.chain)

    def policy(
        self,
        revoked: frozenset[NodeId],
        issuers: Sequence[Certificate] = (),
        partnerships: Sequence[Partnership] = (),
    ) -> TrustPolicy:
        """Whom STOQ shall trust on this network: what `issuers` issued, as the ledger names them;
        without them, those of the issuer of this node's own certificate. And of which others."""
        return TrustPolicy(
            network=self.genesis_id,
            roots=[self.genesis.root_certificate],
            issuers=issuers or [self.chain[1]],
            revoked=revoked,
            partners=[each.agreed for each in partnerships],
            version=len(revoked),
        )

    @property
    def logged(self) -> Logged | None:
        """What shows that the certificate is in the network's transparency log; None where it came
        from an authority that kept no log yet."""
        wanted = self.certificate_sha256
        found = (each.logged for each in self._evidence if each.certificate_sha256 == wanted)
        return next(found, None)

    def renewed(self, chain: list[bytes], now_s: int, logged: Logged | None = None) -> None:
        """Take a renewed certificate; raises as `create` does."""
        certified = _checked(self.genesis, chain, now_s)
        # The evidence of both, since a crash may leave either certificate.
        fresh = _beside(chain, logged)
        present = self.certificate_sha256
        self._evidence = fresh + [
            each
            for each in self._evidence
            if each.certificate_sha256 == present and each.certificate_sha256 != _digest(chain)
        ]
        _keep_evidence(self._data, self._evidence)
        replace(self._data / "certificate", encode(certified))
        self._certified = certified


def _checked(genesis: Genesis, chain: list[bytes], now_s: int) -> Certified:
    """Under any issuing CA below the root of `genesis`: that of genesis may have been replaced."""
    if len(chain) != 3:
        raise CertificateMalformed("A chain is leaf, issuing certificate and root")
    anchors = Anchors(digest_of("genesis", genesis), genesis.root_certificate, chain[1])
    node = check_chain(chain, anchors, now_s=now_s)
    return Certified(chain, node.owner, node.not_after_s)


def _digest(chain: list[bytes]) -> Hash:
    return hashlib.sha256(chain[0]).digest()


def _beside(chain: list[bytes], logged: Logged | None) -> list[KeptEvidence]:
    return [] if logged is None else [KeptEvidence(_digest(chain), logged)]


def _evidence(data: Path) -> list[KeptEvidence]:
    file = data / "logged"
    if not file.exists():
        return []
    return read(list[KeptEvidence], file, "Take it away: the next certificate brings its own")


def _keep_evidence(data: Path, evidence: list[KeptEvidence]) -> None:
    file = data / "logged"
    if evidence or file.exists():
        replace(file, encode(evidence))


def key_store(data: Path) -> KeyStore:
    """The key store of a data directory; sealed where `HYPERMESH_PASSPHRASE` is set."""
    return KeyStore(data / "keys", os.environ.get("HYPERMESH_PASSPHRASE") or None)


def keys_of(store: KeyStore, name: str) -> QuantumKeys:
    """The keys called `name`, made at first use."""
    if name not in store:
        store.put(name, QuantumKeys.generate().secret_bytes())
    return QuantumKeys.from_secret_bytes(store.get(name))
