"""Registration, states and privacy on the ledger: what is accepted, and every refusal."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from hypermesh.assets import address, provider, registry
from hypermesh.assets.hosting import Hosted
from hypermesh.assets.registry import (
    ASSETS,
    TRANSITIONS,
    AssetExists,
    AssetIdMismatch,
    Cause,
    DisclosureMismatch,
    HostGone,
    NotAHost,
    NotTheOwner,
    TooManyAssets,
    TransitionRefused,
    UnknownAsset,
)
from hypermesh.consensus.attestation import ProofsRefused
from hypermesh.ledger.module import Refusal
from hypermesh.wire.asset import (
    Asset,
    AssetKind,
    AssetState,
    Audience,
    Price,
    PrivacyLevel,
)
from hypermesh.wire.codec import decode
from hypermesh.wire.ids import ZERO_HASH
from hypermesh.wire.tx import AssetRegister, AssetSetState

from .network import GENESIS_ID, Network
from .samples import PRICE, memory, privacy_change, shared

AUDIENCE = Audience(nodes=[b"n" * 32])


def record(
    network: Network, level: PrivacyLevel = PrivacyLevel.FULL_PUBLIC, number: int = 0
) -> Hosted:
    return provider.hosted(
        network.alice_owner,
        memory(1000),
        PRICE,
        level=level,
        audience=AUDIENCE,
        concurrent_max=2,
        duration_ms_max=60_000,
        randomness=bytes([number]) * 48,
    )


def registered(network: Network, level: PrivacyLevel = PrivacyLevel.FULL_PUBLIC) -> bytes:
    made = record(network, level)
    network.execute(provider.registration(made), network.alice)
    return made.asset


def body(network: Network, level: PrivacyLevel, **changes: object) -> AssetRegister:
    made = provider.registration(record(network, level))
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize("level", PrivacyLevel)
def test_registration_shows_what_its_level_wants_and_no_more(
    network: Network, level: PrivacyLevel
) -> None:
    asset_id = registered(network, level)
    asset = registry.existing(network.state, asset_id)
    assert (asset.owner, asset.host) == (network.alice_owner, network.alice)
    assert (asset.state, asset.level, asset.slot) == (AssetState.AVAILABLE, level, 1)
    public = level is PrivacyLevel.FULL_PUBLIC
    assert (asset.descriptor is not None, asset.price is not None, bool(asset.salt)) == (
        public,
    ) * 3
    assert (asset.audience_hash == ZERO_HASH) is (level not in address.NAMED_AUDIENCE)
    event = network.context.events[-1]
    assert (event.name, event.subject) == ("asset.registered", asset_id)
    assert decode(Asset, event.data) == asset


def test_nothing_of_the_descriptor_is_in_the_state_below_full_public(network: Network) -> None:
    made = record(network, PrivacyLevel.P2P, number=77)
    network.execute(provider.registration(made), network.alice)
    rows = b"".join(value or b"" for value in network.state.writes.values())
    assert made.salt not in rows
    assert b"share" not in rows


def test_the_same_asset_is_registered_once(network: Network) -> None:
    registered(network)
    with pytest.raises(AssetExists):
        registered(network)


@pytest.mark.parametrize(
    "changes",
    [
        {"asset": b"x" * 16},
        {"kind": AssetKind.CPU},
        {"id_nonce": b"x" * 16},
        {"commitment": b"x" * 32},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_id_that_does_not_follow_is_refused(
    network: Network, changes: dict[str, object]
) -> None:
    with pytest.raises(AssetIdMismatch):
        network.execute(body(network, PrivacyLevel.PRIVATE, **changes), network.alice)


def test_the_id_binds_the_owner(network: Network) -> None:
    with pytest.raises(AssetIdMismatch):
        network.execute(
            provider.registration(record(network)), network.bob, network.bundle(network.bob)
        )


DISCLOSED_BELOW = [
    {"descriptor": memory(1000)},
    {"salt": b"\x00" * 16},
    {"price": PRICE},
]


@pytest.mark.parametrize("changes", DISCLOSED_BELOW, ids=lambda changes: next(iter(changes)))
@pytest.mark.parametrize("level", [each for each in PrivacyLevel if each != "full_public"])
def test_below_full_public_nothing_is_disclosed(
    network: Network, level: PrivacyLevel, changes: dict[str, object]
) -> None:
    with pytest.raises(DisclosureMismatch):
        network.execute(body(network, level, **changes), network.alice)


@pytest.mark.parametrize(
    "changes",
    [
        {"descriptor": None},
        {"price": None},
        {"salt": b""},
        {"salt": b"\x01" * 16},
        {"descriptor": memory(1001)},
        {"descriptor": msgspec.structs.replace(memory(1000), kind=AssetKind.CPU)},
        {"audience_hash": b"x" * 32},
    ],
)
def test_at_full_public_all_is_disclosed_and_fits(
    network: Network, changes: dict[str, object]
) -> None:
    with pytest.raises(DisclosureMismatch):
        network.execute(body(network, PrivacyLevel.FULL_PUBLIC, **changes), network.alice)


@pytest.mark.parametrize("level", PrivacyLevel)
def test_an_audience_is_committed_to_exactly_where_there_is_one(
    network: Network, level: PrivacyLevel
) -> None:
    named = level in address.NAMED_AUDIENCE
    with pytest.raises(DisclosureMismatch):
        network.execute(
            body(network, level, audience_hash=ZERO_HASH if named else b"x" * 32), network.alice
        )


def test_only_a_node_registers(network: Network) -> None:
    with pytest.raises(NotAHost):
        network.execute(provider.registration(record(network)), network.alice_owner)


def test_registration_needs_the_attestation_of_the_host_itself(network: Network) -> None:
    made = provider.registration(record(network))
    for attestation in (b"", b"?" * 32, network.bundle(network.bob)):
        with pytest.raises(ProofsRefused) as refused:
            network.execute(made, network.alice, attestation)
        assert refused.value.failures
    network.lapse(network.alice)
    with pytest.raises(ProofsRefused):
        network.execute(made, network.alice)


def test_slots_of_a_host_rise_and_lead_back_from_the_ipv6_view(network: Network) -> None:
    ids = []
    for number in range(3):
        made = record(network, number=number)
        network.execute(provider.registration(made), network.alice)
        ids.append(made.asset)
    assets = [registry.existing(network.state, asset_id) for asset_id in ids]
    assert [asset.slot for asset in assets] == [1, 2, 3]
    for asset_id, asset in zip(ids, assets, strict=True):
        view = address.ipv6_view(GENESIS_ID, asset.host, asset_id, asset.slot)
        assert registry.resolve(network.state, GENESIS_ID, view) == [asset_id]
    free = address.ipv6_view(GENESIS_ID, network.alice, ids[0], 4)
    assert registry.resolve(network.state, GENESIS_ID, free) == []
    elsewhere = address.ipv6_view(b"\x02" * 32, network.alice, ids[0], 1)
    assert registry.resolve(network.state, GENESIS_ID, elsewhere) == []


def test_an_owner_has_a_bounded_number_of_assets(network: Network) -> None:
    registry._OWNERS.put(network.state, network.alice_owner, registry.ASSETS_PER_OWNER_MAX - 1)
    registered(network)
    with pytest.raises(TooManyAssets):
        network.execute(provider.registration(record(network, number=1)), network.alice)


def test_a_host_has_a_slot_for_every_asset_or_takes_none(network: Network) -> None:
    registry._HOSTS.put(network.state, network.alice, registry.ASSETS_PER_HOST_MAX - 1)
    asset_id = registered(network)
    assert registry.existing(network.state, asset_id).slot == 65_535
    with pytest.raises(TooManyAssets):
        network.execute(provider.registration(record(network, number=1)), network.alice)


# -- states ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), list(itertools.product(AssetState, AssetState)))
def test_every_pair_of_states(network: Network, before: AssetState, after: AssetState) -> None:
    asset_id = registered(network, PrivacyLevel.PRIVATE)
    asset = registry.existing(network.state, asset_id)
    full = asset.concurrent_max if before is AssetState.ALLOCATED else 0
    ASSETS.put(network.state, asset_id, msgspec.structs.replace(asset, state=before, leases=full))
    step = AssetSetState(asset_id, after)
    if TRANSITIONS.get((before, after)) is Cause.OWNER:
        network.execute(step, network.alice)
        assert registry.existing(network.state, asset_id).state is after
        assert network.context.events[-1].name == "asset.state"
    else:
        with pytest.raises(TransitionRefused, match=f"{before} to {after}"):
            network.execute(step, network.alice)
        assert registry.existing(network.state, asset_id).state is before


def test_the_table_keeps_its_promises() -> None:
    owner = {pair for pair, cause in TRANSITIONS.items() if cause is Cause.OWNER}
    assert not [pair for pair in owner if pair[1] is AssetState.ALLOCATED], "only leases allocate"
    assert not [pair for pair in TRANSITIONS if pair[0] == pair[1]]
    assert (AssetState.FAILED, AssetState.AVAILABLE) not in TRANSITIONS
    reached, more = {AssetState.AVAILABLE}, True
    while more:
        grown = reached | {after for before, after in TRANSITIONS if before in reached}
        more, reached = grown != reached, grown
    assert reached == set(AssetState)
    assert {before for before, _ in TRANSITIONS} == set(AssetState), "no state is a trap"


def test_a_full_asset_returns_to_service_as_allocated(network: Network) -> None:
    asset_id = registered(network, PrivacyLevel.PRIVATE)
    for _ in range(2):
        registry.take(network.state, asset_id, 10)
    for state in (AssetState.SUSPENDED, AssetState.AVAILABLE):
        network.execute(AssetSetState(asset_id, state), network.alice)
    assert registry.existing(network.state, asset_id).state is AssetState.ALLOCATED
    registry.give_back(network.state, asset_id, 10)
    assert registry.existing(network.state, asset_id).state is AssetState.AVAILABLE


def test_any_signer_of_the_owner_changes_an_asset_and_nobody_else(network: Network) -> None:
    asset_id = registered(network)
    step = AssetSetState(asset_id, AssetState.SUSPENDED)
    for stranger in (network.bob, network.bob_owner, network.carol_owner):
        with pytest.raises(NotTheOwner):
            network.execute(step, stranger)
    network.execute(step, network.second)
    network.execute(AssetSetState(asset_id, AssetState.AVAILABLE), network.alice_owner)


def test_a_change_needs_the_hosts_attestation_whoever_signs(network: Network) -> None:
    asset_id = registered(network)
    step = AssetSetState(asset_id, AssetState.SUSPENDED)
    with pytest.raises(ProofsRefused):
        network.execute(step, network.second, network.bundle(network.second))
    network.lapse(network.alice)
    with pytest.raises(ProofsRefused):
        network.execute(step, network.alice_owner)


def test_an_asset_on_a_revoked_host_stays_as_it_is(network: Network) -> None:
    made = record(network)
    network.execute(provider.registration(made), network.alice)
    network.revoke(network.alice)
    for step in (AssetSetState(made.asset, AssetState.SUSPENDED), privacy_change(made)):
        with pytest.raises(HostGone):
            network.execute(step, network.alice_owner)


def test_an_unknown_asset(network: Network) -> None:
    with pytest.raises(UnknownAsset):
        network.execute(AssetSetState(b"?" * 16, AssetState.SUSPENDED), network.alice)


# -- privacy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), list(itertools.product(PrivacyLevel, PrivacyLevel)))
def test_every_change_of_level(network: Network, before: PrivacyLevel, after: PrivacyLevel) -> None:
    made = record(network, before)
    network.execute(provider.registration(made), network.alice)
    changed = shared(
        made,
        level=after,
        audience=Audience(nodes=[b"m" * 32]),
        price=Price(9, 1, 1),
        salt=b"z" * 16,
    )
    network.execute(privacy_change(changed), network.alice)
    asset = registry.existing(network.state, made.asset)
    assert (asset.level, asset.revision) == (after, 1)
    public = after is PrivacyLevel.FULL_PUBLIC
    assert asset.descriptor == (made.descriptor if public else None)
    assert asset.price == (Price(9, 1, 1) if public else None)
    assert asset.audience_hash == address.audience_hash(after, b"z" * 16, changed.sharing.audience)
    assert network.context.events[-1].name == "asset.privacy"


def test_another_descriptor_cannot_slip_in_when_an_asset_goes_public(network: Network) -> None:
    made = record(network, PrivacyLevel.PRIVATE)
    network.execute(provider.registration(made), network.alice)
    grown = msgspec.structs.replace(
        shared(made, level=PrivacyLevel.FULL_PUBLIC), descriptor=memory(10**9)
    )
    with pytest.raises(DisclosureMismatch):
        network.execute(privacy_change(grown), network.alice)


def test_only_the_owner_changes_the_level(network: Network) -> None:
    made = record(network)
    network.execute(provider.registration(made), network.alice)
    with pytest.raises(NotTheOwner):
        network.execute(privacy_change(made), network.bob)


def test_going_public_with_more_committed_than_there_is_shows_as_allocated(
    network: Network,
) -> None:
    made = record(network, PrivacyLevel.PRIVATE)
    network.execute(provider.registration(made), network.alice)
    registry.take(network.state, made.asset, 1001)
    public = shared(made, level=PrivacyLevel.FULL_PUBLIC)
    network.execute(privacy_change(public), network.alice)
    assert registry.existing(network.state, made.asset).state is AssetState.ALLOCATED


def test_refusals_have_codes_of_their_own() -> None:
    codes = [
        each.code
        for each in vars(registry).values()
        if isinstance(each, type) and issubclass(each, Refusal) and each is not Refusal
    ]
    assert len(codes) == len(set(codes)) == 9
    assert all(code.startswith("HM-TX-ASSET-") for code in codes)
