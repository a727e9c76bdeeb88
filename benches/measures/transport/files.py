"""Content-aware transfer on loopback: what cutting and digesting costs, a whole file into the
receiver's inbox, and the same file again with one byte inserted in its middle. Beside it what is
gained by the kind of a file: a compressed one, and one of tensors of which half have changed.

A file counts when it is durable and both ends have signed its delivery; both proofs are verified.
"""

from __future__ import annotations

import importlib.util
import sys

from result import Metric, metric

from measures.transport.ends import LOOPBACK, PYTHON, End, dialling, listening, prepared
from measures.transport.scale import Scale

PROGRAM = (sys.executable, str(PYTHON / "stoq_transfer.py"))
SIZE_BYTES = 1 << 30
SHORT_BYTES = 16 << 20
LIMIT_S = 180.0
PIPELINE_GOAL_GBPS = 2.0
RESENT_GOAL_PERCENT = 1.0
PROOF_GOAL_PERCENT = 2.0


def unavailable() -> str:
    """Why this cannot be measured here; empty where it can."""
    if importlib.util.find_spec("hypermesh.stoq.transfer") is None:
        return "content-aware transfer is not there"
    return ""


def measure(scale: Scale) -> list[Metric]:
    size = SHORT_BYTES if scale.short else SIZE_BYTES
    words = ("--bytes", str(size))
    with prepared() as directory:
        credentials = ("--credentials", str(directory))
        with End([*PROGRAM, "scan", *words, *credentials], LIMIT_S) as scan:
            scanned = scan.last()
        command = [*PROGRAM, "receive", "--listen", LOOPBACK.host, *credentials]
        receiver, port = listening(command, LOOPBACK, LIMIT_S)
        with (
            receiver,
            dialling([*PROGRAM, "send", *words, *credentials], LOOPBACK, port, LIMIT_S) as sender,
        ):
            done = sender.last()
            receiver.last()
    first, again = done["first"], done["again"]
    if first["moved"] != size:
        raise SystemExit(f"{first['moved']} bytes of a new file of {size} were sent")
    return [
        metric(
            "stoq.transfer.pipeline",
            [size / taken_s / 1e9 for taken_s in scanned["taken_s"]],
            "GB/s a core",
            goal=PIPELINE_GOAL_GBPS,
            better="higher",
        ),
        metric(
            "stoq.transfer.compressed",
            [size / taken_s / 1e9 for taken_s in scanned["compressed_s"]],
            "GB/s a core, of a compressed file",
            better="higher",
        ),
        metric(
            "stoq.transfer.tensors",
            [scanned["tensors"]],
            "% of a changed file of tensors sent although it has not changed",
        ),
        metric(
            "stoq.transfer.tensors_as_content",
            [scanned["tensors_as_content"]],
            "% of the same file where its kind is not known",
        ),
        metric("stoq.transfer.first", [size / first["seconds"] / 1e9], "GB/s", better="higher"),
        metric("stoq.transfer.again", [size / again["seconds"] / 1e9], "GB/s", better="higher"),
        metric(
            "stoq.transfer.inserted_byte",
            [100 * again["moved"] / again["size"]],
            "% of the file sent again",
            goal=RESENT_GOAL_PERCENT,
        ),
        metric(
            "stoq.transfer.proof",
            [100 * each["proof_s"] / each["seconds"] for each in (first, again)],
            "% of the transfer",
            goal=PROOF_GOAL_PERCENT,
        ),
    ]
