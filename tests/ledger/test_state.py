"""The overlay against a model that copies everything at each savepoint."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hypermesh.ledger.state import MemoryBase, Overlay
from hypermesh.ledger.tree import changes

BASE = dict.fromkeys((b"a", b"a/1", b"a/2", b"b/1", b"b/3", b"c"), b"base")
KEYS = st.sampled_from([b"a", b"a/1", b"a/2", b"a/3", b"b", b"b/1", b"b/2", b"b/3", b"c", b"d"])
PREFIXES = st.sampled_from([b"", b"a", b"a/", b"b/", b"b/2", b"e"])


def based() -> MemoryBase:
    base = MemoryBase()
    base.take(changes(base, BASE))
    return base


class OverlayMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.overlay = Overlay(based())
        self.model = dict(BASE)
        self.savepoints: list[tuple[int, dict[bytes, bytes]]] = []

    @rule(key=KEYS, value=st.binary(max_size=2))
    def put(self, key: bytes, value: bytes) -> None:
        self.overlay.put(key, value)
        self.model[key] = value

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        self.overlay.delete(key)
        self.model.pop(key, None)

    @rule()
    def savepoint(self) -> None:
        self.savepoints.append((self.overlay.savepoint(), dict(self.model)))

    @precondition(lambda self: self.savepoints)
    @rule()
    def roll_back(self) -> None:
        savepoint, self.model = self.savepoints.pop()
        self.overlay.roll_back(savepoint)

    @precondition(lambda self: self.savepoints)
    @rule()
    def keep(self) -> None:
        self.savepoints.pop()

    @rule(prefix=PREFIXES)
    def scan(self, prefix: bytes) -> None:
        expected = sorted(row for row in self.model.items() if row[0].startswith(prefix))
        assert list(self.overlay.scan(prefix)) == expected

    @invariant()
    def reads_agree(self) -> None:
        for key in (b"a", b"a/3", b"b/1", b"d"):
            assert self.overlay.get(key) == self.model.get(key)


TestOverlay = OverlayMachine.TestCase
TestOverlay.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_scan_shows_the_rows_that_were_there_when_it_began() -> None:
    overlay = Overlay(based())
    overlay.put(b"a/5", b"mine")
    seen = []
    for key, value in overlay.scan(b"a/"):
        seen.append((key, value))
        overlay.delete(key)
        overlay.put(b"a/9" + key, b"later")
    assert seen == [(b"a/1", b"base"), (b"a/2", b"base"), (b"a/5", b"mine")]


def test_overlays_lie_upon_overlays() -> None:
    block = Overlay(based())
    block.put(b"a/1", b"block")
    transaction = Overlay(block)
    transaction.delete(b"a/1")
    transaction.put(b"a/7", b"tx")
    assert list(transaction.scan(b"a/")) == [(b"a/2", b"base"), (b"a/7", b"tx")]
    assert block.get(b"a/1") == b"block"
    assert dict(transaction.writes) == {b"a/1": None, b"a/7": b"tx"}
