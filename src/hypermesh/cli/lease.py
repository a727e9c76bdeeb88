"""`hm lease`: what this owner's nodes have leased, and what others lease from them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import (
    Group,
    data_option,
    mesh,
    output_option,
    quiet_option,
    watch_option,
)
from hypermesh.cli.completion import complete_leases
from hypermesh.cli.receipt import lease_receipt

if TYPE_CHECKING:
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.lease import LeaseDetail, LeaseView

ID_CHARACTERS = 64
"""Of a whole id: 32 bytes in hex."""


@click.group(cls=Group)
def lease() -> None:
    """Show and end leases."""


@lease.command("ls", example="hm lease ls --all\nhm lease ls --watch")
@click.option("--all", "show_all", is_flag=True, help="Also those that are over.")
@watch_option
@quiet_option
@data_option
@output_option
def lease_ls(show_all: bool, quiet: bool, data: Path | None, output: str) -> None:
    """List leases in which this owner lends or borrows, newest first."""
    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        found = [each for each in here.leases.list() if show_all or not _is_over(each)]
    if quiet:
        emit_ids(each.lease for each in found)
        return
    empty = "No leases." if show_all else "No lease runs; --all shows those that are over."
    emit(found, output, table([_row(each) for each in found], empty))


def _is_over(lease: LeaseView) -> bool:
    return lease.paid is not None


def _row(lease: LeaseView) -> dict[str, object]:
    from hypermesh.cli.output import amount, moment
    from hypermesh.wire.amount import format_caes

    cost = lease.escrow if lease.paid is None else lease.paid + (lease.fee or 0)
    return {
        "lease": lease.lease[:16],
        "kind": lease.kind.value,
        "state": lease.state.value,
        "amount": amount(lease.amount, lease.kind),
        "caes": f"{'' if _is_over(lease) else 'at most '}{format_caes(cost)}",
        "ends": moment(lease.end_ms) if lease.end_ms else None,
        "address": lease.address,
    }


@lease.command("show", example="hm lease show 3f9c\nhm lease show 3f9c --watch")
@click.argument("lease_id", shell_complete=complete_leases)
@watch_option
@data_option
@output_option
def lease_show(lease_id: str, data: Path | None, output: str) -> None:
    """Show one lease and its life so far. LEASE_ID may be shortened."""
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        detail = here.leases.get(_whole_id(here, lease_id))
    emit(detail, output, _story(detail))


def _story(detail: LeaseDetail) -> str:
    from hypermesh.cli.output import amount, facts, moment, table
    from hypermesh.wire.amount import format_caes

    lease = detail.lease
    shown: dict[str, object] = {
        "lease": lease.lease,
        "of": f"{amount(lease.amount, lease.kind)} of {lease.kind.value} at {lease.address}",
        "state": lease.state.value,
        "provider": f"{lease.provider_name} ({lease.provider[:16]})".lstrip(),
        "consumer": f"{lease.consumer_name} ({lease.consumer[:16]})".lstrip(),
        "escrow": f"{format_caes(lease.escrow)} CAES",
    }
    if lease.start_ms:
        shown["runs"] = f"{moment(lease.start_ms)} to {moment(lease.end_ms)}"
    if lease.paid is not None:
        shown["settled"] = _settlement(lease)
    events = [
        {"when": moment(each.time_ms), "height": each.height, "what": each.words}
        for each in detail.events
    ]
    return f"{facts(shown)}\n\n{table(events, 'Nothing has happened to it yet.')}"


@lease.command("release", example="hm lease release 3f9c")
@click.argument("lease_id", shell_complete=complete_leases)
@data_option
@output_option
def lease_release(lease_id: str, data: Path | None, output: str) -> None:
    """End a lease now and settle it by its metered use. LEASE_ID may be shortened."""
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        found = _meant(lease_id, here.leases.list())
        settled = here.leases.release(found)
    said = "Was over already" if _is_over(found) else "Settled"
    emit(settled, output, f"{said}: {_settlement(settled)}")


def _settlement(lease: LeaseView) -> str:
    from hypermesh.wire.amount import format_caes

    return (
        f"paid {format_caes(lease.paid or 0)} CAES, fee {format_caes(lease.fee or 0)}, "
        f"refunded {format_caes(lease.refund or 0)}"
    )


def _whole_id(here: Mesh, lease_id: str) -> str:
    # One that is given whole may be a lease of others, which the list does not have.
    if len(lease_id) == ID_CHARACTERS:
        return lease_id
    return _meant(lease_id, here.leases.list()).lease


def _meant(lease_id: str, leases: Iterable[LeaseView]) -> LeaseView:
    """The only lease whose id begins so."""
    from hypermesh.cli.abbreviation import whole_id

    known = {each.lease: each for each in leases}
    return known[whole_id(lease_id, known, "lease", "hm lease ls --all")]


lease.add_command(lease_receipt)
