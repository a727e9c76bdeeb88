"""Space: a node's plot, made once, and its answers to the draws of an epoch.

A plot belongs to one network, node and k, and so does its file name. It is made in a temporary
directory beside its place, synced and then renamed, so a file that is there is whole. A file that
was damaged later shows in its answers, which the worker checks: it is removed and made again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypermesh.consensus.prover.process import ProverFailed, run
from hypermesh.consensus.statement import plot_id, space_draw
from hypermesh.consensus.verifier.space import ProofOfSpace
from hypermesh.crypto.files import make_directory, sync
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import GenesisId, Hash, NodeId
from hypermesh.wire.proof import LOCATION_UNLOCATED, SPACE_CHIAPOS_1, SpaceDraw, SpaceProof

PLOT_SECONDS_MAX_K18 = 120
"""A hundred times what k=18 takes; each k more doubles the work and a little more."""
PLOT_GROWTH_PERCENT = 225
ANSWER_SECONDS_MAX = 60
PLOT_ROOM_FACTOR = 12
"""Free bytes to ask for, as a multiple of the finished plot: its temporary files are larger."""
CHECK_DRAWS = 64
CHECK_ANSWERS_MIN = 16
_TEMPORARY = "plotting-"


class PlotRoom(HyperMeshError):
    """The disk has no room for the plot and the temporary files of making it."""

    code = "HM-PROOF-0002"
    status = 507
    exit_code = 8
    title = "There is no room for this node's plot"
    remedy = "Free some space, or move the node's data directory to another disk"


class TooFewAnswers(HyperMeshError):
    """A whole plot answered fewer draws than the network asks for: about once in 22,000 epochs at 3
    of 16. The next epoch draws again."""

    code = "HM-PROOF-0003"
    status = 503
    title = "The plot answers too few draws of this epoch"
    remedy = "Wait for the next epoch; its draws are new"


class Plot:
    """The plot of one node on one network, in `directory`."""

    def __init__(self, directory: Path, genesis_id: GenesisId, node: NodeId, k: int) -> None:
        self._directory = directory
        self._id = plot_id(genesis_id, node, k).result
        self._k = k
        self.path = directory / f"k{k}-{self._id.hex()}.plot"

    def prepare(self) -> None:
        """Make the plot where there is none: about a second at k=18.

        Raises `PlotRoom` where the disk is too full, `ProverFailed` or `ProverTooSlow`.
        """
        make_directory(self._directory, 0o700)
        for left_over in self._directory.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        if not self.path.exists():
            self._make()

    def prove(self, statement: ProofOfSpace) -> SpaceProof:
        """Answers to the draws of `statement`: as many as it asks for, no more.

        A damaged plot is made again, once. Raises `TooFewAnswers`, `PlotRoom`, `ProverFailed` or
        `ProverTooSlow`.
        """
        self.prepare()
        draws = _draws(statement.challenge, statement.draws)
        found = self._answers(draws, statement.valid_min)
        if found is None or (len(found) < statement.valid_min and not self._whole()):
            self.path.unlink(missing_ok=True)
            self._make()
            found = self._answers(draws, statement.valid_min)
        if found is None or len(found) < statement.valid_min:
            raise TooFewAnswers(
                why=f"{len(found or [])} of {statement.draws} draws have an answer,"
                f" {statement.valid_min} are needed"
            )
        return SpaceProof(SPACE_CHIAPOS_1, self._k, found, LOCATION_UNLOCATED)

    def _whole(self) -> bool:
        """Whether few answers were bad luck: a whole plot answers 40 of 64 draws, give or take."""
        found = self._answers(_draws(self._id, CHECK_DRAWS), CHECK_DRAWS)
        return found is not None and len(found) >= CHECK_ANSWERS_MIN

    def _answers(self, draws: list[str], enough: int) -> list[SpaceDraw] | None:
        """The first `enough` answers; None where the worker calls the file damaged, or dies."""
        try:
            reply = run(
                "answer",
                ANSWER_SECONDS_MAX,
                file=str(self.path),
                k=self._k,
                plot_id=self._id.hex(),
                draws=draws,
                enough=enough,
            )
        except ProverFailed:
            return None
        found = reply.get("found")
        if found is None:
            return None
        return [SpaceDraw(index, bytes.fromhex(proof)) for index, proof in found]

    def _make(self) -> None:
        free, needed = shutil.disk_usage(self._directory).free, room(self._k)
        if free < needed:
            raise PlotRoom(why=f"{needed} bytes are needed in {self._directory}, {free} are free")
        seconds_max = PLOT_SECONDS_MAX_K18
        for _ in range(18, self._k):
            seconds_max = seconds_max * PLOT_GROWTH_PERCENT // 100
        with tempfile.TemporaryDirectory(dir=self._directory, prefix=_TEMPORARY) as temporary:
            run(
                "plot",
                seconds_max,
                directory=temporary,
                name=self.path.name,
                k=self._k,
                plot_id=self._id.hex(),
            )
            made = Path(temporary) / self.path.name
            sync(made)
            made.replace(self.path)
        sync(self._directory)


def _draws(challenge: Hash, count: int) -> list[str]:
    return [space_draw(challenge, index).result.hex() for index in range(count)]


def room(k: int) -> int:
    """Bytes to have free before plotting."""
    return PLOT_ROOM_FACTOR * (2 * k + 1) * (1 << (k - 1))
