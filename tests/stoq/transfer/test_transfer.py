"""Files from one endpoint to another."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from tests.stoq.network import Network

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.delivery import verify_proof
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.transfer.errors import FileTooLarge, NotAFile
from hypermesh.stoq.transfer.progress import Progress
from hypermesh.wire.ids import OwnerId
from hypermesh.wire.transfer import Offer

from .ends import TRANSFER, Giving, Moved, Taking, noise


def names(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


@pytest.mark.parametrize("size", [0, 1, 16_384, 1 << 20, (3 << 20) + 7])
def test_a_file_arrives_and_both_ends_keep_what_shows_it(
    giving: Giving, taking: Taking, tmp_path: Path, size: int
) -> None:
    sent = tmp_path / "data.bin"
    sent.write_bytes(noise(size))
    proof = giving.send(sent)
    assert (taking.store.directory / "data.bin").read_bytes() == sent.read_bytes()
    verify_proof(proof)
    arrived = taking.store.arrived(TRANSFER)
    assert arrived is not None
    assert arrived.delivery == proof.delivery
    assert arrived.sender_signature == proof.sender_signature
    assert arrived.receiver_signature == proof.receiver_signature
    assert proof.delivery.size == size
    assert not taking.failures
    left = names(taking.store.directory / ".arriving")
    assert all(each.startswith("index.sqlite") for each in left), left


def test_a_file_of_several_pages_in_bounded_steps(
    giving: Giving, taking: Taking, tmp_path: Path
) -> None:
    sent = tmp_path / "large.bin"
    sent.write_bytes(noise(150 << 20))
    moved = Moved()
    giving.send(sent, watcher=moved)
    assert moved.last == Progress(150 << 20, 150 << 20, 150 << 20)
    assert (taking.store.directory / "large.bin").read_bytes() == sent.read_bytes()


def test_what_the_receiver_has_is_not_sent_again(
    giving: Giving, taking: Taking, tmp_path: Path
) -> None:
    before = noise(20 << 20)
    sent = tmp_path / "data.bin"
    sent.write_bytes(before)
    giving.send(sent)
    sent.write_bytes(before[: 7 << 20] + b"!" + before[7 << 20 :])
    moved = Moved()
    giving.send(sent, secrets.token_bytes(16), moved)
    assert moved.last.done == len(before) + 1
    assert moved.last.moved < 1 << 20
    assert (taking.store.directory / "data (2).bin").read_bytes() == sent.read_bytes()


def test_what_another_owner_sent_is_sent_again(
    giving: Giving, taking: Taking, network: Network, alice_keys: QuantumKeys, tmp_path: Path
) -> None:
    """Else the answer would tell who has a file that others have sent here."""
    sent = tmp_path / "data.bin"
    sent.write_bytes(noise(5 << 20))
    giving.send(sent)
    keys = QuantumKeys.generate()
    with (
        Endpoint.bind(policy=network.policy, identity=network.identity(keys)) as carol,
        carol.connect(*taking.endpoint.address, peer=alice_keys.id) as connection,
    ):
        moved = Moved()
        other = Giving(connection, network.genesis, keys)
        other.send(sent, secrets.token_bytes(16), moved)
    assert moved.last.moved == moved.last.done == 5 << 20


def test_repeated_content_is_sent_once(giving: Giving, taking: Taking, tmp_path: Path) -> None:
    sent = tmp_path / "zeros"
    sent.write_bytes(bytes(40 << 20))
    moved = Moved()
    giving.send(sent, watcher=moved)
    assert moved.last.moved == 256 << 10
    assert (taking.store.directory / "zeros").read_bytes() == bytes(40 << 20)


def test_a_file_that_arrived_does_not_arrive_twice(
    giving: Giving, taking: Taking, tmp_path: Path
) -> None:
    sent = tmp_path / "data.bin"
    sent.write_bytes(noise(1 << 20))
    first = giving.send(sent)
    second = giving.send(sent)
    assert second.delivery == first.delivery
    assert [each.name for _, each in taking.store.newest(1 << 60, 10)] == ["data.bin"]


def test_what_the_receiver_had_and_someone_changed_is_sent(
    giving: Giving, taking: Taking, tmp_path: Path
) -> None:
    sent = tmp_path / "data.bin"
    sent.write_bytes(noise(3 << 20))
    giving.send(sent)
    (taking.store.directory / "data.bin").write_bytes(bytes(3 << 20))
    moved = Moved()
    giving.send(sent, secrets.token_bytes(16), moved)
    assert moved.last.moved == 3 << 20
    assert (taking.store.directory / "data (2).bin").read_bytes() == sent.read_bytes()


def test_a_refusal_reaches_the_sender_as_its_own_error(
    giving: Giving, taking: Taking, tmp_path: Path
) -> None:
    def small(owner: OwnerId, offer: Offer) -> None:
        del owner
        if offer.size > 100:
            raise FileTooLarge("Too large", why="at most 100 bytes")

    taking.policy = small
    sent = tmp_path / "data.bin"
    sent.write_bytes(bytes(101))
    with pytest.raises(FileTooLarge, match="at most 100 bytes"):
        giving.send(sent)
    assert names(taking.store.directory) == {".arriving"}
    sent.write_bytes(bytes(100))
    giving.send(sent)


def test_a_file_that_changes_meanwhile_is_not_delivered(
    giving: Giving, taking: Taking, tmp_path: Path
) -> None:
    sent = tmp_path / "data.bin"
    sent.write_bytes(noise(80 << 20))

    def change(progress: Progress) -> None:
        if progress.done < 20 << 20:
            with sent.open("r+b") as file:
                file.seek(70 << 20)
                file.write(secrets.token_bytes(100))

    with pytest.raises(errors.FileChanged):
        giving.send(sent, watcher=change)
    assert names(taking.store.directory) == {".arriving"}
    giving.send(sent)
    assert (taking.store.directory / "data.bin").read_bytes() == sent.read_bytes()


def test_only_files_are_sent(giving: Giving, tmp_path: Path) -> None:
    with pytest.raises(NotAFile):
        giving.send(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotAFile):
        giving.send(tmp_path / "pipe")
    with pytest.raises(errors.FileFailed, match="No such file"):
        giving.send(tmp_path / "nothing")
