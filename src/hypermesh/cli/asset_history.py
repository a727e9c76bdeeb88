"""`hm asset history`: what was done to an asset, with proofs that are checked here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Command, data_option, mesh, output_option
from hypermesh.cli.completion import complete_assets

if TYPE_CHECKING:
    from hypermesh.wire.api.ledger import HistoryPage

ID_DIGITS = 32
"""Of a whole id: 16 bytes in hex."""


@click.command(
    "history",
    cls=Command,
    example="hm asset history f95dc413\nhm asset history f95dc413 --verify",
)
@click.argument("asset_id", metavar="ASSET", shell_complete=complete_assets)
@click.option("--verify", is_flag=True, help="Check every proof here, and say what they show.")
@data_option
@output_option
def asset_history(asset_id: str, verify: bool, data: Path | None, output: str) -> None:
    """Show what was done to an asset, oldest first. ASSET is its id or the beginning of it."""
    from hypermesh.cli.output import emit, moment, table

    with mesh(data) as here:
        whole = _meant(asset_id, (each.asset for each in here.assets.list()))
        genesis = here.network.status().genesis
        pages = list(here.assets.history(whole))
    rows = [
        {
            "block": entry.proof.height,
            "when": moment(entry.proof.time_ms),
            "transaction": entry.proof.tx[:16],
            "what": entry.operation.words,
        }
        for page in pages
        for entry in page.items
    ]
    said = table(rows, "Nothing was done to it.")
    if verify:
        said += "\n\n" + "\n".join(_verified(pages, genesis))
    emit([entry for page in pages for entry in page.items], output, said)


def _meant(text: str, known: Iterable[str]) -> str:
    from hypermesh.wire.errors import NotFound

    if len(text) == ID_DIGITS:
        return text
    found = [each for each in known if text and each.startswith(text)]
    if len(found) != 1:
        raise NotFound(f"{len(found)} assets begin with {text[:80]!r}", fix="See `hm asset ls`")
    return found[0]


def _verified(pages: list[HistoryPage], genesis: str) -> list[str]:
    """What the proofs show. Raises `ProofInvalid`."""
    from hypermesh.assets.history import verify_history
    from hypermesh.crypto.digest import digest_of
    from hypermesh.ledger.errors import ProofInvalid
    from hypermesh.ledger.shown import read_genesis, read_row, read_transaction

    last = pages[-1]
    document = read_genesis(last.genesis)
    found = digest_of("genesis", document).hex()
    if found != genesis:
        raise ProofInvalid("The history is of another network", why=found)
    proofs = [read_transaction(entry.proof) for page in pages for entry in page.items]
    history = verify_history(document, bytes.fromhex(last.asset), read_row(last.row), proofs)
    count = len(history.entries)
    return [
        f"verified: {count} operations are in blocks that the sequencer of genesis {found} signed",
        f"complete: all leases ({history.row.epoch}) and all changes of terms or owner "
        f"({history.row.revision}), counted by the asset's row after block {history.height}",
        "not shown: that no activation, settlement, change of state or offer to sell is missing "
        f"({history.uncounted} of these are such); nothing on the ledger counts those",
    ]
