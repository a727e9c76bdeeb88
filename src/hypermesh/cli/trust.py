"""`hm trust`: which roots the programs of this machine believe."""

from __future__ import annotations

from pathlib import Path

import click

from hypermesh.cli.command import Group, output_option


@click.group(cls=Group)
def trust() -> None:
    """Have this machine's programs believe a root, or no longer."""


_bundle_option = click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of roots in PEM, instead of the system's store.",
)
_yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@trust.command(
    "install", example="hm trust install root.pem\nhm trust install root.pem --bundle b.pem"
)
@click.argument("root", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_bundle_option
@_yes_option
@output_option
def trust_install(root: Path, bundle: Path | None, yes: bool, output: str) -> None:
    """Have programs believe what ROOT (PEM) signs.

    It is said what changes, and asked for. Whoever holds the key of a root can stand for any name,
    unless the root is constrained: compare the fingerprint first.
    """
    from hypermesh.cli.output import emit
    from hypermesh.standalone.trust import anchors

    der = anchors.read_root(root)
    sha256 = anchors.digest(der)
    place = None if bundle is not None else anchors.system()
    _ask(f"Believe the root {sha256}", bundle or (place.directory if place else None), yes)
    if bundle is not None:
        before = bundle.read_text() if bundle.exists() else ""
        anchors.change_bundle(bundle, anchors.added(before, der))
    elif place is not None:
        anchors.change_system(place, der, sha256)
    emit({"root": sha256, "believed": True}, output, f"believed  {sha256}")


@trust.command("uninstall", example="hm trust uninstall root.pem")
@click.argument("root", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_bundle_option
@_yes_option
@output_option
def trust_uninstall(root: Path, bundle: Path | None, yes: bool, output: str) -> None:
    """Take away what `hm trust install ROOT` put there."""
    from hypermesh.cli.output import emit
    from hypermesh.standalone.trust import anchors
    from hypermesh.wire.errors import NotFound

    sha256 = anchors.digest(anchors.read_root(root))
    place = None if bundle is not None else anchors.system()
    _ask(
        f"No longer believe the root {sha256}", bundle or (place.directory if place else None), yes
    )
    if bundle is not None:
        if not bundle.exists():
            raise NotFound(f"{bundle} is not there")
        anchors.change_bundle(bundle, anchors.removed(bundle.read_text(), sha256))
    elif place is not None:
        anchors.change_system(place, None, sha256)
    emit({"root": sha256, "believed": False}, output, f"removed  {sha256}")


def _ask(what: str, where: Path | None, yes: bool) -> None:
    said = f"{what}\n  in {where}"
    if yes:
        click.echo(said, err=True)
    else:
        click.confirm(f"{said}?", abort=True, err=True)
