"""`hm events`: what happens, as it happens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Command, data_option, mesh, output_option

if TYPE_CHECKING:
    from hypermesh.sdk.events import Event

KINDS = ("block", "asset", "lease", "job", "node", "privacy", "account", "name", "phase", "live")
ID_SHOWN = 12


@click.command(cls=Command, example="hm events\nhm events --kinds block,lease --since 12.0")
@click.option("--since", metavar="ID", help="Only after this event; 0.0 is all that is kept.")
@click.option(
    "--kinds",
    metavar="LIST",
    help=f"Some of {', '.join(KINDS)}, separated by commas (all but live).",
)
@data_option
@output_option
def events(since: str | None, kinds: str | None, data: Path | None, output: str) -> None:
    """Follow what happens, until Ctrl-C.

    One line an event. Over a break of the connection, or a restart of the node, it goes on where
    it was. With JSON every line is a document with the event's id, by which --since goes on.
    """
    from hypermesh.cli.output import line, printable

    wanted = [kind for kind in KINDS if kind != "live"] if kinds is None else kinds.split(",")
    with mesh(data) as here:
        for event in here.events(since, wanted):
            click.echo(printable(_told(event)) if output == "table" else line(event))


def _told(event: Event) -> str:
    """An event for people: when, its id, and what happened."""
    from datetime import UTC, datetime

    from hypermesh.wire.api.event import ResetEvent

    if isinstance(event.data, ResetEvent):
        return f"--------  {event.data.since:>9}  reset    {event.data.reason}"
    local = datetime.fromtimestamp(event.data.time_ms / 1000, tz=UTC).astimezone()
    return f"{local:%H:%M:%S}  {event.id or '-':>9}  {event.kind.value:<7}  {_words(event)}"


def _words(event: Event) -> str:
    from hypermesh.wire.amount import format_caes
    from hypermesh.wire.api import event as told

    match event.data:
        case told.BlockEvent(height=height, types=types, refused=refused, epoch=epoch):
            counted = ", ".join(f"{count} {name}" for name, count in sorted(types.items()))
            parts = [f"{height}: {counted or 'empty'}"]
            parts += [f"{refused} refused"] if refused else []
            parts += [] if epoch is None else [f"epoch {epoch} begins"]
            return "; ".join(parts)
        case told.LeaseStateEvent() as lease:
            paid = "" if lease.paid is None else f", {format_caes(lease.paid)} CAES paid"
            mine = ", mine" if lease.mine else ""
            return f"{lease.lease[:ID_SHOWN]} {lease.what} on {lease.asset[:ID_SHOWN]}{paid}{mine}"
        case told.AssetEvent() as asset:
            state = f"{asset.kind.value}, {asset.state.value}, {asset.level.value}"
            return f"{asset.asset[:ID_SHOWN]} {asset.what}: {state}"
        case told.NodeEvent() as node:
            reason = f": {node.reason}" if node.reason else ""
            return f"{node.node[:ID_SHOWN]} {node.what}{reason}"
        case told.AccountEvent() as account:
            owners = " to ".join(each[:ID_SHOWN] for each in account.accounts)
            moved = f" {format_caes(account.amount)} CAES" if account.amount else ""
            return f"{account.what}{moved}: {owners}"
        case told.NameEvent() as name:
            mine = ", mine" if name.mine else ""
            return f"{name.label} {name.what}: {(name.asset or name.node or '')[:ID_SHOWN]}{mine}"
        case told.PhaseEvent() as names:
            return f"names are answered by phase {names.phase}, before by {names.before}"
        case told.JobEvent() as job:
            return f"{job.job[:ID_SHOWN]} {job.state.value}"
        case told.LiveEvent() as live:
            return f"{live.summary}; {live.rates.operations:g} operations/s"
        case _:
            return ""
