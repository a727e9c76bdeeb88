"""One real validator: a recorded log of 1,000 mixed operations, both processes killed on the way,
and at every height the app hash that solo has."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from hypermesh.consensus.epoch import current_epoch
from hypermesh.ledger.engines.comet.rpc import Rpc
from hypermesh.ledger.identity import SignerUnknown
from hypermesh.ledger.replay import Archive, replay
from hypermesh.ledger.state import Overlay
from hypermesh.wire.block import Block
from hypermesh.wire.codec import decode, encode

from .comparison import Decided, decided, entries, first_difference
from .network import Network
from .recording import Log, Recorder

OPERATIONS = 1_000
KILL_APPLICATION_AT = 350
KILL_ENGINE_AT = 700
PACE_MS = 100
START_S = 60.0
WAIT_S = 60.0
POLL_S = 0.05

pytestmark = pytest.mark.long


class Validator:
    """The processes of one validator: ours, and the engine that it starts."""

    def __init__(self, directory: Path, engine: Path) -> None:
        self.directory = directory
        self._engine = engine
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.engine_pid = 0
        self.rpc = Rpc(directory / "comet" / "rpc.sock")

    def start(self) -> None:
        """Start it, under another hash seed each time, and wait until it makes blocks."""
        self._starts += 1
        program = Path(__file__).with_name("validator.py")
        with (self.directory / "stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(program), str(self.directory), self._engine, str(PACE_MS)],
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONHASHSEED": str(self._starts)},
            )
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], START_S)
        assert readable, self.errors
        line = self._process.stdout.readline()
        assert line, self.errors
        self.engine_pid = json.loads(line)["engine"]

    @property
    def errors(self) -> str:
        return (self.directory / "stderr").read_text()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self) -> int:
        """The exit status of our process, once it has ended."""
        assert self._process is not None
        status = self._process.wait(WAIT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self.ended()
        if self.engine_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.engine_pid, signal.SIGKILL)
        self.rpc.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


def next_blocks(rpc: Rpc) -> None:
    """Wait until what was in work is in a block, and its app hash in the next one's header."""
    height = rpc.height()
    until(lambda: rpc.height() > height + 1)


def send(rpc: Rpc, operations: Sequence[bytes]) -> Counter[str]:
    """Hand the operations to the engine in order; the codes of those refused at the door.

    A signer is known from the block that introduces it; until then its operations wait.
    """
    refused: Counter[str] = Counter()
    for operation in operations:
        refusal = rpc.broadcast(operation).refusal
        if isinstance(refusal, SignerUnknown):
            next_blocks(rpc)
            refusal = rpc.broadcast(operation).refusal
        if refusal is not None:
            refused[refusal.code] += 1
    return refused


def drain(rpc: Rpc) -> None:
    """Wait until nothing waits for a block, and the last app hash stands in a header."""
    until(lambda: rpc.call("num_unconfirmed_txs", {})["n_txs"] == "0")
    next_blocks(rpc)


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
def present(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network that begins now, as the engine takes its time from this machine."""
    made = Network(tmp_path_factory.mktemp("ca"), time.time_ns() // 1_000_000)
    yield made
    made.close()


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


def missing(rpc: Rpc, operations: Sequence[bytes]) -> list[bytes]:
    """The operations that no block holds, in their order, once the engine has played back the block
    that it may have been in when it was killed."""
    next_blocks(rpc)
    present = set(entries(rpc))
    return [operation for operation in operations if operation not in present]


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
    }
    assert codes["ok"] >= 500
    assert codes.total() - codes["ok"] >= 150
    assert codes.keys() >= {
        "HM-TX-ID-0010",
        "HM-TX-BANK-0002",
        "HM-TX-STAKE-0002",
        "HM-TX-PROOF-0001",
        "HM-TX-ASSET-0002",
        "HM-TX-LEASE-0012",
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
