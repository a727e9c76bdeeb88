"""Recorded handshakes without somebody: judged by the real verifier, on real certificates."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.node import handshakes as kept
from hypermesh.node.handshakes import AGE_MS_MAX, Handshakes, HandshakesNotKept
from hypermesh.stoq.endpoint import Admission
from hypermesh.trustchain import whatif
from hypermesh.trustchain.certificate import (
    Authority,
    AuthorityKeys,
    Validity,
    cross_certificate,
    issuing_certificate,
    node_certificate,
    root_certificate,
    serial_number,
)
from hypermesh.trustchain.federation import POLICY_REACH, zone
from hypermesh.trustchain.verify import NodeRevoked, fingerprint
from hypermesh.trustchain.whatif import Believed, Handshake, Kind, Target, failures, judge, without
from hypermesh.wire.rpc import ALPN_ENROL, ALPN_NODE, ALPN_PARTNER, ALPN_SESSION

NOW_S = 1_800_000_000
DAY_S = 86_400
SERIAL = serial_number(b"w" * 19)


class World:
    """A network with a partner, and certificates of nodes."""

    def __init__(self, name: str) -> None:
        self.id = name.encode().ljust(32, b"\0")
        span = Validity(NOW_S - DAY_S, NOW_S + 400 * DAY_S)
        keys = [
            AuthorityKeys(ec.generate_private_key(ec.SECP256R1()), FalconKey.generate())
            for _ in range(2)
        ]
        self.root = Authority(root_certificate(keys[0], name, span, SERIAL), keys[0])
        self.issuing = Authority(
            issuing_certificate(keys[1], self.root, name, span, SERIAL), keys[1]
        )

    def leaf(self, keys: QuantumKeys, begins_s: int = NOW_S) -> bytes:
        span = Validity(begins_s - 300, begins_s + DAY_S)
        return node_certificate(keys.public, bytes(32), self.id, self.issuing, span, SERIAL)


OURS, THEIRS = World("ours"), World("theirs")
ALICE, BOB, CAROL, DAVE = (QuantumKeys.generate() for _ in range(4))
"""We are alice; bob and carol are of our network, dave is of the other."""
CROSS = cross_certificate(
    THEIRS.issuing.certificate,
    OURS.root,
    [zone(THEIRS.id)],
    [],
    [POLICY_REACH],
    Validity(NOW_S - 300, NOW_S + 10 * DAY_S),
    SERIAL,
)
BELIEVED = Believed(
    OURS.id,
    OURS.root.certificate,
    (OURS.issuing.certificate,),
    (),
    (
        (
            THEIRS.id,
            THEIRS.root.certificate,
            THEIRS.issuing.certificate,
            CROSS,
            NOW_S + 10 * DAY_S,
            (),
        ),
    ),
)


def met(
    peer: QuantumKeys,
    service: str = ALPN_NODE,
    *,
    opened: bool = False,
    at_s: int = NOW_S,
    of: World = OURS,
    whole: bool = False,
    believed: Believed = BELIEVED,
) -> Handshake:
    leaf = of.leaf(peer)
    above = (of.issuing.certificate, of.root.certificate) if whole else ()
    return Handshake(
        at_s * 1000,
        peer.id,
        None if service in (ALPN_SESSION, ALPN_ENROL) and not opened else of.id,
        service,
        opened,
        "[::1]:1",
        (leaf, *above),
        OURS.leaf(ALICE),
        believed,
    )


RECORD = [
    met(BOB),
    met(BOB, opened=True, at_s=NOW_S + 60),
    met(CAROL, at_s=NOW_S + 120, whole=True),
    met(DAVE, ALPN_PARTNER, of=THEIRS, at_s=NOW_S + 180),
    met(BOB, ALPN_SESSION, opened=True, at_s=NOW_S + 240),
    met(CAROL, ALPN_SESSION, at_s=NOW_S + 300),
]


def lost(target: Target, record: list[Handshake] | None = None) -> list[int]:
    """Which of the record would have failed."""
    record = RECORD if record is None else record
    return [record.index(each.handshake) for each in failures(record, target)]


def test_what_was_recorded_holds_as_it_was() -> None:
    assert [judge(each, each.believed) for each in RECORD] == [None] * len(RECORD)


@pytest.mark.parametrize(
    ("kind", "identifier", "expected"),
    [
        (Kind.NODE, BOB.id, [0, 1, 4]),
        (Kind.NODE, CAROL.id, [2, 5]),
        (Kind.NODE, DAVE.id, [3]),
        # Every peer of the own network would refuse us; those of others learn it from ours alone.
        (Kind.NODE, ALICE.id, [0, 1, 2, 5]),
        (Kind.PARTNER, THEIRS.id, [3]),
        (Kind.AUTHORITY, fingerprint(OURS.issuing.certificate), [0, 1, 2, 4, 5]),
        (Kind.AUTHORITY, fingerprint(OURS.root.certificate), [0, 1, 2, 3, 4, 5]),
        (Kind.AUTHORITY, fingerprint(THEIRS.issuing.certificate), [3]),
        (Kind.AUTHORITY, fingerprint(THEIRS.root.certificate), [3]),
        (Kind.AUTHORITY, fingerprint(CROSS), [3]),
        (Kind.NODE, bytes(32), []),
        (Kind.PARTNER, OURS.id, []),
    ],
    ids=[
        "bob",
        "carol",
        "dave",
        "alice",
        "theirs",
        "issuing",
        "root",
        "their issuing",
        "their root",
        "cross",
        "nobody",
        "the own network",
    ],
)
def test_the_connections_that_would_have_failed(
    kind: Kind, identifier: bytes, expected: list[int]
) -> None:
    assert lost(Target(kind, identifier)) == expected


def test_the_reason_is_the_verifiers() -> None:
    (first, *_) = failures(RECORD, Target(Kind.NODE, BOB.id))
    assert first.reason == str(NodeRevoked())


def test_what_did_not_hold_then_is_no_loss() -> None:
    """Revoked already, of an unknown network, or after the end of the certificate."""
    gone = without(BELIEVED, Target(Kind.NODE, BOB.id))
    late = met(BOB, at_s=NOW_S + 2 * DAY_S)
    stranger = met(DAVE, of=THEIRS)
    record = [met(BOB, believed=gone), late, stranger]
    assert all(judge(each, each.believed) is not None for each in record)
    assert lost(Target(Kind.NODE, BOB.id), record) == []
    assert lost(Target(Kind.AUTHORITY, fingerprint(OURS.root.certificate)), record) == []


def test_a_group_that_reaches_over_an_end_is_judged_one_by_one() -> None:
    """The same leaf before and after its end: the first alone is a loss."""
    leaf = met(BOB)
    record = [
        msgspec.structs.replace(leaf, at_ms=(NOW_S + hours * 3600) * 1000)
        for hours in (0, 12, 23, 25, 48)
    ]
    assert lost(Target(Kind.NODE, BOB.id), record) == [0, 1, 2]


def test_groups_give_what_single_judgements_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """And few are made: two ends, twice, for each group."""
    again = [
        msgspec.structs.replace(each, at_ms=each.at_ms + 1000 * more)
        for each in RECORD
        for more in range(20)
    ]
    targets = [Target(Kind.NODE, BOB.id), Target(Kind.PARTNER, THEIRS.id)]
    for target in targets:
        now = without(BELIEVED, target)
        single = sorted(each.at_ms for each in again if judge(each, now) is not None)
        assert [each.handshake.at_ms for each in failures(again, target)] == single
    made = 0
    real = whatif.judge

    def counted(handshake: Handshake, believed: Believed) -> object:
        nonlocal made
        made += 1
        return real(handshake, believed)

    monkeypatch.setattr(whatif, "judge", counted)
    assert len(list(failures(again, targets[0]))) == 3 * 20
    assert made == 4 * len(RECORD)


def test_a_forged_certificate_is_found_in_the_replay() -> None:
    """Planted: the record says that a stranger's certificate held. The verifier is asked."""
    stranger = World("ours")
    forged = met(BOB, of=stranger)
    assert judge(forged, BELIEVED) is not None
    assert lost(Target(Kind.NODE, BOB.id), [forged]) == []


