from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import msgspec
import pytest

from hypermesh.assets import hosting, provider
from hypermesh.assets.hosting import Hosted, HostedAssets, HostingDamaged, HostingFull
from hypermesh.wire.asset import Audience, PrivacyLevel
from hypermesh.wire.errors import InvalidInput

from .samples import PRICE, memory, shared


def record(number: int = 0, **changes: object) -> Hosted:
    made = provider.hosted(
        b"o" * 32,
        memory(),
        PRICE,
        level=PrivacyLevel.P2P,
        audience=Audience(nodes=[b"n" * 32]),
        concurrent_max=4,
        duration_ms_max=1000,
        randomness=bytes([number]) * 48,
    )
    return shared(made, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hosted-assets"


def test_records_are_there_after_a_restart_in_order(path: Path) -> None:
    store = HostedAssets(path)
    records = [record(number) for number in range(5)]
    for each in records:
        store.put(each)
    again = HostedAssets(path)
    assert list(again) == sorted(records, key=lambda each: each.asset)
    assert len(again) == 5
    assert again.get(records[3].asset) == records[3]
    assert again.get(b"?" * 16) is None


def test_a_record_is_replaced_not_doubled(path: Path) -> None:
    store = HostedAssets(path)
    store.put(record())
    changed = record(concurrent_max=9)
    store.put(changed)
    assert list(HostedAssets(path)) == [changed]


def test_only_the_user_of_the_node_reads_the_salts(path: Path) -> None:
    HostedAssets(path).put(record())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = HostedAssets(path)
    store.put(record(1))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.put(record(2))
    monkeypatch.undo()
    assert list(store) == list(HostedAssets(path)) == [record(1)]
    store.put(record(2))
    assert len(HostedAssets(path)) == 2


@pytest.mark.parametrize("damage", [b"", b"\x90\x00", b"\xc1", b"not msgpack"])
def test_a_damaged_file_is_an_error_with_its_path(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    with pytest.raises(HostingDamaged, match="hosted-assets"):
        HostedAssets(path)


def test_a_truncated_file_is_damaged(path: Path) -> None:
    HostedAssets(path).put(record())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(HostingDamaged):
        HostedAssets(path)


def test_what_could_not_be_read_again_is_not_written(path: Path) -> None:
    store = HostedAssets(path)
    store.put(record(1))
    with pytest.raises(InvalidInput):
        store.put(record(2, audience=Audience(nodes=[b"n" * 32] * 257)))
    assert list(HostedAssets(path)) == [record(1)]


def test_the_records_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "HOSTED_MAX", 2)
    store = HostedAssets(path)
    store.put(record(1))
    store.put(record(2))
    with pytest.raises(HostingFull):
        store.put(record(3))
    store.put(record(2, concurrent_max=7))


def test_the_largest_records_fit_the_file() -> None:
    largest = record(audience=Audience(nodes=[b"n" * 32] * 256, networks=[b"g" * 32] * 64))
    detail = [("n" * 64, "v" * 256)] * 64
    largest = msgspec.structs.replace(
        largest, descriptor=msgspec.structs.replace(largest.descriptor, detail=detail)
    )
    assert len(msgspec.msgpack.encode(largest)) * hosting.HOSTED_MAX < hosting.FILE_BYTES_MAX
