"""`hm transfer`: files on their way from this node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import (
    Group,
    data_option,
    mesh,
    output_option,
    quiet_option,
    say,
    watch_option,
)

if TYPE_CHECKING:
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.transfer import TransferView

ID_CHARACTERS = 32
"""Of a whole id: 16 bytes in hex."""
ROWS_DEFAULT = 20


@click.group(cls=Group)
def transfer() -> None:
    """Show and cancel what is being sent from here."""


@transfer.command("ls", example="hm transfer ls\nhm transfer ls --watch")
@click.option("--limit", type=click.IntRange(1, 10_000), default=ROWS_DEFAULT, show_default=True)
@watch_option
@quiet_option
@data_option
@output_option
def transfer_ls(limit: int, quiet: bool, data: Path | None, output: str) -> None:
    """List files sent from this node, newest first."""
    import itertools

    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        found = list(itertools.islice(here.transfer.list(), limit))
    if quiet:
        emit_ids(each.transfer for each in found)
        return
    emit(found, output, table([_row(each) for each in found], "Nothing yet: hm send FILE NODE"))


def _row(view: TransferView) -> dict[str, object]:
    from hypermesh.cli.output import moment, printable, size

    share = view.done / view.size if view.size else 1.0
    return {
        "transfer": view.transfer[:16],
        "state": view.state.value,
        "file": printable(view.name),
        "to": printable(view.to_name),
        "size": size(view.size),
        "done": f"{share:.0%}",
        "since": moment(view.submitted_ms),
        "problem": None if view.problem is None else printable(view.problem.detail),
    }


@transfer.command("cancel", example="hm transfer cancel 3f9c")
@click.argument("transfer_id")
@data_option
@output_option
def transfer_cancel(transfer_id: str, data: Path | None, output: str) -> None:
    """Cancel a transfer. TRANSFER_ID may be shortened."""
    from hypermesh.cli.output import emit
    from hypermesh.wire.api.transfer import FINAL

    with mesh(data) as here:
        sent = here.transfer.get(_whole_id(here, transfer_id))
        was_over = sent.view.state in FINAL
        view = sent.view if was_over else sent.cancel()
    emit(view, output, f"{'Was over already' if was_over else 'Now'}: {view.state.value}")


@transfer.command("proof", example="hm transfer proof 3f9c delivered.json")
@click.argument("transfer_id")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@data_option
@output_option
def transfer_proof(transfer_id: str, file: Path, data: Path | None, output: str) -> None:
    """Write the proof of a delivery to FILE, for `hm verify`. TRANSFER_ID may be shortened."""
    from hypermesh.cli.output import emit
    from hypermesh.cli.send import write_proof

    with mesh(data) as here:
        document = here.transfer.get(_whole_id(here, transfer_id)).proof()
    write_proof(document, file)
    say(f"It is in {file}; check it anywhere: hm verify {file}", output)
    if output != "table":
        emit(document, output, "")


def _whole_id(here: Mesh, transfer_id: str) -> str:
    from hypermesh.cli.abbreviation import whole_id

    if len(transfer_id) == ID_CHARACTERS:
        return transfer_id
    return whole_id(
        transfer_id, (each.transfer for each in here.transfer.list()), "transfer", "hm transfer ls"
    )
