"""Replay from genesis: the same app hash, in another process, under another hash seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hypermesh.ledger.errors import Diverged, OutOfOrder, ProofInvalid
from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.replay import Archive, replay
from hypermesh.ledger.store import Store
from hypermesh.wire.block import Block
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import NotFound
from hypermesh.wire.proof import VdfOutput

from .toys import KNOWN, START_MS, ToyBank, ToyIdentity, faucet, genesis, own, pay, toy_kernel

Extend = Callable[..., Block]
CHILD = Path(__file__).with_name("child.py")


@pytest.fixture
def blocks(chain: Extend) -> list[bytes]:
    """A chain with a bit of everything."""
    names = ["alice", "bob", "carol"]
    made = [
        chain(*(own(name) for name in names)),
        chain(*(faucet(name, 1) for name in names), time_ms=START_MS + 1),
        chain(time_ms=START_MS + 1, vdf=VdfOutput("good", 1, b"y")),
        chain(
            *(pay(name, 2, "bob", 10, "due:50") for name in names),
            pay("alice", 3, "carol", 10, "refuse"),
            b"malformed",
            time_ms=START_MS + 5,
        ),
        chain(time_ms=START_MS + 100),
    ]
    return [encode(block) for block in made]


def test_replay_reaches_the_state_of_the_store(
    tmp_path: Path, store: Store, blocks: list[bytes]
) -> None:
    archive = Archive(tmp_path / "ledger")
    replayed = replay(toy_kernel(archive.genesis()), archive.blocks())
    assert (replayed.height, replayed.app_hash) == (len(blocks), store.tree.root)
    assert dict(replayed.base.scan(b"")) == dict(store.scan(b""))
    assert list(archive.blocks()) == blocks
    assert archive.genesis() == genesis()
    archive.close()


def test_no_blocks_are_replayed_to_genesis(kernel: Kernel) -> None:
    assert replay(kernel, []).height == 0


def test_a_missing_or_altered_block_ends_the_replay(blocks: list[bytes]) -> None:
    with pytest.raises(OutOfOrder):
        replay(toy_kernel(), blocks[1:])
    with pytest.raises(OutOfOrder):
        replay(toy_kernel(), [blocks[0], blocks[0]])
    damaged = bytearray(blocks[2])
    damaged[60] ^= 1
    with pytest.raises(ProofInvalid):
        replay(toy_kernel(), [*blocks[:2], bytes(damaged)])


def test_other_rules_do_not_reach_the_same_app_hash(blocks: list[bytes]) -> None:
    identity = ToyIdentity()

    class Forgetful(ToyBank):
        def close_block(self, context: object) -> None: ...

    with pytest.raises(Diverged, match="block 5"):
        replay(Kernel(genesis(), [identity, Forgetful()], identity), blocks)


def test_two_hash_seeds_reach_the_same_app_hash(
    tmp_path: Path, store: Store, blocks: list[bytes]
) -> None:
    order = {
        "directory": str(tmp_path / "ledger"),
        "keys": {name: pair.secret_bytes().hex() for name, pair in KNOWN.items()},
    }
    answers = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, str(CHILD), "replay"],
            input=json.dumps(order),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout.split())
    (height, app_hash, one), (_, again, two) = answers
    assert one != two, "the seeds had no effect, so this test shows nothing"
    assert (height, app_hash) == (str(len(blocks)), store.tree.root.hex())
    assert again == app_hash


def test_there_must_be_a_ledger_to_replay(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Archive(tmp_path)
