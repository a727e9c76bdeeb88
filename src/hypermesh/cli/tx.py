"""`hm tx`: transactions of the ledger, decoded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from hypermesh.cli.command import Group, data_option, mesh, output_option

LONG = 64
"""Characters of a value beyond which it is cut; `--output json` has it whole."""


@click.group(cls=Group)
def tx() -> None:
    """Show transactions of the ledger."""


@tx.command("show", example="hm tx show 3f9c12ab\nhm tx show 3f9c12ab --output json")
@click.argument("transaction_id", metavar="TRANSACTION")
@data_option
@output_option
def tx_show(transaction_id: str, data: Path | None, output: str) -> None:
    """Show one transaction: TRANSACTION is its id, or the first 8 or more digits of it."""
    from hypermesh.cli.block import said
    from hypermesh.cli.output import emit, facts, moment

    with mesh(data) as here:
        found = here.ledger.transaction(transaction_id)
    operation = found.operation
    shown: dict[str, object] = {
        "transaction": found.tx,
        "what": said(operation),
        "type": operation.type,
        "signer": f"{operation.signer_name} ({operation.signer})",
        "block": f"{found.height}, entry {found.index}, {moment(found.time_ms)}",
        "result": operation.code,
        "nonce": found.nonce,
        "valid": f"{moment(found.valid_from_ms)} to {moment(found.valid_until_ms)}",
    }
    if found.attestation:
        shown["attestation"] = found.attestation
    shown |= {f"body.{name}": _cut(value) for name, value in _flat(found.body).items()}
    emit(found, output, facts(shown))


def _flat(body: Mapping[str, object], before: str = "") -> dict[str, object]:
    """Members of members under one name, joined by dots."""
    found: dict[str, object] = {}
    for name, value in body.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONG else f"{text[:LONG]}... ({len(text)} characters)"
