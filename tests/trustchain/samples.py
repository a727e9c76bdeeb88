"""The authority and the keys of a test network."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.trustchain.certificate import (
    Authority,
    AuthorityKeys,
    Validity,
    issuing_certificate,
    node_certificate,
    root_certificate,
    serial_number,
)
from hypermesh.trustchain.verify import Anchors
from hypermesh.wire.asset import Locator
from hypermesh.wire.block import (
    EconomyParameters,
    Genesis,
    LeaseParameters,
    NetworkClass,
    ProofParameters,
)
from hypermesh.wire.keys import PublicKeys

NOW = 1_800_000_000
GENESIS = bytes(range(32))
VALIDITY = Validity(NOW - 300, NOW + 86_400)


def authority_keys() -> AuthorityKeys:
    return AuthorityKeys(ec.generate_private_key(ec.SECP256R1()), FalconKey.generate())


def serial(number: int = 1) -> int:
    return serial_number(number.to_bytes(19, "big"))


@dataclass(frozen=True)
class Network:
    root: Authority
    issuing: Authority
    node: QuantumKeys
    owner: QuantumKeys
    leaf: bytes

    @property
    def anchors(self) -> Anchors:
        return Anchors(GENESIS, self.root.certificate, self.issuing.certificate)

    @property
    def chain(self) -> list[bytes]:
        return [self.leaf, self.issuing.certificate, self.root.certificate]


def make_network() -> Network:
    root_keys, issuing_keys = authority_keys(), authority_keys()
    root = Authority(root_certificate(root_keys, "test", VALIDITY, serial(1)), root_keys)
    issuing = Authority(
        issuing_certificate(issuing_keys, root, "test", VALIDITY, serial(2)), issuing_keys
    )
    node, owner = QuantumKeys.generate(), QuantumKeys.generate()
    leaf = node_certificate(node.public, owner.id, GENESIS, issuing, VALIDITY, serial(3))
    return Network(root, issuing, node, owner, leaf)


LOCATOR = Locator(
    node=bytes(range(32)), hosts=["2001:db8::1"], port=8443, sequence=1, expires_ms=NOW * 1000
)


def genesis_of(root: bytes, issuing: bytes, founder: PublicKeys, sequencer: PublicKeys) -> Genesis:
    """A genesis of which only the certificates and the keys matter here."""
    return Genesis(
        version=1,
        name="test",
        network_class=NetworkClass.TEST,
        created_ms=NOW * 1000,
        root_certificate=root,
        issuing_certificate=issuing,
        founder=founder,
        sequencer=sequencer,
        proofs=ProofParameters(60_000, 18, 16, 3, 512, 1000, 64, 4, 0),
        economy=EconomyParameters("none", 0, 0, 0, 0),
        leases=LeaseParameters(1, 1, 1),
        vdf=None,
    )
