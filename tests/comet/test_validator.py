"""One real validator: a recorded log of 1,000 mixed operations, both processes killed on the way,
and at every height the app hash that solo has."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from hypermesh.consensus.epoch import current_epoch
from hypermesh.ledger.replay import Archive, replay
from hypermesh.ledger.state import Overlay
from hypermesh.wire.block import Block
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.tx import Body, SignedTransaction, tag_of

from .comparison import Decided, decided, first_difference
from .network import Network
from .processes import Validator, drain, missing, send, until
from .recording import Log, Recorder

OPERATIONS = 1_000
KILL_APPLICATION_AT = 350
KILL_ENGINE_AT = 700

pytestmark = pytest.mark.long


def tag_of_type(body: type) -> str:
    return str(body.__struct_config__.tag)  # type: ignore[attr-defined]


def _tags(blocks: list[Block], code: str | None = None) -> set[str]:
    """The types that were executed, with any result or with `code`."""
    return {
        tag_of(decode(SignedTransaction, entry).transaction.body)
        for block in blocks
        for entry, result in zip(block.entries[1:], block.results[1:], strict=True)
        if code in (None, result.code)
    }


@dataclass
class Run:
    """What is left of the run: the engine's blocks, the log, our database."""

    blocks: list[Decided]
    log: Log
    refused: Counter[str]
    turned_at: int
    ledger: Path
    errors: str
    statuses: list[int]
    seconds: float


@pytest.fixture(scope="module")
def run(present: Network, engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("validator")
    log = Recorder(present, directory / "plots").record(OPERATIONS)
    (directory / "genesis").write_bytes(encode(present.genesis))
    validator = Validator(directory, engine)
    began = time.monotonic()
    statuses = []
    try:
        validator.start()
        send(validator.rpc, log.entries[:KILL_APPLICATION_AT])
        validator.signal(signal.SIGKILL)
        statuses.append(validator.ended())

        validator.start()
        (directory / "vdf.new").write_bytes(encode(log.vdf))
        (directory / "vdf.new").rename(directory / "vdf")
        send(validator.rpc, missing(validator.rpc, log.entries[:KILL_ENGINE_AT]))
        os.kill(validator.engine_pid, signal.SIGKILL)
        statuses.append(validator.ended())

        validator.start()
        refused = send(validator.rpc, missing(validator.rpc, log.entries))
        until(lambda: not (directory / "vdf").exists())
        drain(validator.rpc)
        seconds = time.monotonic() - began
        blocks = decided(validator.rpc)
        validator.signal(signal.SIGTERM)
        statuses.append(validator.ended())
        (turned,) = directory.glob("vdf-*")
        turned_at = int(turned.name.removeprefix("vdf-"))
    finally:
        validator.close()
    ledger = directory / "ledger"
    return Run(blocks, log, refused, turned_at, ledger, validator.errors, statuses, seconds)


def test_every_operation_is_in_one_block_or_was_refused_at_the_door(run: Run) -> None:
    taken = [entry for block in run.blocks for entry in block.input.entries[1:]]
    assert len(run.log.entries) == OPERATIONS
    assert len(set(taken)) == len(taken)
    assert set(taken) <= set(run.log.entries)
    assert len(taken) + run.refused.total() == OPERATIONS
    assert len(taken) >= 0.8 * OPERATIONS
    assert set(run.refused) >= {"HM-TX-0002", "HM-TX-0004", "HM-TX-0005"}


def test_the_log_is_mixed_and_refusals_are_part_of_it(run: Run) -> None:
    archive = Archive(run.ledger)
    blocks = [decode(Block, encoded) for encoded in archive.blocks()]
    archive.close()
    codes = Counter(result.code for block in blocks for result in block.results[1:])
    assert {kind.split(".")[0] for kind, _ in run.log.outcomes} == {
        "identity",
        "bank",
        "stake",
        "consensus",
        "asset",
        "lease",
        "name",
        "federation",
        "transparency",
    }
    assert _tags(blocks) == {tag_of_type(each) for each in get_args(Body)}
    assert _tags(blocks, "ok") >= _tags(blocks) - {"lease.claim"}
    assert codes["ok"] >= 500
    assert codes.total() - codes["ok"] >= 150
    assert codes.keys() >= {
        "HM-TX-ID-0010",
        "HM-TX-BANK-0002",
        "HM-TX-STAKE-0002",
        "HM-TX-PROOF-0001",
        "HM-TX-ASSET-0002",
        "HM-TX-LEASE-0012",
        "HM-TX-TITLE-0003",
        "HM-TX-TITLE-0006",
        "HM-TX-FED-0001",
        "HM-TX-LOG-0001",
        "HM-TX-LOG-0005",
        "HM-TX-ID-0014",
    }


def test_solo_has_the_same_app_hash_at_every_height(
    run: Run, present: Network, tmp_path: Path
) -> None:
    assert first_difference(present, run.blocks, tmp_path / "solo") is None
    # Solo's chain is a chain like any other: signed, and replayed from genesis without the engine.
    archive = Archive(tmp_path / "solo")
    replayed = replay(present.kernel(), archive.blocks())
    archive.close()
    assert replayed.height == len(run.blocks)
    assert replayed.app_hash == run.blocks[-1].app_hash
    assert current_epoch(Overlay(replayed.base)).number == 1


def test_our_own_store_has_the_headers_that_solo_has(
    run: Run, present: Network, tmp_path: Path
) -> None:
    """Not the app hash alone: previous hash, roots and time are those of solo, too."""
    assert first_difference(present, run.blocks, tmp_path / "solo") is None
    solo, comet = Archive(tmp_path / "solo"), Archive(run.ledger)
    count = 0
    for ours, theirs in zip(comet.blocks(), solo.blocks(), strict=False):
        block, signed = decode(Block, ours), decode(Block, theirs)
        assert block == msgspec.structs.replace(signed, signature=None)
        count += 1
    assert count == len(run.blocks)
    solo.close()
    comet.close()


def test_the_epoch_was_turned_by_the_opening_of_a_block(run: Run) -> None:
    assert run.log.vdf is not None
    block = run.blocks[run.turned_at - 1].input
    assert encode(run.log.vdf) in block.entries[0]


def test_both_processes_were_killed_and_said_so(run: Run) -> None:
    assert run.statuses == [-signal.SIGKILL, 3, 0]
    assert run.errors.count("stopped: The BFT engine has stopped") == 1


def test_the_comparison_notices_a_planted_difference(
    run: Run, present: Network, tmp_path: Path
) -> None:
    """One bit of one signature; one entry left out; one millisecond."""
    height = next(
        block.input.height
        for block in run.blocks
        if len(block.input.entries) > 2 and block.input.height > len(run.blocks) // 4
    )
    blocks = run.blocks[: height + 1]
    given = blocks[height - 1].input
    entry = bytearray(given.entries[1])
    entry[-1] ^= 1
    altered = [given.entries[0], bytes(entry), *given.entries[2:]]
    shortened = [given.entries[0], *given.entries[2:]]
    for number, planted in enumerate((altered, shortened)):
        changed = msgspec.structs.replace(given, entries=planted)
        different = [*blocks]
        different[height - 1] = replace(blocks[height - 1], input=changed)
        found = first_difference(present, different, tmp_path / str(number))
        assert found == height
