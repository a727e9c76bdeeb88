"""`hm lease receipt`: a receipt as a document that needs no node to be verified."""

from __future__ import annotations

from pathlib import Path

import click

from hypermesh.cli.command import Command, data_option, mesh
from hypermesh.cli.completion import complete_leases


@click.command(
    "receipt",
    cls=Command,
    example="hm lease receipt 3f9c12ab > receipt.json\nhm verify receipt.json",
)
@click.argument("lease_id", shell_complete=complete_leases)
@click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file."
)
@data_option
def lease_receipt(lease_id: str, save: Path | None, data: Path | None) -> None:
    """Print the receipt of a lease that is over, as a JSON document, or save it.

    It holds all that shows it: `hm verify` checks it without a node, `hm explain` tells where each
    figure comes from. LEASE_ID may be shortened to its first 8 digits.
    """
    import msgspec

    with mesh(data) as here:
        document = here.receipts.get(lease_id)
    text = msgspec.json.format(msgspec.json.encode(document), indent=1)
    if save is None:
        click.echo(text)
        return
    save.write_bytes(text + b"\n")
    click.echo(f"Saved to {save}; check it anywhere: hm verify {save}", err=True)
