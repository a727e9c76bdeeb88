"""Either process may be killed at any instant; the next attempt ends in one whole file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.stoq.network import Network

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.delivery import verify_proof
from hypermesh.stoq.transfer.store import Store
from hypermesh.wire.codec import decode
from hypermesh.wire.delivery import DeliveryProof

from .ends import noise
from .transfer_process import INSTANTS, largest_kib

SENDERS_INSTANTS = ("Offer", "Page", "Data", "End", "Countersigned")
RECEIVERS_INSTANTS = ("Accepted", "Wants", "Delivered", "Settled", *INSTANTS)
ATTEMPTS = 20
SIZE = 3 << 20
"""Several pages of those processes."""


PART = 16 << 20
SMALL, LARGE = 2 * PART, 20 * PART
GROWTH_KIB = 48 << 10
"""Windows of the transport that fill up; the files differ by 288 MiB."""


@dataclass
class Ends:
    network: Network
    alice: QuantumKeys
    bob: QuantumKeys
    directory: Path
    stack: ExitStack

    @property
    def inbox(self) -> Path:
        return self.directory / "inbox"

    def begin(self, keys: QuantumKeys, **told: Any) -> subprocess.Popen[str]:
        process = self.stack.enter_context(
            subprocess.Popen(
                [sys.executable, Path(__file__).with_name("transfer_process.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        self.stack.callback(process.kill)
        lines = [keys.secret_bytes(), *self.network.identity(keys).chain, self.network.genesis]
        assert process.stdin is not None
        process.stdin.write("".join(line.hex() + "\n" for line in lines))
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        return process

    def receiver(self, instant: str = "") -> tuple[subprocess.Popen[str], int]:
        process = self.begin(self.alice, role="receive", inbox=str(self.inbox), instant=instant)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    def send(self, path: Path, port: int, instant: str = "") -> str:
        """The proof in hex; empty where it came to none."""
        return self.sent(path, port, instant=instant).partition(" ")[0]

    def sent(self, path: Path, port: int, **told: Any) -> str:
        """What the sending process says."""
        process = self.begin(
            self.bob,
            role="send",
            path=str(path),
            port=port,
            peer=self.alice.id.hex(),
            **{"transfer": bytes(range(16)).hex(), "instant": "", **told},
        )
        return process.communicate(timeout=60)[0].strip()


@pytest.fixture
def ends(
    network: Network, alice_keys: QuantumKeys, bob_keys: QuantumKeys, tmp_path: Path
) -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(network, alice_keys, bob_keys, tmp_path, stack)


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(noise(SIZE))
    return path


@pytest.mark.parametrize("instant", RECEIVERS_INSTANTS)
def test_the_receiver_is_killed(ends: Ends, sent: Path, instant: str) -> None:
    process, port = ends.receiver(instant)
    assert ends.send(sent, port) == ""
    assert process.wait(20) == -9
    _, port = ends.receiver()
    check(ends, sent, ends.send(sent, port))


@pytest.mark.parametrize("instant", SENDERS_INSTANTS)
def test_the_sender_is_killed(ends: Ends, sent: Path, instant: str) -> None:
    _, port = ends.receiver()
    assert ends.send(sent, port, instant) == ""
    # It takes one stream at a time, and gives the first up after its patience.
    check(ends, sent, next(filter(None, (ends.send(sent, port) for _ in range(ATTEMPTS)))))


def test_a_large_file_takes_no_more_memory_than_a_small_one(ends: Ends, tmp_path: Path) -> None:
    receiver, port = ends.receiver()
    grown: list[tuple[int, int]] = []
    for size in (SMALL, LARGE):
        path = tmp_path / f"{size}.bin"
        with path.open("wb") as file:
            for part in range(size // PART):
                file.write(noise(PART, size + part))
        said = ends.sent(path, port, transfer=noise(16, size).hex(), small_pages=False)
        grown.append((int(said.split()[1]), largest_kib(receiver.pid)))
    (sent_small, taken_small), (sent_large, taken_large) = grown
    assert sent_large - sent_small < GROWTH_KIB
    assert taken_large - taken_small < GROWTH_KIB


def check(ends: Ends, sent: Path, proof: str) -> None:
    found = decode(DeliveryProof, bytes.fromhex(proof))
    verify_proof(found)
    store = Store(ends.inbox)
    arrived = [each for _, each in store.newest(1 << 60, 10)]
    store.close()
    assert [each.name for each in arrived] == ["data.bin"]
    assert arrived[0].sender_signature is not None
    assert arrived[0].delivery == found.delivery
    assert (ends.inbox / "data.bin").read_bytes() == sent.read_bytes()
    assert {each.name for each in ends.inbox.iterdir()} == {"data.bin", ".arriving"}
