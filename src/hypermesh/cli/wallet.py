"""`hm wallet`: the owner's account."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Group, data_option, mesh, output_option, watch_option

if TYPE_CHECKING:
    from hypermesh.wire.api.account import AccountView, Change, EntryView

SHOWN = 20


@click.group(cls=Group)
def wallet() -> None:
    """Show the owner's account."""


@wallet.command("show", example="hm wallet show\nhm wallet show --watch")
@watch_option
@data_option
@output_option
def wallet_show(data: Path | None, output: str) -> None:
    """Show balance, bonds and escrows."""
    from hypermesh.cli.output import emit, facts
    from hypermesh.wire.amount import format_caes

    with mesh(data) as here:
        account = here.accounts.get()
    note = " (test units: this network has no reserve)" if account.anchor == "none" else ""
    shown = {
        "owner": account.owner,
        "balance": f"{format_caes(account.balance)} CAES{note}",
        "bonded": f"{format_caes(account.bonded)} CAES",
        "in escrow": f"{format_caes(account.in_escrow)} CAES",
    }
    if account.unbonding:
        shown["unbonding"] = f"{format_caes(account.unbonding)} CAES, on its way back"
    emit(account, output, facts(shown))


@wallet.command("history", example="hm wallet history\nhm wallet history --last 100")
@click.option(
    "--last",
    default=SHOWN,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many of the newest.",
)
@click.option("--of", "owner", default=None, help="Another owner: its id or one of its nodes.")
@watch_option
@data_option
@output_option
def wallet_history(last: int, owner: str | None, data: Path | None, output: str) -> None:
    """Show why the balance is what it is: every movement, newest first."""
    from hypermesh.cli.output import emit, table
    from hypermesh.cli.party import meant_owner

    with mesh(data) as here:
        whose = "me" if owner is None else meant_owner(here, owner)
        account = here.accounts.get(whose)
        found = list(islice(here.accounts.entries(whose), last))
    rows = [_row(each) for each in found]
    emit(found, output, f"{table(rows, 'Nothing has moved yet.')}\n\n{_sum(account, found)}")


def _row(entry: EntryView) -> dict[str, object]:
    from hypermesh.cli.output import moment
    from hypermesh.wire.amount import format_caes

    return {
        "when": moment(entry.time_ms),
        "block": entry.height,
        "caes": _signed(entry.change.balance),
        "balance": format_caes(entry.after.balance),
        "elsewhere": _elsewhere(entry.change),
        "why": entry.words,
    }


def _signed(amount: int) -> str | None:
    from hypermesh.wire.amount import format_caes

    return f"{'+' if amount > 0 else ''}{format_caes(amount)}" if amount else None


def _elsewhere(change: Change) -> str | None:
    """What moved in the parts of the account that are not the balance."""
    parts = {
        "bonded": change.bonded,
        "unbonding": change.unbonding,
        "in escrow": change.in_escrow,
    }
    said = [f"{_signed(amount)} {name}" for name, amount in parts.items() if amount]
    return ", ".join(said) or None


def _sum(account: AccountView, found: list[EntryView]) -> str:
    from hypermesh.wire.amount import format_caes

    balance = f"balance now {format_caes(account.balance)} CAES"
    oldest = found[-1] if found else None
    if oldest is None or oldest.sequence == 1:
        return f"{balance}, the sum of these"
    before = oldest.after.balance - oldest.change.balance
    return f"{balance}: {format_caes(before)} before these, and these"


@wallet.command("send", example="hm wallet send bob 1.5 --memo 'for the cores'")
@click.argument("to", metavar="OWNER")
@click.argument("caes", metavar="CAES")
@click.option("--memo", default="", help="At most 200 characters; everybody can read it.")
@data_option
@output_option
def wallet_send(to: str, caes: str, memo: str, data: Path | None, output: str) -> None:
    """Pay CAES to OWNER: an owner's id, the beginning of it, or one of its nodes by name."""
    from hypermesh.cli.output import emit
    from hypermesh.cli.party import meant_owner
    from hypermesh.wire.amount import format_caes, parse_caes

    amount = parse_caes(caes)
    with mesh(data) as here:
        owner = meant_owner(here, to)
        sent = here.accounts.transfer(owner, amount, memo)
    emit(
        sent,
        output,
        f"Paid {format_caes(amount)} CAES to owner {owner[:16]}, "
        f"in block {sent.height}; transaction {sent.tx}",
    )
