"""Acknowledged means durable: a sequencer is killed at named points and its ledger opened again.

A kill leaves what the process wrote in the system's cache, so these tests show the order of write,
commit and acknowledgement, and that a block is whole or absent. What a power cut does to writes
that were not synced is the kill-point shim's question.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hypermesh.ledger.blocktime import BlockClock
from hypermesh.ledger.engines.solo import Solo
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.replay import Archive, replay
from hypermesh.ledger.store import Store

from .toys import KNOWN, START_MS, faucet, founded, genesis, keys, own, pay, toy_kernel

CHILD = Path(__file__).with_name("child.py")
WAIT_S = 60.0
ACKED_MAX = 4


def entries() -> list[bytes]:
    genesis()
    return [own("alice"), faucet("alice", 1), pay("alice", 2, "bob", 1), pay("alice", 3, "bob", 1)]


def killed_at(directory: Path, point: str, height: int) -> list[str]:
    """What a child printed before it died at `point` of the commit of `height`."""
    order = {
        "directory": str(directory),
        "keys": {name: pair.secret_bytes().hex() for name, pair in KNOWN.items()},
        "entries": [entry.hex() for entry in ENTRIES],
        "point": point,
        "height": height,
    }
    done = subprocess.run(
        [sys.executable, str(CHILD), "work"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.splitlines()


ENTRIES = entries()


@pytest.mark.parametrize("height", [1, 3])
@pytest.mark.parametrize(
    ("point", "kept"),
    [("before commit", False), ("inside the transaction", False), ("after commit", True)],
)
def test_a_block_is_there_or_not_at_all_and_acknowledged_only_when_it_is(
    tmp_path: Path, point: str, kept: bool, height: int
) -> None:
    acknowledged = killed_at(tmp_path, point, height)
    assert acknowledged == [f"ack {number}" for number in range(height - 1)]
    kernel = toy_kernel()
    store = Store(tmp_path, kernel.genesis)
    assert store.height == (height if kept else height - 1)
    assert kernel.head(store).height == store.height
    for number, entry in enumerate(ENTRIES):
        position = store.position(kernel.tx_id(entry))
        assert position == ((number + 1, 1) if number < store.height else None)
    solo = Solo(kernel, store, Feed(store.height), keys("sequencer"), BlockClock(START_MS))
    solo.start()
    responses = [solo.submit(entry, WAIT_S) for entry in ENTRIES]
    assert [(each.height, each.result.code) for each in responses] == [
        (1, "ok"),
        (2, "ok"),
        (3, "ok"),
        (4, "ok"),
    ], "whoever was not answered sends the same again, and it is applied once"
    assert solo.stop(WAIT_S)
    root = store.tree.root
    store.close()
    archive = Archive(tmp_path)
    assert replay(toy_kernel(), archive.blocks()).app_hash == root
    archive.close()


@pytest.mark.parametrize(
    ("point", "kept"), [("inside the transaction", False), ("after commit", True)]
)
def test_genesis_is_written_whole_or_not_at_all(tmp_path: Path, point: str, kept: bool) -> None:
    assert killed_at(tmp_path, point, 0) == []
    store = Store(tmp_path, genesis())
    assert store.founded is kept
    assert list(store.scan(b"")) == [] or kept
    store.close()
    again = founded(tmp_path, toy_kernel())
    assert again.founded
    again.close()


def test_everything_acknowledged_survives_the_end(tmp_path: Path) -> None:
    assert len(killed_at(tmp_path, "nowhere", -1)) == len(ENTRIES) == ACKED_MAX
    store = Store(tmp_path, genesis())
    assert store.height == ACKED_MAX
    store.close()
