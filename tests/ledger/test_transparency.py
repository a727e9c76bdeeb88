"""What the ledger takes of the authority's logs, and every way to be refused."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import msgspec
import pytest

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.signature import sign
from hypermesh.ledger import identity, transparency
from hypermesh.ledger.identity import Identity
from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.module import Event
from hypermesh.ledger.state import MemoryBase
from hypermesh.ledger.transparency import Transparency
from hypermesh.trustchain.certificate import (
    Validity,
    node_certificate,
    serial_number,
)
from hypermesh.trustchain.ct.origin import origin
from hypermesh.trustchain.ct.tree import leaf_hash, root_of
from hypermesh.wire.codec import encode
from hypermesh.wire.transparency import PublicLog
from hypermesh.wire.tx import (
    Body,
    IdentityEnrol,
    IdentityOwn,
    SignedTransaction,
    Transaction,
    TransparencyAnchor,
    TransparencyBegin,
)

from .test_identity import certificate_authorities
from .toys import START_MS, block_input, genesis

OK = "ok"
LEAVES = [leaf_hash(b"entry %d" % number) for number in range(40)]


class Network:
    """A ledger of identities and logs, one block a transaction."""

    def __init__(self) -> None:
        self.root, self.issuing = certificate_authorities()
        self.founder, self.node, self.other = (QuantumKeys.generate() for _ in range(3))
        document = msgspec.structs.replace(
            genesis(),
            root_certificate=self.root.certificate,
            issuing_certificate=self.issuing.certificate,
            founder=self.founder.public,
            sequencer=self.node.public,
        )
        module = Identity()
        self.kernel = Kernel(document, [module, Transparency()], module)
        self.id = self.kernel.genesis_id
        self.state = MemoryBase()
        self.state.take(self.kernel.begin(self.state))
        self.height = 0
        self.events: list[Event] = []
        assert self.submit(self.founder, IdentityOwn(self.founder.public)) == OK
        for keys in (self.node, self.other):
            certificate = node_certificate(
                keys.public,
                self.founder.id,
                self.id,
                self.issuing,
                Validity(START_MS // 1000 - 300, START_MS // 1000 + 86_400),
                serial_number(b"n" * 19),
            )
            assert self.submit(keys, IdentityEnrol(certificate)) == OK

    def submit(self, keys: QuantumKeys, body: Body) -> str:
        transaction = Transaction(
            genesis=self.id,
            signer=keys.id,
            nonce=identity.nonce(self.state, keys.id),
            valid_from_ms=START_MS - 1000,
            valid_until_ms=START_MS + 1000,
            attestation=b"",
            body=body,
        )
        signature = sign(keys, "tx", self.id, digest_of("tx", transaction))
        entry = encode(SignedTransaction(transaction, signature))
        self.height += 1
        execution = self.kernel.execute(block_input(self.height, entry), self.state)
        self.state.take(execution.changes)
        self.events = execution.events
        return execution.results[1].code

    def log(self, number: int = 1, purpose: str = "certificates", mark: bytes = b"k") -> PublicLog:
        p256 = b"p" * 91 if purpose == "certificates" else None
        return PublicLog(f"{origin(self.id, number)}/{purpose}", mark * 32, mark * 1793, p256)

    def begin(self, log: PublicLog) -> str:
        return self.submit(self.node, TransparencyBegin(log))

    def anchor(self, first: int, size: int, log: PublicLog | None = None, /, **more: object) -> str:
        """Anchor `size` of the leaves, after `first` of them."""
        body = TransparencyAnchor(
            (log or self.log()).origin, size, root_of(LEAVES[:size]), path(first, size)
        )
        return self.submit(self.node, msgspec.structs.replace(body, **more))


def path(first: int, second: int) -> list[bytes]:
    """The consistency proof from its definition (RFC 9162 section 2.1.4.1)."""
    return [] if first in (0, second) else _path(first, LEAVES[:second], is_whole=True)


def _path(first: int, leaves: list[bytes], *, is_whole: bool) -> list[bytes]:
    if first == len(leaves):
        return [] if is_whole else [root_of(leaves)]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if first <= half:
        return [*_path(first, leaves[:half], is_whole=is_whole), root_of(leaves[half:])]
    return [*_path(first - half, leaves[half:], is_whole=False), root_of(leaves[:half])]


@pytest.fixture
def network() -> Network:
    return Network()


def test_a_log_begins_and_is_anchored_as_it_grows(network: Network) -> None:
    assert network.begin(network.log()) == OK
    assert network.events == [
        Event("transparency.begun", network.id, network.log().origin.encode(), entry=1)
    ]
    assert network.begin(network.log()) == OK
    assert network.events == []
    sizes = (0, 1, 2, 3, 7, 8, 21, 40)
    for first, size in pairwise(sizes):
        assert network.anchor(first, size) == OK
    assert network.anchor(40, 40) == OK
    assert network.events == []
    row = transparency.present(network.state, "certificates")
    assert row is not None
    assert (row.newest.size, row.newest.root) == (40, root_of(LEAVES))
    kept = transparency.anchors(network.state, network.log().origin)
    assert [each.size for each in kept] == list(sizes[1:])
    anchored = transparency.anchored(network.state, network.log().origin, 21)
    assert anchored is not None
    assert anchored.root == root_of(LEAVES[:21])


def test_what_is_no_continuation_is_refused(network: Network) -> None:
    assert network.anchor(0, 1) == "HM-TX-LOG-0003"
    assert network.begin(network.log()) == OK
    assert network.anchor(0, 8) == OK
    assert network.anchor(0, 7, consistency=[]) == "HM-TX-LOG-0005"
    assert network.anchor(8, 8, root=bytes(32)) == "HM-TX-LOG-0006"
    forked = root_of([hashlib.sha256(b"x").digest(), *LEAVES[1:20]])
    planted: list[dict[str, object]] = [
        {"root": forked},
        {"consistency": []},
        {"consistency": path(8, 20)[:-1]},
        {"consistency": [*path(8, 20), bytes(32)]},
        {"consistency": path(7, 20)},
        {"size": 40},
    ]
    for each in planted:
        assert network.anchor(8, 20, **each) == "HM-TX-LOG-0007", each
    row = transparency.present(network.state, "certificates")
    assert row is not None
    assert row.newest.size == 8
    assert network.anchor(8, 20) == OK


def test_only_the_node_of_genesis_anchors(network: Network) -> None:
    begin = TransparencyBegin(network.log())
    for keys in (network.other, network.founder):
        assert network.submit(keys, begin) == "HM-TX-LOG-0001"
    assert network.begin(network.log()) == OK
    anchor = TransparencyAnchor(network.log().origin, 1, root_of(LEAVES[:1]), [])
    for keys in (network.other, network.founder):
        assert network.submit(keys, anchor) == "HM-TX-LOG-0001"
    assert network.submit(network.node, anchor) == OK


def test_another_log_ends_the_one_before(network: Network) -> None:
    first, acts = network.log(), network.log(1, "acts")
    second = network.log(2, mark=b"m")
    for each in (first, acts, second):
        assert network.begin(each) == OK
    assert network.anchor(0, 1, first) == "HM-TX-LOG-0004"
    assert network.anchor(0, 1, second) == OK
    assert network.anchor(0, 1, acts) == OK
    ended = transparency.log(network.state, first.origin)
    assert ended is not None
    assert ended.ended is not None
    assert [each.log for each in transparency.logs(network.state)] == [acts, first, second]


def test_a_log_of_another_name_or_other_keys_is_refused(network: Network) -> None:
    assert network.begin(network.log(3)) == OK
    good = network.log(4)
    planted = [
        network.log(3, mark=b"m"),
        network.log(2),
        msgspec.structs.replace(good, origin=good.origin + "x"),
        msgspec.structs.replace(good, origin=good.origin.replace("/4/", "/04/")),
        msgspec.structs.replace(good, origin=good.origin.replace("/4/", "/0/")),
        msgspec.structs.replace(good, origin=f"{origin(bytes(32), 4)}/certificates"),
        msgspec.structs.replace(good, p256=None),
        msgspec.structs.replace(network.log(4, "acts"), p256=b"p"),
    ]
    for each in planted:
        assert network.begin(each) == "HM-TX-LOG-0002", each.origin
    assert network.begin(good) == OK
