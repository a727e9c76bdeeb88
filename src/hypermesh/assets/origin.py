"""Where every figure of a receipt comes from: who said it, which block holds it, what follows from
what. Pure; that it all holds is for `assets.receipt_check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from hypermesh.wire.amount import format_caes
from hypermesh.wire.api.receipt import ReceiptDocument, ReceiptProof

SHORT = 12


@dataclass(frozen=True, slots=True)
class Origin:
    """One figure: what it is, its value, who said it or what it follows from, and where that
    stands."""

    figure: str
    value: str
    by: str
    where: str


def origins(document: ReceiptDocument) -> Iterator[Origin]:
    """The figures of a receipt in the order in which they follow from each other."""
    terms, use, figures = document.terms, document.use, document.figures
    opened, activated, ended = (_place(proof) for proof in document.proofs)
    provider, consumer = f"provider {terms.provider[:SHORT]}", f"consumer {terms.consumer[:SHORT]}"
    price = terms.price
    genesis = f"genesis {document.genesis.id[:SHORT]}"
    yield Origin(
        "price",
        f"{price.amount} nCAES / ({price.per_units} units x {price.per_ms} ms)",
        f"{provider}, in its signed offer",
        opened,
    )
    yield Origin("amount", f"{terms.amount} units", f"{consumer} asked for it", opened)
    yield Origin("duration", f"{terms.duration_ms} ms", f"{consumer} asked for it", opened)
    yield Origin("escrow", _caes(figures.escrow), f"{consumer} set it aside", opened)
    yield Origin("start", _moment(figures.starts_ms), "time of the block", activated)
    yield Origin("settled", _moment(figures.settled_ms), "time of the block", ended)
    yield Origin("held", f"{use.held_ms} ms", f"{provider}'s meter, signed", ended)
    yield Origin("CPU time", f"{use.cpu_us} us", f"{provider}'s meter, signed", ended)
    moved = f"{use.bytes_read} read, {use.bytes_written} written"
    yield Origin("bytes", moved, f"{provider}'s meter, signed", ended)
    yield Origin(
        "charged",
        f"{figures.charged_ms} ms",
        f"the smaller of held and settled - start = {figures.settled_ms - figures.starts_ms} ms",
        "rule of lease.settle",
    )
    yield Origin(
        "cost",
        _caes(figures.cost),
        f"{price.amount} nCAES x {terms.amount} x {figures.charged_ms} / "
        f"({price.per_units} x {price.per_ms}), rounded up",
        "price x amount x charged",
    )
    yield Origin("fee", _caes(figures.fee), f"lease fee {figures.fee_due} nCAES", genesis)
    yield Origin("paid", _caes(figures.paid), "cost, at most escrow - fee", "rule of lease.settle")
    yield Origin("refund", _caes(figures.refund), "escrow - fee - paid", "rule of lease.settle")
    yield from _jobs(document, provider, ended)


def _jobs(document: ReceiptDocument, provider: str, ended: str) -> Iterator[Origin]:
    evidence = f"evidence {document.use.evidence[:SHORT]}, {ended}"
    for job in document.jobs:
        yield Origin(
            f"job {job.job[:8]}",
            f"{job.reason} {job.exit_code}, {job.wall_us} us, {job.cpu_us} us of CPU",
            f"{provider} measured it",
            evidence,
        )
        limits = f"CPU by {job.enforced_cpu}, memory by {job.enforced_memory}"
        yield Origin("isolation", f"{job.isolation}; {limits}", f"{provider} said it", evidence)


def _place(proof: ReceiptProof) -> str:
    shown = proof.transaction
    return f"lease.{proof.step}, block {shown.height}, transaction {shown.tx[:SHORT]}"


def _moment(time_ms: int) -> str:
    time = datetime.fromtimestamp(time_ms / 1000, tz=UTC)
    return f"{time:%Y-%m-%d %H:%M:%S}.{time_ms % 1000:03} UTC"


def _caes(amount: int) -> str:
    return f"{format_caes(amount)} CAES"
