"""Readings are kept for receipts, and none is given out that is not what was signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypermesh.crypto.digest import digest_of
from hypermesh.node import readings
from hypermesh.node.readings import Readings
from hypermesh.wire.codec import encode
from hypermesh.wire.reading import MeterReading

LEASE = b"l" * 32
READING = MeterReading(1_000, 20, 3, 4, 5)
EVIDENCE = digest_of("meter", READING)


def test_a_reading_is_there_after_a_restart(tmp_path: Path) -> None:
    Readings(tmp_path / "r").put(LEASE, READING)
    assert Readings(tmp_path / "r").get(LEASE, EVIDENCE) == encode(READING)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", encode(MeterReading(1_001, 20, 3, 4, 5)), b"x" * 100_000]
)
def test_what_is_damaged_or_another_reading_is_none(tmp_path: Path, data: bytes) -> None:
    kept = Readings(tmp_path)
    kept.put(LEASE, READING)
    (tmp_path / LEASE.hex()).write_bytes(data)
    assert kept.get(LEASE, EVIDENCE) is None
    assert kept.get(b"m" * 32, EVIDENCE) is None


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "READINGS_MAX", 3)
    kept = Readings(tmp_path)
    leases = [bytes([number]) * 32 for number in range(5)]
    for lease in leases:
        kept.put(lease, READING)
    found = [kept.get(lease, EVIDENCE) is not None for lease in leases]
    assert found == [False, False, True, True, True]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_disk_that_takes_nothing_ends_no_lease(tmp_path: Path) -> None:
    kept = Readings(tmp_path / "r")
    (tmp_path / "r").rmdir()
    kept.put(LEASE, READING)
    assert kept.get(LEASE, EVIDENCE) is None
