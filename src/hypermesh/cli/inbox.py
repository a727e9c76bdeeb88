"""`hm inbox`: files that other nodes sent here, and who may send."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import (
    Group,
    Quantity,
    data_option,
    mesh,
    output_option,
    quiet_option,
    say,
    watch_option,
)
from hypermesh.wire.quantity import parse_bytes

if TYPE_CHECKING:
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.transfer import ReceivedView

ID_CHARACTERS = 32
ROWS_DEFAULT = 20


@click.group(cls=Group)
def inbox() -> None:
    """Show the files that other nodes sent here."""


@inbox.command("ls", example="hm inbox ls\nhm inbox ls --watch")
@click.option("--limit", type=click.IntRange(1, 10_000), default=ROWS_DEFAULT, show_default=True)
@watch_option
@quiet_option
@data_option
@output_option
def inbox_ls(limit: int, quiet: bool, data: Path | None, output: str) -> None:
    """List files that have come, newest first. With --quiet: their paths."""
    import itertools

    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        found = list(itertools.islice(here.inbox.list(), limit))
    if quiet:
        emit_ids(each.path for each in found)
        return
    emit(found, output, table([_row(each) for each in found], "Nothing has come yet."))


def _row(view: ReceivedView) -> dict[str, object]:
    from hypermesh.cli.output import moment, printable, size

    return {
        "file": printable(view.path),
        "size": size(view.size),
        "from": printable(view.sender_name),
        "came": moment(view.received_ms),
        "transfer": view.transfer[:16],
    }


@inbox.command("proof", example="hm inbox proof 3f9c delivered.json")
@click.argument("transfer_id")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@data_option
@output_option
def inbox_proof(transfer_id: str, file: Path, data: Path | None, output: str) -> None:
    """Write the proof of what came to FILE, for `hm verify`. TRANSFER_ID may be shortened."""
    from hypermesh.cli.output import emit
    from hypermesh.cli.send import write_proof

    with mesh(data) as here:
        document = here.inbox.proof(_whole_id(here, transfer_id))
    write_proof(document, file)
    say(f"It is in {file}; check it anywhere: hm verify {file}", output)
    if output != "table":
        emit(document, output, "")


@inbox.command("senders", example="hm inbox senders")
@quiet_option
@data_option
@output_option
def inbox_senders(quiet: bool, data: Path | None, output: str) -> None:
    """List who else than your own nodes may send files here."""
    from hypermesh.cli.output import emit, emit_ids, size, table

    with mesh(data) as here:
        found = list(here.inbox.senders())
    if quiet:
        emit_ids(each.owner for each in found)
        return
    rows = [{"owner": each.owner[:16], "at most": size(each.bytes_max)} for each in found]
    emit(found, output, table(rows, "Nobody but your own nodes."))


@inbox.command("allow", example="hm inbox allow bob --max 10GiB")
@click.argument("party", metavar="PARTY")
@click.option("--max", "bytes_max", type=Quantity("size", parse_bytes), help="Of all; else 1GiB.")
@data_option
@output_option
def inbox_allow(party: str, bytes_max: int | None, data: Path | None, output: str) -> None:
    """Take files of PARTY: an owner's id, or a node of that owner. `--max` bounds all that is here
    of them at one time."""
    from hypermesh.cli.output import emit, size
    from hypermesh.cli.party import meant_owner
    from hypermesh.wire.api.transfer import SENDER_BYTES_DEFAULT

    with mesh(data) as here:
        view = here.inbox.allow(meant_owner(here, party), bytes_max or SENDER_BYTES_DEFAULT)
    emit(view, output, f"Owner {view.owner[:16]} may send up to {size(view.bytes_max)} here.")


@inbox.command("deny", example="hm inbox deny bob")
@click.argument("party", metavar="PARTY")
@data_option
@output_option
def inbox_deny(party: str, data: Path | None, output: str) -> None:
    """Take no more files of PARTY: an owner's id, or a node of that owner."""
    from hypermesh.cli.output import emit
    from hypermesh.cli.party import meant_owner

    with mesh(data) as here:
        view = here.inbox.deny(meant_owner(here, party))
    emit(view, output, f"Owner {view.owner[:16]} may send nothing here any more.")


def _whole_id(here: Mesh, transfer_id: str) -> str:
    from hypermesh.cli.abbreviation import whole_id

    if len(transfer_id) == ID_CHARACTERS:
        return transfer_id
    return whole_id(
        transfer_id, (each.transfer for each in here.inbox.list()), "transfer", "hm inbox ls"
    )
