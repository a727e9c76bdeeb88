"""Forging each of the four proofs: the node's own bundle with one proof falsified, under a valid
signature, so that only the proof is false."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hypermesh.node.attempts.attempt import Outcome, flipped
from hypermesh.node.attempts.ground import Ground
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.proof import Bundle, ProofKind
from hypermesh.wire.tx import ConsensusAttest

replace = msgspec.structs.replace


class ForgedProof:
    """A bundle of this node in which the proof of `kind` is false."""

    def __init__(self, ground: Ground, kind: ProofKind) -> None:
        self._ground = ground
        self._kind = kind
        self.name = f"forge-{kind.value}"
        self.title, self.what = _WORDS[kind]
        self.rule = f"the proof of {kind.value}: consensus/verifier/{kind.value}.py"

    def prepare(self) -> bytes:
        body = self._ground.last_own(ConsensusAttest)
        if body is None:
            raise NotAvailable(
                "This node has no bundle to falsify",
                why="it has not attested in the blocks that were looked through",
                fix="Try again within a minute: every epoch brings one",
            )
        return encode(_FALSIFIED[self._kind](body.bundle))

    def run(self, content: bytes) -> Outcome:
        bundle = decode(Bundle, content)
        facts = (
            f"a bundle that lies in its {self._kind.value} part, well signed, sent to the ledger"
        )
        return self._ground.place(ConsensusAttest(bundle), facts)


def _space(bundle: Bundle) -> Bundle:
    space = bundle.space
    if space is None:
        return bundle
    first, *rest = space.draws
    first = replace(first, proof=flipped(first.proof))
    return replace(bundle, space=replace(space, draws=[first, *rest]))


def _stake(bundle: Bundle) -> Bundle:
    stake = bundle.stake
    if stake is None:
        return bundle
    return replace(bundle, stake=replace(stake, bonded=stake.bonded + 1))


def _work(bundle: Bundle) -> Bundle:
    work = bundle.work
    if work is None:
        return bundle
    row, *others = work.samples
    return replace(
        bundle, work=replace(work, samples=[replace(row, row=flipped(row.row)), *others])
    )


def _time(bundle: Bundle) -> Bundle:
    time = bundle.time
    if time is None:
        return bundle
    return replace(
        bundle, time=replace(time, vdf=replace(time.vdf, output=flipped(time.vdf.output)))
    )


_FALSIFIED: dict[ProofKind, Callable[[Bundle], Bundle]] = {
    ProofKind.SPACE: _space,
    ProofKind.STAKE: _stake,
    ProofKind.WORK: _work,
    ProofKind.TIME: _time,
}

_WORDS: dict[ProofKind, tuple[str, str]] = {
    ProofKind.SPACE: (
        "Forge the proof of space",
        "claim a place on disk that this node does not hold: one answer to the challenge altered",
    ),
    ProofKind.STAKE: (
        "Forge the proof of stake",
        "claim a larger bond than the ledger holds for this node",
    ),
    ProofKind.WORK: (
        "Forge the proof of work",
        "open a row of the matrix product that was never computed",
    ),
    ProofKind.TIME: (
        "Forge the proof of time",
        "claim another output of the epoch's delay function",
    ),
}