class TestKept:
    def admission(self, at_ms: int, peer: QuantumKeys = BOB) -> Admission:
        chain = [OURS.leaf(peer)] if peer is not BOB else [RECORD[0].chain[0]]
        return Admission(at_ms, "[::1]:1", ALPN_NODE, peer.id, OURS.id, False, chain)

    def test_what_is_kept_comes_back_after_a_restart(self, tmp_path: Path) -> None:
        file, own, at_ms = tmp_path / "h.sqlite", RECORD[0].own, NOW_S * 1000
        first = Handshakes(file)
        first.keep([self.admission(at_ms), self.admission(at_ms + 1)], 3, own, BELIEVED, at_ms)
        first.keep([], 2, own, BELIEVED, at_ms)
        first.close()
        again = Handshakes(file)
        found = again.all()
        assert found[0] == RECORD[0]
        assert [each.at_ms for each in found] == [at_ms, at_ms + 1]
        assert found[0].believed is found[1].believed, "one policy is one value"
        assert again.missed == 5
        assert [each.handshake for each in failures(found, Target(Kind.NODE, BOB.id))] == found
        again.close()

    def test_count_and_age_are_bounded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kept, "HANDSHAKES_MAX", 3)
        record = Handshakes(tmp_path / "h.sqlite")
        own, at_ms = RECORD[0].own, NOW_S * 1000
        record.keep([self.admission(at_ms, CAROL)], 0, own, BELIEVED, at_ms)
        record.keep([self.admission(at_ms + n) for n in range(1, 5)], 0, own, BELIEVED, at_ms)
        assert [each.at_ms - at_ms for each in record.all()] == [2, 3, 4]
        later = at_ms + 3 + AGE_MS_MAX
        record.keep([], 1, own, BELIEVED, later)
        assert [each.at_ms - at_ms for each in record.all()] == [3, 4]
        (shown,) = record._database.execute("SELECT count(*) FROM shown").fetchone()
        assert shown == 3, "bob's chain, the own leaf and the policy; carol's chain went with her"
        record.close()

    def test_a_file_that_is_none_is_said_so(self, tmp_path: Path) -> None:
        file = tmp_path / "h.sqlite"
        file.write_bytes(b"x" * 4096)
        with pytest.raises(HandshakesNotKept):
            Handshakes(file)
