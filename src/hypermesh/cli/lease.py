"""`hm lease`: what this owner's nodes have leased, and what others lease from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Group, data_option, mesh, output_option

if TYPE_CHECKING:
    from hypermesh.wire.api.lease import LeaseView


@click.group(cls=Group)
def lease() -> None:
    """Show and end leases."""


@lease.command("ls")
@click.option("--all", "show_all", is_flag=True, help="Also those that are over.")
@data_option
@output_option
def lease_ls(show_all: bool, data: Path | None, output: str) -> None:
    """List leases in which this owner lends or borrows, newest first."""
    from hypermesh.cli.output import emit, table

    with mesh(data) as here:
        found = [each for each in here.leases() if show_all or not _is_over(each)]
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


@lease.command("release")
@click.argument("lease_id")
@data_option
@output_option
def lease_release(lease_id: str, data: Path | None, output: str) -> None:
    """End a lease now and settle it by its metered use. LEASE_ID may be shortened."""
    from hypermesh.cli.output import emit
    from hypermesh.wire.amount import format_caes
    from hypermesh.wire.errors import InvalidInput, NotFound

    if not lease_id:
        raise InvalidInput("The id of a lease is empty", fix="See `hm lease ls`")
    with mesh(data) as here:
        found = [each for each in here.leases() if each.lease.startswith(lease_id)]
        if len(found) != 1:
            raise NotFound(
                f"{len(found)} leases begin with {lease_id!r}", fix="See `hm lease ls --all`"
            )
        settled = here.release(found[0])
    emit(
        settled,
        output,
        f"{'Was over already' if _is_over(found[0]) else 'Settled'}: "
        f"paid {format_caes(settled.paid or 0)} CAES, fee {format_caes(settled.fee or 0)}, "
        f"refunded {format_caes(settled.refund or 0)}",
    )
