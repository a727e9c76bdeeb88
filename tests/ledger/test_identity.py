"""The identity module under the real kernel: who may sign what, and when no longer."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import sign
from hypermesh.ledger import identity
from hypermesh.ledger.identity import EXPIRY_GRACE_MS, Identity, Revocation
from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.module import Event
from hypermesh.ledger.state import MemoryBase
from hypermesh.ledger.tree import changes
from hypermesh.trustchain.certificate import (
    Authority,
    AuthorityKeys,
    Validity,
    issuing_certificate,
    node_certificate,
    root_certificate,
    serial_number,
)
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.codec import encode
from hypermesh.wire.tx import (
    BankFaucet,
    Body,
    IdentityEnrol,
    IdentityOwn,
    IdentityRevoke,
    SignedTransaction,
    Transaction,
)

from .toys import START_MS, block_input, genesis

START_S = START_MS // 1000
DAY_S = 86_400
DAY_MS = DAY_S * 1000

OK = "ok"
ALLOWED = "HM-TX-0006"
"""The kernel's code for a type that no module executes: the signer was let through."""


def keypair() -> AuthorityKeys:
    return AuthorityKeys(ec.generate_private_key(ec.SECP256R1()), FalconKey.generate())


def certificate_authorities() -> tuple[Authority, Authority]:
    validity = Validity(START_S - 300, START_S + 400 * DAY_S)
    root_keys, issuing_keys = keypair(), keypair()
    root = Authority(
        root_certificate(root_keys, "t", validity, serial_number(b"r" * 19)), root_keys
    )
    return root, Authority(
        issuing_certificate(issuing_keys, root, "t", validity, serial_number(b"i" * 19)),
        issuing_keys,
    )


class Network:
    """A ledger with nothing but identities, one block a transaction."""

    def __init__(self) -> None:
        self.root, self.issuing = certificate_authorities()
        self.founder = QuantumKeys.generate()
        document = msgspec.structs.replace(
            genesis(),
            root_certificate=self.root.certificate,
            issuing_certificate=self.issuing.certificate,
            founder=self.founder.public,
        )
        module = Identity()
        self.kernel = Kernel(document, [module], module)
        self.id = self.kernel.genesis_id
        self.state = MemoryBase()
        self.state.take(self.kernel.begin(self.state))
        self.height = 0
        self.events: list[Event] = []

    def submit(
        self,
        keys: QuantumKeys,
        body: Body,
        *,
        time_ms: int = START_MS,
        nonce: int | None = None,
        signed_by: QuantumKeys | None = None,
    ) -> str:
        """The code of `body` by `keys` in a block of its own, with the next nonce."""
        transaction = Transaction(
            genesis=self.id,
            signer=keys.id,
            nonce=identity.nonce(self.state, keys.id) if nonce is None else nonce,
            valid_from_ms=time_ms - 1000,
            valid_until_ms=time_ms + 1000,
            attestation=b"",
            body=body,
        )
        signature = sign(signed_by or keys, "tx", self.id, digest_of("tx", transaction))
        entry = encode(SignedTransaction(transaction, signature))
        self.height += 1
        execution = self.kernel.execute(
            block_input(self.height, entry, time_ms=time_ms), self.state
        )
        self.state.take(execution.changes)
        self.events = execution.events
        return execution.results[1].code

    def certificate(
        self,
        node: QuantumKeys,
        owner: QuantumKeys,
        *,
        network: bytes | None = None,
        from_s: int = START_S,
        issuing: Authority | None = None,
    ) -> bytes:
        return node_certificate(
            node.public,
            owner.id,
            network or self.id,
            issuing or self.issuing,
            Validity(from_s - 300, from_s + DAY_S),
            serial_number(b"n" * 19),
        )

    def enrol(
        self,
        node: QuantumKeys,
        owner: QuantumKeys,
        *,
        time_ms: int = START_MS,
        from_s: int = START_S,
    ) -> str:
        body = IdentityEnrol(self.certificate(node, owner, from_s=from_s))
        return self.submit(node, body, time_ms=time_ms)

    def own(self, owner: QuantumKeys) -> str:
        return self.submit(owner, IdentityOwn(owner.public))


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture(scope="module")
def owner() -> QuantumKeys:
    return QuantumKeys.generate()


@pytest.fixture(scope="module")
def node() -> QuantumKeys:
    return QuantumKeys.generate()


@pytest.fixture(scope="module")
def stranger() -> QuantumKeys:
    return QuantumKeys.generate()


