"""`hm explain`: where the figures of a receipt come from, and what an error code means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Tolerant, data_option, mesh, output_option
from hypermesh.cli.completion import complete_leases

if TYPE_CHECKING:
    from hypermesh.assets.receipt_check import Verdict
    from hypermesh.wire.api.receipt import ReceiptDocument

_CODE = re.compile(r"HM-[A-Z0-9-]+", re.IGNORECASE)


@click.command(
    cls=Tolerant,
    example="hm explain 3f9c12ab\nhm explain receipt.json\nhm explain HM-NODE-0003",
)
@click.argument("what", metavar="RECEIPT|FILE|CODE", required=False, shell_complete=complete_leases)
@click.option("--list", "every", is_flag=True, help="List all error codes.")
@data_option
@output_option
@click.pass_context
def explain(
    context: click.Context, what: str | None, every: bool, data: Path | None, output: str
) -> None:
    """Explain a receipt's figures, or an error code.

    RECEIPT is the id of a lease, or the first 8 or more digits of it; a node is asked for it. A
    FILE and a CODE are explained offline.
    """
    if every:
        _list(output)
    elif what is None:
        raise click.UsageError("Give a receipt, a file or an error code, or --list")
    elif _CODE.fullmatch(what):
        _code(what.upper(), output)
    else:
        _receipt(context, what, data, output)


def _list(output: str) -> None:
    from hypermesh.cli.catalogue import catalogue
    from hypermesh.cli.output import emit, table

    rows = [
        {"code": code, "title": error.title, "exit": error.exit_code}
        for code, error in catalogue().items()
    ]
    emit(rows, output, table(rows, ""))


def _code(code: str, output: str) -> None:
    import difflib

    from hypermesh.cli.catalogue import EXIT_CODES, catalogue, meaning
    from hypermesh.cli.output import emit, facts
    from hypermesh.wire.errors import NotFound

    known = catalogue()
    error = known.get(code)
    if error is None:
        near = difflib.get_close_matches(code, known, 1)
        raise NotFound(
            f"This version has no error {code}",
            fix=(f"Did you mean {near[0]}? " if near else "") + "`hm explain --list` has them all",
        )
    shown = {
        "code": code,
        "title": error.title,
        "means": meaning(error),
        "fix": error.remedy or "as the error itself says where it happens",
        "exit code": f"{error.exit_code} ({EXIT_CODES.get(error.exit_code, 'other')})",
        "http": error.status,
    }
    value = {
        "code": code,
        "title": error.title,
        "meaning": meaning(error),
        "fix": error.remedy,
        "exit_code": error.exit_code,
        "status": error.status,
    }
    emit(value, output, facts(shown))


def _receipt(context: click.Context, what: str, data: Path | None, output: str) -> None:
    from hypermesh.assets.origin import origins
    from hypermesh.assets.receipt import ReceiptInvalid
    from hypermesh.assets.receipt_check import verify_receipt
    from hypermesh.cli.output import emit, facts, table

    document = _document(what, data)
    verdict = verify_receipt(document)
    found = list(origins(document)) if verdict.ok else []
    rows = [
        {"figure": each.figure, "value": each.value, "from": each.by, "where": each.where}
        for each in found
    ]
    value = {
        "lease": document.lease,
        "ok": verdict.ok,
        "genesis": verdict.genesis,
        "trust": verdict.trust,
        "figures": rows,
    }
    head = facts({"receipt": document.lease, "network": _network(document), **_verdict(verdict)})
    emit(value, output, f"{head}\n\n{table(rows, 'Its figures mean nothing.')}")
    if not verdict.ok:
        context.exit(ReceiptInvalid.exit_code)


def _document(what: str, data: Path | None) -> ReceiptDocument:
    """From the file of that name, if there is one; else from the node."""
    from hypermesh.assets.receipt import read

    file = Path(what)
    if file.is_file():
        return read(file.read_bytes())
    with mesh(data) as here:
        return here.receipts.get(what)


def _network(document: ReceiptDocument) -> str:
    return f"{document.genesis.name} ({document.genesis.id}), {document.assurance}"


def _verdict(verdict: Verdict) -> dict[str, object]:
    failed = [check for check in verdict.checks if not check.ok]
    if not failed:
        return {"verified": f"all {len(verdict.checks)} checks hold (hm verify lists them)"}
    first = failed[0]
    return {"verified": f"NO, {len(failed)} checks failed; the first is {first.what}: {first.why}"}
