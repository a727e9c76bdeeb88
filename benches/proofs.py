"""What the four proofs cost: to verify, to refer to, and to make in every epoch.

    python benches/proofs.py [--report FILE]

Verification is wall time over a bundle with all four proofs and an earlier product to open. The
cost of an epoch is processor time of this process and its children, as a share of one core over
the epoch of the test class.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from result import RESULTS, Metric, metric, write

from hypermesh.consensus.parameters import parameters_of
from hypermesh.consensus.prover.bundle import Attestor
from hypermesh.consensus.prover.time import evaluate
from hypermesh.consensus.statement import challenge, plot_id
from hypermesh.consensus.verifier.bundle import ConsensusProof
from hypermesh.consensus.verifier.space import ProofOfSpace
from hypermesh.consensus.verifier.stake import ProofOfStake
from hypermesh.consensus.verifier.time import ProofOfTime, vdf_faults
from hypermesh.consensus.verifier.work import Commitment, ProofOfWork
from hypermesh.crypto.digest import digest
from hypermesh.wire.block import NetworkClass
from hypermesh.wire.codec import encode
from hypermesh.wire.proof import Bundle, ProofKind, VdfOutput

EPOCHS = 20
ROUNDS = 200
PARAMETERS = parameters_of(NetworkClass.TEST)
NETWORK, NODE, OWNER = (digest("bench", name) for name in (b"network", b"node", b"owner"))


def statement(epoch: int, opened_by: VdfOutput, before: Commitment | None) -> ConsensusProof:
    seed = digest("bench", epoch.to_bytes(8, "big"))

    def challenge_of(kind: ProofKind) -> bytes:
        return challenge(NETWORK, epoch, seed, NODE, kind).result

    parameters, bond = PARAMETERS, PARAMETERS.bond_min
    return ConsensusProof(
        ProofOfSpace(
            plot_id(NETWORK, NODE, parameters.space_k).result,
            challenge_of(ProofKind.SPACE),
            parameters.space_k,
            parameters.space_draws,
            parameters.space_valid_min,
        ),
        ProofOfStake(NETWORK, NODE, OWNER, revoked=False, bonded=bond, bond_min=bond),
        ProofOfWork(
            challenge_of(ProofKind.WORK),
            parameters.matrix_size,
            parameters.matrix_rows_opened,
            before,
        ),
        ProofOfTime(epoch, opened_by),
    )


def processor_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def processor_of(action: Callable[[], object]) -> float:
    before = processor_s()
    action()
    return processor_s() - before


def wall_ms(action: Callable[[], object]) -> list[float]:
    samples = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        action()
        samples.append((time.perf_counter() - start) * 1000)
    return samples


def measured() -> list[Metric]:
    seed = digest("bench", b"seed")
    evaluations = [processor_of(lambda: evaluate(seed, PARAMETERS)) for _ in range(3)]
    opened_by = evaluate(seed, PARAMETERS)
    bundles: list[float] = []
    plotting: list[float] = []
    made: list[tuple[ConsensusProof, Bundle]] = []
    with tempfile.TemporaryDirectory() as directory:
        attestor = Attestor(Path(directory), NETWORK, NODE, PARAMETERS)
        plotting.append(processor_of(attestor.prepare))
        before: Commitment | None = None
        for epoch in range(EPOCHS):
            expected = statement(epoch, opened_by, before)
            start = processor_s()
            bundle = attestor.bundle(expected)
            bundles.append(processor_s() - start)
            if bundle.work is None:
                raise SystemExit("the prover left a proof out")
            before = Commitment(expected.work.challenge, bundle.work.root)
            made.append((expected, bundle))
    expected, bundle = made[-1]
    epoch_s = PARAMETERS.epoch_ms / 1000
    follower = [100 * sample / epoch_s for sample in bundles]
    sequencer = [
        100 * (evaluation + statistics.median(bundles)) / epoch_s for evaluation in evaluations
    ]

    def faults() -> list[str]:
        return vdf_faults(
            opened_by, seed=seed, bits=PARAMETERS.vdf_bits, iterations=PARAMETERS.vdf_iterations
        )

    if expected.failures(bundle) or faults():
        raise SystemExit("what is measured would be refused")
    return [
        metric("proofs.verify.space", wall_ms(lambda: expected.space.failures(bundle)), "ms"),
        metric("proofs.verify.stake", wall_ms(lambda: expected.stake.failures(bundle)), "ms"),
        metric("proofs.verify.work", wall_ms(lambda: expected.work.failures(bundle)), "ms"),
        metric("proofs.verify.time", wall_ms(lambda: expected.time.failures(bundle)), "ms"),
        metric("proofs.verify.bundle", wall_ms(lambda: expected.failures(bundle)), "ms", goal=1.0),
        metric("proofs.verify.vdf", wall_ms(faults), "ms"),
        metric("proofs.bundle.bytes", [float(len(encode(bundle)))], "byte"),
        metric("proofs.make.plot", plotting, "s of one core"),
        metric("proofs.make.bundle", bundles, "s of one core"),
        metric("proofs.make.vdf", evaluations, "s of one core"),
        metric("proofs.rest.follower", follower, "% of one core", goal=2.0),
        metric("proofs.rest.sequencer", sequencer, "% of one core", goal=2.0),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--report", type=Path, default=RESULTS / "proofs.json")
    report = arguments.parse_args().report
    metrics = measured()
    write(report, "proofs", "make bench-proofs", metrics)
    sys.stdout.write("".join(f"{each}\n" for each in metrics))


if __name__ == "__main__":
    main()
