"""`hm token`: who may use this node's API from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Group, Quantity, data_option, mesh, output_option, quiet_option

if TYPE_CHECKING:
    from hypermesh.wire.api.token import TokenCreated, TokenView


def _duration_ms(text: str) -> int:
    from hypermesh.wire.quantity import parse_duration

    return parse_duration(text)


@click.group(cls=Group)
def token() -> None:
    """Let programs elsewhere use this node."""


@token.command("create", example="hm token create laptop --scope read --scope jobs --for 7d")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(["read", "lease", "jobs", "manage"]),
    help="What it lets its bearer do; may be given several times.",
)
@click.option(
    "--for", "lifetime_ms", type=Quantity("duration", _duration_ms), help="How long (30d)."
)
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the network's root certificate there (PEM), for `curl --cacert`.",
)
@data_option
@output_option
def token_create(
    name: str,
    scopes: tuple[str, ...],
    lifetime_ms: int | None,
    ca: Path | None,
    data: Path | None,
    output: str,
) -> None:
    """Make a token and print it, once.

    It is good on this machine and, with the network's root certificate, from others.
    """
    from hypermesh.cli.command import say
    from hypermesh.cli.output import emit, moment
    from hypermesh.wire.api.token import LIFETIME_DEFAULT_MS, Scope

    with mesh(data) as here:
        created = here.tokens.create(
            name, [Scope(each) for each in scopes], lifetime_ms or LIFETIME_DEFAULT_MS
        )
    if ca is not None:
        ca.write_text(created.remote.root_certificate)
    emit(created, output, created.token)
    view = created.view
    until = moment(view.expires_ms)
    say(f"Token {view.id} may {', '.join(view.scopes)} until {until}.", output)
    say(f"It is not shown again. Elsewhere:\n{_example(created, ca)}", output)


def _example(created: TokenCreated, ca: Path | None) -> str:
    remote = created.remote
    if remote.url is None:
        return "  nowhere: the node has no TLS listener (see `hm up --tls-port`)"
    port = remote.url.rpartition(":")[2]
    root = "" if ca else ", ROOT.pem what --ca ROOT.pem writes"
    return (
        f"  curl --cacert {ca or 'ROOT.pem'} --connect-to {remote.server_name}:{port}:HOST:{port} "
        f"\\\n    -H 'Authorization: Bearer hm_...' https://{remote.server_name}:{port}/v1/network\n"
        f"HOST is this machine's address{root}."
    )


@token.command("ls", example="hm token ls")
@quiet_option
@data_option
@output_option
def token_ls(quiet: bool, data: Path | None, output: str) -> None:
    """List the tokens that this node knows, also those that have ended."""
    from hypermesh.cli.output import emit, emit_ids, table

    with mesh(data) as here:
        found = list(here.tokens.list())
    if quiet:
        emit_ids(each.id for each in found)
    else:
        emit(found, output, table([_row(each) for each in found], "No tokens."))


def _row(token: TokenView) -> dict[str, object]:
    from hypermesh.cli.output import moment

    return {
        "id": token.id,
        "name": token.name,
        "scopes": " ".join(token.scopes),
        "created": moment(token.created_ms),
        "ends": "ended" if token.expired else moment(token.expires_ms),
    }


@token.command("revoke", example="hm token revoke 1f6c2b9a40d3e857")
@click.argument("token_id")
@data_option
@output_option
def token_revoke(token_id: str, data: Path | None, output: str) -> None:
    """End a token at once. TOKEN_ID stands in `hm token ls`."""
    from urllib.parse import quote

    from hypermesh.cli.output import emit

    with mesh(data) as here:
        gone = here.tokens.revoke(quote(token_id, safe=""))
    emit(gone, output, f"Revoked {gone.name} ({gone.id}): it opens nothing any more.")
