"""`hm trust`: which roots the programs of this machine believe."""

from __future__ import annotations

from pathlib import Path

import click

from hypermesh.cli.command import Group, data_option, mesh, output_option


@click.group(cls=Group)
def trust() -> None:
    """Have this machine's programs believe a root, or no longer."""


_bundle_option = click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of roots in PEM, instead of the system's store.",
)
_yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@trust.command("install", example="hm trust install\nhm trust install root.pem --bundle b.pem")
@click.argument(
    "root", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@_bundle_option
@_yes_option
@data_option
@output_option
def trust_install(
    root: Path | None, bundle: Path | None, yes: bool, data: Path | None, output: str
) -> None:
    """Have programs believe what ROOT (PEM) signs; without ROOT, that of this node's network.

    It is said what changes, and asked for. Whoever holds the key of a root can stand for any name,
    unless the root is constrained: compare the fingerprint first.
    """
    from hypermesh.cli.output import emit
    from hypermesh.standalone.trust import anchors

    der = _root(root, data)
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
@click.argument(
    "root", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@_bundle_option
@_yes_option
@data_option
@output_option
def trust_uninstall(
    root: Path | None, bundle: Path | None, yes: bool, data: Path | None, output: str
) -> None:
    """Take away what `hm trust install ROOT` put there."""
    from hypermesh.cli.output import emit
    from hypermesh.standalone.trust import anchors
    from hypermesh.wire.errors import NotFound

    sha256 = anchors.digest(_root(root, data))
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


def _root(file: Path | None, data: Path | None) -> bytes:
    """The root in `file`, or that of the network of this machine's node; DER."""
    import ssl

    from hypermesh.standalone.trust import anchors
    from hypermesh.wire.errors import NotFound

    if file is not None:
        return anchors.read_root(file)
    with mesh(data) as here:
        chain = here.certificates.get("me").chain
    if not chain:
        raise NotFound("This node does not have its own certificate")
    return ssl.PEM_cert_to_DER_cert(chain[-1])


def _ask(what: str, where: Path | None, yes: bool) -> None:
    said = f"{what}\n  in {where}"
    if yes:
        click.echo(said, err=True)
    else:
        click.confirm(f"{said}?", abort=True, err=True)
