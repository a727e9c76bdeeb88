"""Child process that runs chiapos and chiavdf; started by path, never imported by the package.

One request as JSON on standard input, one reply as JSON on standard output. chiapos writes
hundreds of lines to standard output and may die of a damaged file: both stay in here. It imports
nothing of the package, so that it starts in 20 ms.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

PLOT_BUFFER_MIB = 200
PLOT_BUCKETS = 16
# chiapos loses entries at the borders of stripes: at k=18 one plot id in ten fails with stripes of
# 1024, and all do with 65,536. 4000 made 60 plots of 60. The plot is the same, whatever the stripe.
PLOT_STRIPE = 4000
PLOT_THREADS = 1


def plot(directory: str, name: str, k: int, plot_id: str) -> dict[str, Any]:
    """Make a plot, with its temporary files, in `directory`."""
    import chiapos

    memo, no_bitfield = b"", False
    chiapos.DiskPlotter().create_plot_disk(
        directory,
        directory,
        directory,
        name,
        k,
        memo,
        bytes.fromhex(plot_id),
        PLOT_BUFFER_MIB,
        PLOT_BUCKETS,
        PLOT_STRIPE,
        PLOT_THREADS,
        no_bitfield,
    )
    return {}


def answer(file: str, k: int, plot_id: str, draws: list[str], enough: int) -> dict[str, Any]:
    """Proofs for the first `enough` draws that the plot answers, each checked here."""
    import chiapos

    prover = chiapos.DiskProver(file)
    identity = bytes.fromhex(plot_id)
    if prover.get_id() != identity or prover.get_size() != k:
        return {"damaged": "its header is of another plot"}
    verifier = chiapos.Verifier()
    found: list[tuple[int, str]] = []
    for index, draw in enumerate(draws):
        challenge = bytes.fromhex(draw)
        if not prover.get_qualities_for_challenge(challenge):
            continue
        # Reading in parallel helps spinning disks at large k; at k=18 it takes five times the
        # processor time.
        proof = prover.get_full_proof(challenge, 0, False)
        if verifier.validate_proof(identity, k, challenge, proof) is None:
            return {"damaged": f"its answer to draw {index} does not verify"}
        found.append((index, proof.hex()))
        if len(found) == enough:
            break
    return {"found": found}


def evaluate(seed: str, start: str, bits: int, iterations: int) -> dict[str, Any]:
    """Evaluate the VDF over the group that `seed` gives, from `start`."""
    import chiavdf

    output = chiavdf.prove(bytes.fromhex(seed), bytes.fromhex(start), bits, iterations, "")
    return {"output": output.hex()}


def main() -> None:
    """Serve one request. `cpu_seconds_max` ends this process even when its parent is gone."""
    reply_to = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    request = json.load(sys.stdin)
    limit = request.pop("cpu_seconds_max")
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tasks: dict[str, Callable[..., dict[str, Any]]] = {
        "plot": plot,
        "answer": answer,
        "evaluate": evaluate,
    }
    reply = tasks[request.pop("task")](**request)
    with os.fdopen(reply_to, "w") as output:
        json.dump(reply, output)


if __name__ == "__main__":
    main()
