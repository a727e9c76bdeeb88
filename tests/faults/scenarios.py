"""The recordings that the tests and the benchmark cut the power in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.comet.network import Network
from tests.comet.recording import Log
from tests.comet.recording import Recorder as Script

from hypermesh.wire.codec import encode

from . import ledger_process, stores_process
from .ledger_check import Chain, blocks_of
from .recorder import Kind
from .workloads import Death, Life, Recording

NOW_S = 1_800_000_000
WRITE, SYNC, MARK = Kind.WRITE, Kind.SYNC, Kind.MARK


@dataclass(frozen=True)
class LedgerScenario:
    """A network and a log of mixed operations that its sequencer takes."""

    network: Network
    log: Log

    @classmethod
    def make(cls, base: Path, operations: int) -> LedgerScenario:
        """`operations` signed transactions of every type, refused ones among them."""
        network = Network(base / "ca")
        return cls(network, Script(network, base / "plots").record(operations))

    @property
    def length(self) -> int:
        return len(self.log.entries)

    def live(
        self,
        recording: Recording,
        first: int,
        last: int,
        *,
        plant: str = "",
        orderly: bool = False,
        death: Death | None = None,
    ) -> Life:
        """One life, which submits the operations from `first` to before `last`."""
        assert self.log.vdf is not None
        order = ledger_process.Order(
            genesis=encode(self.network.genesis),
            sequencer=self.network.keys("alice").secret_bytes(),
            entries=self.log.entries,
            vdf=encode(self.log.vdf),
            turn_at=self.length * 3 // 5,
            first=first,
            last=last,
            plant=plant,
            orderly=orderly,
            death=death,
        )
        return recording.live("ledger_process", order)

    def three_lives(self, library: Path, base: Path, plant: str = "") -> Recording:
        """The first is killed before a commit is synced, the second closes its ledger, and the
        third just ends. Each begins with operations that the one before has already submitted."""
        recording = Recording.begin(library, base)
        third = self.length // 3
        killed = self.live(recording, 0, self.length, plant=plant, death=Death(third, SYNC, 1))
        assert killed.killed
        self.live(recording, third - 2, 2 * third, plant=plant, orderly=True)
        self.live(recording, 2 * third - 2, self.length, plant=plant)
        return recording

    def one_life(self, library: Path, base: Path, plant: str) -> Recording:
        recording = Recording.begin(library, base)
        self.live(recording, 0, self.length, plant=plant)
        return recording

    def chain(self, recording: Recording) -> Chain:
        """The chain that the recording ended with, computed anew."""
        return Chain(self.network.genesis, blocks_of(recording.node / "ledger"))


def stores_life(
    recording: Recording, rounds: Sequence[int], *, plant: str = "", death: Death | None = None
) -> Life:
    """One life of the other stores, from the first to before the second of `rounds`."""
    first, last = rounds
    return recording.live("stores_process", stores_process.Order(NOW_S, first, last, plant, death))


def stores_lives(library: Path, base: Path, rounds: int, plant: str = "") -> Recording:
    """Two lives: the first is killed before it has synced what it wrote."""
    recording = Recording.begin(library, base)
    killed = stores_life(recording, (0, rounds), plant=plant, death=Death(10 * rounds, SYNC, 1))
    assert killed.killed
    stores_life(recording, (rounds, 2 * rounds), plant=plant)
    return recording
