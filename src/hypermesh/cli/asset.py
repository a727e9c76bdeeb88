"""`hm asset`: what the pool has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Group, data_option, mesh, output_option

if TYPE_CHECKING:
    from hypermesh.wire.api.asset import AssetView

KINDS = (
    "cpu",
    "gpu",
    "memory",
    "storage",
    "container",
    "network",
    "service",
    "package",
    "token",
)


@click.group(cls=Group)
def asset() -> None:
    """Show what the pool has."""


@asset.command("ls")
@click.option("--kind", type=click.Choice(KINDS), help="Only assets of this kind.")
@data_option
@output_option
def asset_ls(kind: str | None, data: Path | None, output: str) -> None:
    """List the assets that this node may discover, with their addresses."""
    from hypermesh.cli.output import emit
    from hypermesh.wire.asset import AssetKind

    with mesh(data) as here:
        found = here.assets(AssetKind(kind) if kind else None)
    emit(found, output, asset_table(found))


def asset_table(assets: Iterable[AssetView]) -> str:
    """Assets by host, this machine's first."""
    from hypermesh.cli.output import table

    ordered = sorted(assets, key=lambda each: (not each.mine, each.host_name, each.kind))
    return table([_row(each) for each in ordered], "No assets are visible.")


def _row(asset: AssetView) -> dict[str, object]:
    from hypermesh.cli.output import amount

    return {
        "kind": asset.kind.value,
        "host": asset.host_name + (" (here)" if asset.mine else ""),
        "free": amount(asset.free, asset.kind),
        "of": amount(asset.capacity, asset.kind),
        "enforced": asset.enforcement.value if asset.enforcement else None,
        "level": asset.level.value,
        "state": asset.state.value,
        "address": asset.address,
    }
