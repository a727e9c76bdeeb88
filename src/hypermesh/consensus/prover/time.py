"""Time: the VDF evaluation that turns an epoch, and the one that founds a network."""

from __future__ import annotations

import msgspec

from hypermesh.consensus.parameters import checked
from hypermesh.consensus.prover.process import run
from hypermesh.consensus.statement import founding_input
from hypermesh.consensus.verifier.time import GENERATOR, ProofOfTime
from hypermesh.wire.block import Genesis, ProofParameters
from hypermesh.wire.ids import Hash
from hypermesh.wire.proof import TIME_WESOLOWSKI_1, TimeProof, VdfOutput

ITERATIONS_PER_SECOND_MIN = 5_000
"""Slower than this, an evaluation counts as stuck; measured are 70,000 and more."""
SECONDS_SPARE = 30


def evaluate(seed: Hash, parameters: ProofParameters) -> VdfOutput:
    """The VDF over `seed`, in a process of its own, one core. Raises `ProverFailed` or
    `ProverTooSlow`.

    The sequencer starts it when an epoch begins and puts the output into the opening of the first
    block at or after `epoch.turns_at`.
    """
    iterations = parameters.vdf_iterations
    reply = run(
        "evaluate",
        SECONDS_SPARE + iterations // ITERATIONS_PER_SECOND_MIN,
        seed=seed.hex(),
        start=GENERATOR.hex(),
        bits=parameters.vdf_bits,
        iterations=iterations,
    )
    return VdfOutput(TIME_WESOLOWSKI_1, iterations, bytes.fromhex(reply["output"]))


def founded(genesis: Genesis) -> Genesis:
    """`genesis` with the VDF output that epoch 0 needs; its id is that of the result."""
    output = evaluate(founding_input(genesis), checked(genesis.proofs))
    return msgspec.structs.replace(genesis, vdf=output)


def prove(statement: ProofOfTime) -> TimeProof:
    """The output that opened the epoch, as the ledger holds it."""
    return TimeProof(statement.opened_by)