def test_an_owner_and_its_node_become_known(
    network: Network, owner: QuantumKeys, node: QuantumKeys
) -> None:
    assert network.own(owner) == OK
    assert network.events == [Event("identity.owned", owner.id, entry=1)]
    assert network.enrol(node, owner) == OK
    assert network.events == [Event("identity.enrolled", node.id, owner.id, entry=1)]
    known_owner, known = (
        identity.owner(network.state, owner.id),
        identity.node(network.state, node.id),
    )
    assert known_owner is not None
    assert known_owner.keys == owner.public
    assert known is not None
    assert (known.keys, known.owner, known.revoked) == (node.public, owner.id, False)
    assert known.not_after_ms == START_MS + DAY_MS
    assert list(identity.nodes(network.state)) == [(node.id, known)]
    assert identity.revoked(network.state) == frozenset()
    assert network.submit(node, BankFaucet()) == ALLOWED
    assert network.submit(owner, BankFaucet()) == ALLOWED


def test_the_founder_is_known_from_genesis(network: Network, node: QuantumKeys) -> None:
    assert network.submit(network.founder, BankFaucet()) == ALLOWED
    assert network.own(network.founder) == OK
    assert network.events == []
    assert network.enrol(node, network.founder) == OK


def test_strangers_may_sign_nothing(network: Network, stranger: QuantumKeys) -> None:
    assert network.submit(stranger, BankFaucet()) == "HM-TX-ID-0001"
    assert identity.owner(network.state, stranger.id) is None
    assert identity.node(network.state, stranger.id) is None
    assert identity.nonce(network.state, stranger.id) == 0


def test_nobody_is_introduced_by_another(
    network: Network, owner: QuantumKeys, node: QuantumKeys, stranger: QuantumKeys
) -> None:
    assert network.submit(stranger, IdentityOwn(owner.public)) == "HM-TX-ID-0002"
    network.own(owner)
    body = IdentityEnrol(network.certificate(node, owner))
    assert network.submit(stranger, body) == "HM-TX-ID-0002"
    assert network.submit(node, body, signed_by=stranger) == "HM-TX-0004"
    assert network.submit(owner, IdentityOwn(owner.public), signed_by=stranger) == "HM-TX-0004"
    assert identity.node(network.state, node.id) is None


def test_nonces_are_strictly_next_and_outlast_refusals(
    network: Network, owner: QuantumKeys, node: QuantumKeys
) -> None:
    assert network.enrol(node, owner) == "HM-TX-ID-0006"
    assert identity.nonce(network.state, node.id) == 1
    network.own(owner)
    replayed = IdentityEnrol(network.certificate(node, owner))
    for nonce in (0, 2):
        assert network.submit(node, replayed, nonce=nonce) == "HM-TX-0005"
    assert network.submit(node, replayed, nonce=1) == OK
    assert identity.nonce(network.state, node.id) == 2


def test_a_certificate_must_be_believed_at_block_time(
    network: Network, owner: QuantumKeys, node: QuantumKeys
) -> None:
    network.own(owner)
    _, other = certificate_authorities()
    refused = "HM-TX-ID-0005"
    elsewhere = network.certificate(node, owner, network=bytes(32))
    forged = network.certificate(
        node, owner, issuing=Authority(network.issuing.certificate, other.keys)
    )
    foreign = network.certificate(node, owner, issuing=other)
    for wrong in (b"no certificate", elsewhere, forged, foreign, network.issuing.certificate):
        assert network.submit(node, IdentityEnrol(wrong)) == refused
    assert network.enrol(node, owner) == OK


def test_a_certificate_too_early_or_too_late(
    network: Network, owner: QuantumKeys, node: QuantumKeys
) -> None:
    network.own(owner)
    early = IdentityEnrol(network.certificate(node, owner, from_s=START_S + 301))
    assert network.submit(node, early) == "HM-TX-ID-0005"
    late = IdentityEnrol(network.certificate(node, owner))
    assert network.submit(node, late, time_ms=START_MS + DAY_MS + 1000) == "HM-TX-ID-0005"


