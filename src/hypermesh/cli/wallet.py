"""`hm wallet`: the owner's account."""

from __future__ import annotations

from pathlib import Path

import click

from hypermesh.cli.command import Group, data_option, mesh, output_option


@click.group(cls=Group)
def wallet() -> None:
    """Show the owner's account."""


@wallet.command("show")
@data_option
@output_option
def wallet_show(data: Path | None, output: str) -> None:
    """Balance, bonds and escrows."""
    from hypermesh.cli.output import emit, facts
    from hypermesh.wire.amount import format_caes

    with mesh(data) as here:
        account = here.account()
    note = " (test units: this network has no reserve)" if account.anchor == "none" else ""
    emit(
        account,
        output,
        facts(
            {
                "owner": account.owner,
                "balance": f"{format_caes(account.balance)} CAES{note}",
                "bonded": f"{format_caes(account.bonded)} CAES",
                "in escrow": f"{format_caes(account.in_escrow)} CAES",
            }
        ),
    )
