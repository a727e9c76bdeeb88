"""`hm block`: the blocks of the ledger, decoded."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Group, data_option, mesh, output_option, watch_option

if TYPE_CHECKING:
    from hypermesh.wire.api.ledger import OperationView

SHOWN = 20


@click.group(cls=Group)
def block() -> None:
    """Show the blocks of the ledger."""


@block.command("ls", example="hm block ls\nhm block ls --last 100 --output jsonl")
@click.option(
    "--last",
    default=SHOWN,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many of the newest.",
)
@watch_option
@data_option
@output_option
def block_ls(last: int, data: Path | None, output: str) -> None:
    """List blocks with what is in them, newest first."""
    from hypermesh.cli.output import emit, moment, table

    with mesh(data) as here:
        found = list(islice(here.ledger.blocks(), last))
    rows = [
        {
            "block": each.height if number == 0 else "",
            "when": moment(each.time_ms) if number == 0 else "",
            "what": said(operation),
        }
        for each in found
        for number, operation in enumerate(each.operations[1:] or each.operations)
    ]
    emit(found, output, table(rows, "No blocks yet."))


@block.command("show", example="hm block show 12")
@click.argument("height", type=click.IntRange(min=1))
@data_option
@output_option
def block_show(height: int, data: Path | None, output: str) -> None:
    """Show one block: its header, and every entry."""
    from hypermesh.cli.output import emit, facts, moment, table

    with mesh(data) as here:
        found = here.ledger.block(height)
    header = facts(
        {
            "block": found.height,
            "time": moment(found.time_ms),
            "hash": found.hash,
            "previous": found.previous,
            "state": found.app_hash,
            "entries root": found.entries_root,
            "results root": found.results_root,
            "sequencer": found.sequencer,
        }
    )
    rows = [
        {
            "index": each.index,
            "transaction": None if each.tx is None else each.tx[:16],
            "type": each.type,
            "what": said(each),
        }
        for each in found.operations
    ]
    emit(found, output, f"{header}\n\n{table(rows, '')}")


def said(operation: OperationView) -> str:
    """An operation in words, and whether it was refused."""
    if operation.code == "ok":
        return operation.words
    proofs = f" ({', '.join(operation.failures)})" if operation.failures else ""
    return f"{operation.words}: refused, {operation.refusal or operation.code}{proofs}"