def test_an_expired_node_may_only_renew(
    network: Network, owner: QuantumKeys, node: QuantumKeys
) -> None:
    network.own(owner)
    network.enrol(node, owner)
    end = START_MS + DAY_MS
    assert network.submit(node, BankFaucet(), time_ms=end + EXPIRY_GRACE_MS) == ALLOWED
    late = end + EXPIRY_GRACE_MS + 1
    assert network.submit(node, BankFaucet(), time_ms=late) == "HM-TX-ID-0004"
    assert network.submit(owner, BankFaucet(), time_ms=late) == ALLOWED
    assert network.enrol(node, owner, time_ms=late, from_s=late // 1000) == OK
    assert network.submit(node, BankFaucet(), time_ms=late) == ALLOWED


def test_renewal_moves_forward_only(
    network: Network, owner: QuantumKeys, node: QuantumKeys
) -> None:
    network.own(owner)
    first = IdentityEnrol(network.certificate(node, owner))
    second = IdentityEnrol(network.certificate(node, owner, from_s=START_S + 60))
    assert network.submit(node, first) == OK
    assert network.submit(node, first) == OK
    assert network.events == []
    assert network.submit(node, second, time_ms=START_MS + 60_000) == OK
    assert network.submit(node, first, time_ms=START_MS + 60_000) == "HM-TX-ID-0009"
    known = identity.node(network.state, node.id)
    assert known is not None
    assert known.certificate_sha256 == fingerprint(second.certificate)


def test_a_node_keeps_its_owner(
    network: Network, owner: QuantumKeys, node: QuantumKeys, stranger: QuantumKeys
) -> None:
    network.own(owner)
    network.own(stranger)
    network.enrol(node, owner)
    assert network.enrol(node, stranger, from_s=START_S + 60) == "HM-TX-ID-0008"


def test_keys_have_one_role(network: Network, owner: QuantumKeys, node: QuantumKeys) -> None:
    network.own(owner)
    network.enrol(node, owner)
    assert network.submit(node, IdentityOwn(node.public)) == "HM-TX-ID-0013"
    assert network.enrol(owner, owner) == "HM-TX-ID-0013"


@pytest.mark.parametrize("by", ["owner", "founder"])
def test_a_revoked_node_is_out_for_good(
    network: Network, owner: QuantumKeys, node: QuantumKeys, by: str
) -> None:
    network.own(owner)
    network.enrol(node, owner)
    signer = owner if by == "owner" else network.founder
    assert network.submit(signer, IdentityRevoke(node.id, "stolen")) == OK
    assert network.events == [Event("identity.revoked", node.id, b"stolen", entry=1)]
    assert identity.revoked(network.state) == {node.id}
    assert identity.revocation(network.state, node.id) == Revocation(
        "stolen", network.height, signer.id
    )
    known = identity.node(network.state, node.id)
    assert known is not None
    assert known.revoked
    assert network.submit(node, BankFaucet()) == "HM-TX-ID-0003"
    assert network.enrol(node, owner, from_s=START_S + 60) == "HM-TX-ID-0003"
    assert network.submit(node, IdentityOwn(node.public)) == "HM-TX-ID-0013"
    assert network.submit(owner, IdentityRevoke(node.id, "again")) == "HM-TX-ID-0012"


def test_only_owner_and_founder_revoke_and_only_with_their_own_keys(
    network: Network, owner: QuantumKeys, node: QuantumKeys, stranger: QuantumKeys
) -> None:
    sibling = QuantumKeys.generate()
    network.own(owner)
    network.own(stranger)
    network.enrol(node, owner)
    network.enrol(sibling, owner)
    for signer in (stranger, node, sibling):
        assert network.submit(signer, IdentityRevoke(node.id, "mine now")) == "HM-TX-ID-0011"
    assert network.submit(owner, IdentityRevoke(stranger.id, "?")) == "HM-TX-ID-0010"
    assert identity.revoked(network.state) == frozenset()


def test_a_prefix_names_one_node(network: Network, owner: QuantumKeys, node: QuantumKeys) -> None:
    network.own(owner)
    network.enrol(node, owner)
    state = network.state
    for length in (8, 16, 32):
        assert identity.resolve_prefix(state, node.id[:length]) == node.id
    assert identity.resolve_prefix(state, node.id[:7]) is None
    assert identity.resolve_prefix(state, node.id[:8] + b"other...") is None
    assert identity.resolve_prefix(state, bytes(8)) is None


def test_a_second_node_with_the_same_prefix_is_refused(
    network: Network, owner: QuantumKeys, node: QuantumKeys
) -> None:
    """Two such ids take 2^32 tries to find, so the first is planted."""
    twin = node.id[:8] + bytes(24)
    planted = {b"identity/prefix/" + node.id[:8]: encode(twin)}
    network.state.take(changes(network.state, planted))
    network.own(owner)
    assert network.enrol(node, owner) == "HM-TX-ID-0007"
    assert identity.node(network.state, node.id) is None
    assert identity.resolve_prefix(network.state, node.id[:8]) == twin


def test_every_refusal_has_its_own_code() -> None:
    codes = [
        kind.code
        for kind in vars(identity).values()
        if isinstance(kind, type)
        and getattr(kind, "__module__", "") == identity.__name__
        and hasattr(kind, "code")
    ]
    assert sorted(codes) == [f"HM-TX-ID-{number:04d}" for number in range(1, 17)]
