"""A provider that dies in the middle of a lease, and one that comes back elsewhere."""

from __future__ import annotations

import time

import pytest

from hypermesh.sdk.mesh import Mesh
from hypermesh.sdk.region import ProviderLost
from hypermesh.wire.api.lease import SessionView
from hypermesh.wire.asset import AssetKind, LeaseState
from hypermesh.wire.errors import HyperMeshError, Unreachable

from .network import Network, eventually
from .test_leases import MIB, allocate, balance, lease_of

RESET_S = 15.0


def test_a_provider_killed_in_the_middle_is_named_and_its_lease_comes_to_an_end(
    shaken: Network,
) -> None:
    """The bytes are lost with the process. The consumer learns it from the first operation, and
    leases anew as soon as the provider is back."""
    asset = shaken.carol.asset(AssetKind.MEMORY)
    session = allocate(shaken.bob, asset.asset, MIB, 3_600_000)
    with shaken.bob.holding(session) as region:
        region.write(0, b"hello")
        shaken.carol.kill()
        shaken.carol.start()
        back = time.monotonic()
        with pytest.raises(Unreachable) as lost:
            eventually(lambda: region.read(0, 5) != b"hello", "the loss is noticed", 60)
        # A stateless reset says so; by itself QUIC would take half a minute.
        assert time.monotonic() - back < RESET_S
    assert shaken.carol.id.hex()[:16] in str(lost.value)
    assert lost.value.exit_code == 7

    # Restarted, carol holds nothing for this lease and says so; nobody is paid for it.
    with pytest.raises(HyperMeshError) as refused:
        shaken.bob.ask(lambda m: m.leases.release(session.lease))
    assert refused.value.code == "HM-ASSET-0004"
    assert "started anew" in refused.value.why
    assert "comes back by itself at 20" in refused.value.fix
    assert lease_of(shaken.bob, session.lease.lease).state is LeaseState.ACTIVE

    again = allocate(shaken.bob, asset.asset, MIB)
    assert shaken.bob.ask(lambda m: m.leases.release(again.lease)).state is LeaseState.SETTLED


def test_an_array_whose_provider_is_killed_names_it_and_its_refund_can_be_seen(
    shaken: Network,
) -> None:
    before = balance(shaken, shaken.bob)
    place = shaken.carol.asset_address
    with shaken.bob.mesh() as mesh:
        with pytest.raises(ProviderLost) as lost:
            _lose(shaken, mesh, place)
        error = lost.value
        assert (error.provider, error.provider_name) == (shaken.carol.id.hex(), "carol")
        assert f"carol ({error.provider[:16]})" in str(error)
        # The block ended with that error, and not with the settlement that failed after it.
        assert any("not settled" in note for note in error.__notes__)

        found = mesh.leases.get(error.lease).lease
        assert (found.state, found.refund) == (LeaseState.ACTIVE, None)
        assert balance(shaken, shaken.bob) == before - found.escrow


def _lose(network: Network, mesh: Mesh, place: str) -> None:
    with mesh.memory.lease("1MiB", address=place).numpy("int64") as array:
        array[:100] = range(100)
        network.carol.kill()
        network.carol.start()
        # Until the loss is noticed nothing is answered, rather than zeros.
        eventually(lambda: list(array[:100]) != list(range(100)), "the loss is noticed", 60)


def test_a_provider_that_died_is_named_to_whoever_would_lease(shaken: Network) -> None:
    asset = shaken.carol.asset(AssetKind.MEMORY)
    shaken.carol.kill()
    with pytest.raises(Unreachable) as refused:
        allocate(shaken.alice, asset.asset, MIB)
    assert shaken.carol.id.hex()[:16] in str(refused.value)
    shaken.carol.start()
    session = eventually(lambda: _leased(shaken, asset.asset), "carol lends again", 40)
    shaken.alice.ask(lambda m: m.leases.release(session.lease))


def _leased(network: Network, asset: str) -> SessionView | None:
    try:
        return allocate(network.alice, asset, MIB)
    except Unreachable:
        return None


def test_a_node_that_comes_back_at_another_port_is_found(shaken: Network) -> None:
    """Its peers notice that nobody answers at the old place and ask the sequencer."""
    asset = shaken.carol.asset(AssetKind.MEMORY)
    shaken.carol.stop()
    shaken.carol.start(stoq_port=0)
    session = eventually(lambda: _leased(shaken, asset.asset), "carol lends again", 40)
    with shaken.alice.holding(session, keep=False) as region:
        region.write(0, b"moved")
        assert region.read(0, 5) == b"moved"
    assert lease_of(shaken.alice, session.lease.lease).state is LeaseState.SETTLED


def test_the_sequencer_too_may_come_back_at_another_port(shaken: Network) -> None:
    shaken.alice.stop()
    shaken.alice.start(stoq_port=0)
    shaken.alice.asset(AssetKind.MEMORY)
    eventually(lambda: shaken.await_agreed(40), "bob and carol follow again", 60)
    session = allocate(shaken.bob, shaken.carol.asset(AssetKind.MEMORY).asset, MIB)
    shaken.bob.ask(lambda m: m.leases.release(session.lease))


@pytest.mark.long
def test_the_escrow_returns_when_a_dead_provider_cannot_claim(shaken: Network) -> None:
    """A minute after the lease's end, by the ledger alone."""
    before = balance(shaken, shaken.bob)
    session = allocate(shaken.bob, shaken.carol.asset(AssetKind.MEMORY).asset, MIB, 1000)
    shaken.carol.kill()
    lease = session.lease.lease
    eventually(lambda: lease_of(shaken.bob, lease).state is LeaseState.ENDED, "it ends", 15)
    assert balance(shaken, shaken.bob) == before - session.lease.escrow
    eventually(lambda: lease_of(shaken.bob, lease).state is LeaseState.EXPIRED, "it expires", 75)
    expired = lease_of(shaken.bob, lease)
    assert (expired.refund, expired.paid, expired.fee) == (session.lease.escrow, 0, 0)
    assert balance(shaken, shaken.bob) == before
