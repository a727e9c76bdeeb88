"""What the four proofs cost: to verify, to refer to, and to make in every epoch.

    python benches/proofs.py [--report FILE]

Verification is wall time over a bundle with all four proofs and an earlier product to open. The
cost of an epoch is processor time of this process and its children, as a share of one core over
the epoch of the test class.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

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

ROOT = Path(__file__).resolve().parents[1]
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


def metric(
    identifier: str, samples: list[float], unit: str, goal: float | None = None
) -> dict[str, object]:
    value = statistics.median(samples)
    return {
        "id": identifier,
        "value": round(value, 4),
        "unit": unit,
        "goal": goal,
        "better": "lower",
        "met": None if goal is None else value <= goal,
        "samples": [round(sample, 4) for sample in samples],
        "baseline": None,
    }


def measured() -> list[dict[str, object]]:
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
        metric("proofs.verify.bundle", wall_ms(lambda: expected.failures(bundle)), "ms", 1.0),
        metric("proofs.verify.vdf", wall_ms(faults), "ms"),
        metric("proofs.bundle.bytes", [float(len(encode(bundle)))], "byte"),
        metric("proofs.make.plot", plotting, "s of one core"),
        metric("proofs.make.bundle", bundles, "s of one core"),
        metric("proofs.make.vdf", evaluations, "s of one core"),
        metric("proofs.rest.follower", follower, "% of one core", 2.0),
        metric("proofs.rest.sequencer", sequencer, "% of one core", 2.0),
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--report", type=Path, default=ROOT / "benches/results/proofs.json")
    report = arguments.parse_args().report
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    metrics = measured()
    result = {
        "schema_version": 1,
        "name": "proofs",
        "commit": commit,
        "command": "python benches/proofs.py",
        "host": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "metrics": metrics,
    }
    report.write_text(json.dumps(result, indent=1) + "\n")
    for found in metrics:
        goal = "" if found["goal"] is None else f" (goal {found['goal']})"
        sys.stdout.write(f"{found['id']:24} {found['value']} {found['unit']}{goal}\n")


if __name__ == "__main__":
    main()
