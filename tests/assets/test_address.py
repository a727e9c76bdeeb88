from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypermesh.assets import address
from hypermesh.wire.address import GlobalAddress
from hypermesh.wire.asset import AssetKind, Audience, Descriptor, Enforcement, PrivacyLevel
from hypermesh.wire.ids import ZERO_HASH

OWNER, HOST, GENESIS = b"o" * 32, b"h" * 32, b"g" * 32
SALT, NONCE = b"s" * 16, b"n" * 16
MEMORY = Descriptor(AssetKind.MEMORY, 4096, Enforcement.ALLOCATION, [("share", "3333")])


def test_a_commitment_hides_behind_its_salt_and_binds_the_descriptor() -> None:
    committed = address.commitment(SALT, MEMORY)
    assert committed != address.commitment(b"t" * 16, MEMORY)
    larger = Descriptor(AssetKind.MEMORY, 4097, Enforcement.ALLOCATION, [("share", "3333")])
    assert committed != address.commitment(SALT, larger)


@given(st.sampled_from(["owner", "kind", "commitment", "nonce"]))
def test_an_asset_id_follows_from_all_four(changed: str) -> None:
    base = {"owner": OWNER, "kind": AssetKind.MEMORY, "commitment": b"c" * 32, "nonce": NONCE}
    other = {"owner": b"p" * 32, "kind": AssetKind.CPU, "commitment": b"d" * 32, "nonce": b"m" * 16}

    def made(parts: dict[str, object]) -> bytes:
        return address.asset_id(*parts.values())  # type: ignore[arg-type]

    assert made(base) == made(dict(base))
    assert made(base) != made(base | {changed: other[changed]})


def test_an_asset_id_is_a_uuid_of_version_8() -> None:
    made = uuid.UUID(bytes=address.asset_id(OWNER, AssetKind.CPU, b"c" * 32, NONCE))
    assert (made.version, made.variant) == (8, uuid.RFC_4122)


@pytest.mark.parametrize("level", PrivacyLevel)
def test_only_levels_with_a_list_commit_to_one(level: PrivacyLevel) -> None:
    hashed = address.audience_hash(level, SALT, Audience(nodes=[HOST]))
    named = level not in (PrivacyLevel.PRIVATE, PrivacyLevel.FULL_PUBLIC)
    assert (hashed != ZERO_HASH) is named


@pytest.mark.parametrize("kind", AssetKind)
def test_every_kind_has_addresses_of_its_asset_and_host(kind: AssetKind) -> None:
    asset = address.asset_id(OWNER, kind, b"c" * 32, NONCE)
    found = address.addresses(GENESIS, HOST, asset, kind)
    assert [each.service_port for each in found] == sorted({each.service_port for each in found})
    for each in found:
        assert (each.node_id, each.asset_id) == (HOST[:8], asset)
        assert GlobalAddress.parse(str(each)) == each
    assert address.address(GENESIS, HOST, asset, kind) == found[-1]


def test_memory_and_cpu_are_reached_at_services_of_their_own() -> None:
    ports = {
        kind: address.address(GENESIS, HOST, b"a" * 16, kind).service_port
        for kind in (AssetKind.MEMORY, AssetKind.CPU, AssetKind.GPU)
    }
    assert len(set(ports.values())) == 3


def test_the_ipv6_view_holds_prefix_node_and_slot() -> None:
    view = address.ipv6_view(GENESIS, HOST, b"a" * 16, 513).packed
    assert view == b"\xfd" + GENESIS[:5] + b"\x00\x00" + HOST[:6] + b"\x02\x01"
