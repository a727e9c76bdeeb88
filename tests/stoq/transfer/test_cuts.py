"""A transfer that is cut at any byte goes on from there, and its file arrives once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stoq.network import Network, eventually

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.delivery import verify_proof
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.transfer.errors import AlreadyComing
from hypermesh.stoq.transfer.progress import Progress
from hypermesh.wire.delivery import DeliveryProof
from hypermesh.wire.errors import HyperMeshError

from .cutting import Relay
from .ends import Giving, Moved, Taking, noise, numbers

SIZE = 6 << 20


@pytest.fixture
def relay(
    taking: Taking, network: Network, alice_keys: QuantumKeys, bob_keys: QuantumKeys
) -> Iterator[Relay]:
    with (
        Endpoint.bind(policy=network.policy, identity=network.identity(alice_keys)) as facing,
        Endpoint.bind(policy=network.policy, identity=network.identity(bob_keys)) as onward,
        Relay(facing, onward, taking.endpoint.address, alice_keys.id).running() as relay,
    ):
        yield relay


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(noise(SIZE))
    return path


def attempt(
    relay: Relay,
    bob: Endpoint,
    giving: Giving,
    sent: Path,
    transfer: bytes,
    moved: Moved,
) -> DeliveryProof | None:
    """The proof, or None where it was cut."""

    def once() -> DeliveryProof | bool | None:
        with relay.dial(bob) as connection:
            try:
                through = Giving(connection, giving.genesis, giving.keys, giving.since_ms)
                return through.send(sent, transfer, moved)
            except AlreadyComing:
                # The other end has not seen the cut yet.
                return None
            except HyperMeshError:
                return False

    return eventually(once, "the receiver lets go of the attempt before") or None


@pytest.mark.parametrize("seed", range(8))
def test_cut_at_random_bytes(
    relay: Relay, bob: Endpoint, giving: Giving, taking: Taking, sent: Path, seed: int
) -> None:
    chance = numbers(seed)
    transfer = noise(16, seed)
    proof = None
    for _ in range(1 + chance(4)):
        back = (1 << 60, chance(9_000))[chance(2)]
        relay.cut_after(chance(SIZE + 20_000), back)
        proof = proof or attempt(relay, bob, giving, sent, transfer, Moved())
    relay.cut_after(1 << 60, 1 << 60)
    last = attempt(relay, bob, giving, sent, transfer, Moved())
    assert last is not None
    assert proof is None or proof.delivery == last.delivery
    verify_proof(last)
    assert [each.name for _, each in taking.store.newest(1 << 60, 10)] == ["data.bin"]
    assert (taking.store.directory / "data.bin").read_bytes() == sent.read_bytes()
    arrived = taking.store.arrived(transfer)
    assert arrived is not None
    assert arrived.sender_signature is not None


def test_what_came_before_the_cut_is_not_sent_again(
    relay: Relay, bob: Endpoint, giving: Giving, sent: Path
) -> None:
    relay.cut_after(SIZE * 2 // 3, 1 << 60)
    assert attempt(relay, bob, giving, sent, bytes(16), Moved()) is None
    relay.cut_after(1 << 60, 1 << 60)
    moved = Moved()
    # Another transfer of the same file, as when the same command is given again.
    assert attempt(relay, bob, giving, sent, bytes(15) + b"x", moved) is not None
    assert moved.last == Progress(SIZE, SIZE, moved.last.moved)
    # What the receiver had read of the stream; the rest was on its way.
    assert moved.last.moved < SIZE


def test_cut_before_the_last_word_leaves_one_file_and_the_same_proof(
    relay: Relay, bob: Endpoint, giving: Giving, taking: Taking, sent: Path
) -> None:
    relay.cut_after(1 << 60, 1 << 60)
    first = attempt(relay, bob, giving, sent, bytes(16), Moved())
    assert first is not None
    back = relay.back.passed
    # All but the last bytes of the answers: the file is there, the sender does not know it.
    relay.cut_after(1 << 60, back - 20)
    other = bytes(15) + b"x"
    assert attempt(relay, bob, giving, sent, other, Moved()) is None
    relay.cut_after(1 << 60, 1 << 60)
    assert attempt(relay, bob, giving, sent, other, Moved()) is not None
    assert len(taking.store.newest(1 << 60, 10)) == 2
