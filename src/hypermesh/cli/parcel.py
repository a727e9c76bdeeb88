"""`hm parcel`: messages to nodes that need not be up now."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

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
from hypermesh.cli.completion import complete_nodes, complete_parcels
from hypermesh.wire.quantity import parse_duration

if TYPE_CHECKING:
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.parcel import ParcelView

ID_CHARACTERS = 64
"""Of a whole id: 32 bytes in hex."""
ROWS_DEFAULT = 20


@click.group(cls=Group)
def parcel() -> None:
    """Send messages to nodes that need not be up now."""


@parcel.command(
    "send",
    example='hm parcel send desk "the results are in"\n'
    "hm parcel send desk --file report.json --service 9 --expires 3d\n"
    "tar c notes | hm parcel send desk --file -",
)
@click.argument("to", metavar="NODE", shell_complete=complete_nodes)
@click.argument("text", required=False)
@click.option("--file", type=click.File("rb"), help="Send what is in a file, or - for stdin.")
@click.option("--service", type=click.IntRange(0, 65535), help="For which program there it is.")
@click.option(
    "--expires", type=Quantity("duration", parse_duration), help="After how long: 30m, 12h, 7d."
)
@data_option
@output_option
def parcel_send(
    to: str,
    text: str | None,
    file: BinaryIO | None,
    service: int | None,
    expires: int | None,
    data: Path | None,
    output: str,
) -> None:
    """Send TEXT, or a file of up to 4 MB, to NODE: its name, id, the beginning of it, or an
    address.

    The message is sealed for NODE and kept here, durably, until another node has it: NODE itself,
    or one that carries it there. It is delivered once, or expires (after 7 days).
    """
    from hypermesh.cli.output import emit
    from hypermesh.cli.party import meant_node
    from hypermesh.wire.api.parcel import LIFETIME_MS_DEFAULT
    from hypermesh.wire.errors import InvalidInput
    from hypermesh.wire.parcel import BODY_BYTES_MAX

    if (text is None) == (file is None):
        raise InvalidInput("Give either TEXT or --file", fix='hm parcel send desk "hello"')
    body = text.encode() if text is not None else file.read(BODY_BYTES_MAX + 1) if file else b""
    if len(body) > BODY_BYTES_MAX:
        raise InvalidInput(
            "The message does not fit a parcel", why=f"at most {BODY_BYTES_MAX} bytes do"
        )
    with mesh(data) as here:
        node = to if to.startswith("hm://") else meant_node(list(here.network.nodes()), to).node
        sent = here.parcels.send(node, body, service, expires or LIFETIME_MS_DEFAULT)
    emit(sent, output, sent.parcel)
    say(f"{sent.state.value}, for {sent.destination_name}", output)


@parcel.command(
    "ls", example="hm parcel ls --received\nhm parcel ls --received --service 9 -q\nhm parcel ls"
)
@click.option("--sent", "box", flag_value="sent", default=True, help="Those sent here (default).")
@click.option("--received", "box", flag_value="received", help="Those that came for this node.")
@click.option("--carried", "box", flag_value="carried", help="Those kept for other nodes.")
@click.option("--service", type=click.IntRange(0, 65535), help="Received for this program alone.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=ROWS_DEFAULT, show_default=True)
@watch_option
@quiet_option
@data_option
@output_option
def parcel_ls(
    box: str, service: int | None, limit: int, quiet: bool, data: Path | None, output: str
) -> None:
    """List parcels of this node, newest first."""
    import itertools

    from hypermesh.cli.output import emit, emit_ids, table
    from hypermesh.wire.api.parcel import Box

    with mesh(data) as here:
        found = list(itertools.islice(here.parcels.list(Box(box), service), limit))
    if quiet:
        emit_ids(each.parcel for each in found)
        return
    empty = {
        "sent": "No parcels sent: hm parcel send NODE TEXT",
        "received": "No parcels received.",
        "carried": "No parcels are carried for others.",
    }[box]
    emit(found, output, table([_row(each) for each in found], empty))


def _row(view: ParcelView) -> dict[str, object]:
    from hypermesh.cli.output import moment, size

    return {
        "parcel": view.parcel[:16],
        "state": view.state.value,
        "from": view.source_name,
        "to": view.destination_name,
        "service": view.service,
        "size": size(view.size_bytes),
        "sent": moment(view.created_ms),
        "expires": moment(view.expires_ms),
    }


@parcel.command("show", example="hm parcel show 3f9c\nhm parcel show 3f9c --body > report.json")
@click.argument("parcel_id", metavar="PARCEL", shell_complete=complete_parcels)
@click.option("--body", is_flag=True, help="Print the message itself, byte for byte.")
@data_option
@output_option
def parcel_show(parcel_id: str, body: bool, data: Path | None, output: str) -> None:
    """Show one parcel; PARCEL may be shortened."""
    from hypermesh.cli.output import emit
    from hypermesh.wire.errors import NotFound

    with mesh(data) as here:
        found = here.parcels.get(_whole_id(here, parcel_id))
    if not body:
        emit(found, output, _facts(found.parcel, found.body))
        return
    if found.body is None:
        raise NotFound(
            "The message is not here",
            why=f"the parcel is {found.parcel.state.value}: it is sealed for its destination",
            fix="`hm parcel ls --received` shows those that came for this node",
        )
    sys.stdout.buffer.write(found.body)
    sys.stdout.buffer.flush()


@parcel.command("rm", example="hm parcel rm 3f9c")
@click.argument("parcel_id", metavar="PARCEL", shell_complete=complete_parcels)
@data_option
@output_option
def parcel_rm(parcel_id: str, data: Path | None, output: str) -> None:
    """Remove a received message, or a sent one whose end is known. PARCEL may be shortened."""
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        removed = here.parcels.remove(_whole_id(here, parcel_id))
    emit(removed, output, f"Removed {removed.parcel}")


def _facts(view: ParcelView, body: bytes | None) -> str:
    from hypermesh.cli.output import facts, moment, size

    shown: dict[str, object] = {
        "parcel": view.parcel,
        "state": view.state.value,
        "from": f"{view.source_name} ({view.source})",
        "to": f"{view.destination_name} ({view.destination}), service {view.service}",
        "size": size(view.size_bytes),
        "sent": moment(view.created_ms),
        "expires": moment(view.expires_ms),
    }
    if view.custodian is not None:
        shown["taken by"] = f"{view.custodian_name} ({view.custodian})"
    if view.received_ms is not None:
        shown["received"] = moment(view.received_ms)
    if view.ended_ms is not None:
        shown["ended"] = moment(view.ended_ms)
    if body is not None:
        shown["message"] = _preview(body)
    return facts(shown)


def _preview(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "not text; --body prints it"
    return text if len(text) <= 500 else f"{text[:500]}… (--body prints all of it)"


def _whole_id(here: Mesh, parcel_id: str) -> str:
    from hypermesh.cli.abbreviation import whole_id
    from hypermesh.wire.api.parcel import Box

    if len(parcel_id) == ID_CHARACTERS:
        return parcel_id
    boxes = (Box.RECEIVED, Box.SENT, Box.CARRIED)
    known = (each.parcel for box in boxes for each in here.parcels.list(box))
    return whole_id(parcel_id, known, "parcel", "hm parcel ls")
