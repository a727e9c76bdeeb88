"""The store of an authority, in a file and in a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import overload

import pytest
from tests.postgresql.fixtures import STORES, place_of

from hypermesh.trustchain.ca.audit import Entry
from hypermesh.trustchain.ca.store import CertificateStore, Kept, Recording

from .companies import NOW, store_in


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CertificateStore]:
    opened = store_in(tmp_path, place_of(request))
    yield opened
    opened.close()


def act(kind: str) -> Entry:
    return Entry(NOW, "tester", kind, "", b"")


def draft(number: int) -> Kept:
    return Kept(
        request=number.to_bytes(32, "big"),
        serial=(1 << 152) + number,
        issuer=bytes(20),
        kind="service",
        requester="tester",
        holder=bytes(32),
        names=(f"dns:{number}.example.internal",),
        issued_s=NOW,
        not_before_s=NOW,
        not_after_s=NOW + 1,
        draft=b"draft",
    )


class Interrupted(Sequence[str]):
    """Kinds; `meanwhile` happens when one asks for the second."""

    def __init__(self, meanwhile: Callable[[], None], *kinds: str) -> None:
        self._meanwhile = meanwhile
        self._kinds = kinds

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        return self._kinds[place]

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[str]:
        for number, kind in enumerate(self._kinds):
            if number == 1:
                self._meanwhile()
            yield kind


def test_acts_are_told_up_to_a_number_and_none_is_left_out(store: CertificateStore) -> None:
    """Rows that come while others are looked for: an answer that has the later one of another kind
    and not the earlier one would leave that untold for good."""

    def meanwhile() -> None:
        for kind in ("ca.first", "ca.other", "ca.second"):
            store.append(act(kind))

    kinds = Interrupted(meanwhile, "ca.first", "ca.second")
    found = [row.entry.kind for row in store.untold(kinds, 10)]
    assert found in ([], ["ca.first"], ["ca.first", "ca.second"])
    (first, second) = store.untold(("ca.second", "ca.first"), 10)
    assert (first.number, second.number) == (1, 3)
    assert store.untold(("ca.second", "ca.first"), 1) == [first]
    store.told([(1, 0)])
    assert store.untold(("ca.first", "ca.second"), 10) == [second]
    assert store.untold((), 10) == []


def test_what_is_decided_and_recorded_first_stands(store: CertificateStore) -> None:
    drafts = [draft(number) for number in range(300)]
    assert store.decide([*drafts, *drafts[:2]]) == [*drafts, *drafts[:2]]
    first, second = Recording(b"first", 7, 8, b"sct"), Recording(b"second", 9, 10, b"sct")
    serial = drafts[0].serial
    for _ in range(2):
        recorded = store.complete([(serial, first), (serial, second)], NOW)
        assert [each.recording for each in recorded] == [first, first]
    assert store.by_serial(serial) == recorded[0]
    assert [each.entry.subject for each in store.audit(0, 10)] == [f"{serial:x}"]
    assert store.decide([drafts[0]]) == [recorded[0]]
    assert store.find([each.request for each in drafts]) == {
        each.request: recorded[0] if each.serial == serial else each for each in drafts
    }
    assert store.unrecorded(1000) == drafts[1:]
