"""`hm up | join | invite | status | down`: the node of this machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypermesh.cli.command import (
    Command,
    Decorated,
    data_option,
    mesh,
    output_option,
    say,
    watch_option,
)

if TYPE_CHECKING:
    from hypermesh.node.configuration import Configuration
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.health import HealthView

START_TIMEOUT_S = 60.0


def node_options(command: Decorated) -> Decorated:
    """What `up` and `join` take to start a node."""
    for option in (
        click.option("--name", default=None, help="A name for people (default: the host's)."),
        click.option("--share", default=None, help="How much of this machine to declare (50%)."),
        click.option(
            "--level",
            default=None,
            type=click.Choice(
                ["private", "private_network", "p2p", "public_network", "full_public"]
            ),
            help="Who may discover and lease what this node declares (private).",
        ),
        click.option("--stoq-port", default=None, type=click.IntRange(0, 65535), hidden=True),
        click.option("--stoq-host", default=None, hidden=True),
        click.option(
            "--stoq-stack",
            default=None,
            type=click.Choice(["ipv6", "dual"]),
            help="The versions of IP that STOQ speaks: IPv6, or IPv4 as well (ipv6).",
        ),
        click.option(
            "--stoq-threads",
            default=None,
            type=click.IntRange(0, 64),
            help="I/O threads of STOQ, each pinned to a core; 0 for one a core (1).",
        ),
        click.option(
            "--tls-port",
            default=None,
            type=click.IntRange(0, 65535),
            help="Where other machines reach the API, or the next free port; 0 for nowhere (8444).",
        ),
        click.option(
            "--carry",
            default=None,
            type=click.Choice(["own", "network"]),
            help="For whose nodes it keeps parcels on their way: the owner's (own), or all.",
        ),
        click.option(
            "--dns-listen",
            default=None,
            metavar="ADDRESS:PORT",
            help="Where names are served, or the next free port; off for nowhere ([::1]:5353).",
        ),
        click.option(
            "--dns-tls",
            default=None,
            metavar="ADDRESS:PORT",
            help="The same over TLS, where names are served at all ([::1]:8853).",
        ),
        click.option(
            "--dns-quic",
            default=None,
            metavar="ADDRESS:PORT",
            help="The same over QUIC, at an IPv6 address ([::1]:8853).",
        ),
        click.option(
            "--dns-upstream",
            default=None,
            metavar="ADDRESS:PORT,...",
            help="DNS servers that look up other names (none).",
        ),
        click.option("--foreground", is_flag=True, help="Stay, and log to stderr."),
    ):
        command = option(command)
    return command


@click.command(cls=Command, example="hm up\nhm up --name desk --share 25% --level p2p")
@data_option
@node_options
@click.option(
    "--clock-is-right",
    is_flag=True,
    help="Start although the clock is more than a day away from the last block.",
)
@click.option(
    "--without-silent-nodes",
    is_flag=True,
    help="After a restore: go on although some nodes do not answer. Blocks they alone have are "
    "lost.",
)
@output_option
def up(
    data: Path | None,
    foreground: bool,
    clock_is_right: bool,
    without_silent_nodes: bool,
    output: str,
    **options: Any,
) -> None:
    """Start the node of this machine.

    The first time it founds a network of its own; `hm join` instead joins another's. Where the node
    runs already, nothing happens.
    """
    configuration = _configuration(data, options)
    if not foreground and _is_up(configuration):
        say("The node is running already.\n", output)
        _report(data, output)
    else:
        if without_silent_nodes:
            from hypermesh.node.backup import go_on_without_silent

            go_on_without_silent(configuration.data)
        _start(configuration, data, foreground, output, None, clock_is_right=clock_is_right)


@click.command(cls=Command, example="hm join hm1-...\necho hm1-... | hm join -")
@click.argument("token")
@data_option
@node_options
@output_option
def join(token: str, data: Path | None, foreground: bool, output: str, **options: Any) -> None:
    """Join a network by TOKEN (from `hm invite`).

    Starts the node of this machine as a member of the network that the token leads to. With `-`
    for TOKEN it is read from stdin, and stands on no command line.
    """
    from hypermesh.trustchain.invitation import TEXT_CHARACTERS_MAX, parse

    if token == "-":
        token = sys.stdin.read(TEXT_CHARACTERS_MAX + 1)
    parse(token).check_time(int(time.time()))
    configuration = _configuration(data, options)
    _start(configuration, data, foreground, output, token, clock_is_right=False)


def _configuration(data: Path | None, options: dict[str, Any]) -> Configuration:
    """What is given, configured and kept; refuses what a node that has declared its assets cannot
    change."""
    from hypermesh.node import layers
    from hypermesh.node.configuration import SETTINGS_FILE, Configuration
    from hypermesh.sdk.location import data_directory
    from hypermesh.wire.errors import Conflict

    directory = data_directory(data)
    options = layers.node_options(layers.configured(), directory, options)
    configuration = Configuration.of(directory, **options)
    kept = Configuration.of(directory, **dict.fromkeys(options)).settings
    given = configuration.settings
    if (directory / SETTINGS_FILE).exists() and (given.share, given.level) != (
        kept.share,
        kept.level,
    ):
        raise Conflict(
            f"{kept.name} has declared its share and level already",
            why=f"{kept.share / 100:g}% at level {kept.level.value}, at its first start",
            fix="Leave --share and --level away; `hm asset share` changes one asset's level",
        )
    return configuration


def _is_up(configuration: Configuration) -> bool:
    """Whether the node runs, as it is asked for."""
    from hypermesh.node.claim import AlreadyRunning, holder
    from hypermesh.node.configuration import Configuration

    if holder(configuration.lock) is None:
        return False
    now = Configuration.of(
        configuration.data, name=None, share=None, level=None, stoq_host=None, stoq_port=None
    )
    if now.settings != configuration.settings:
        raise AlreadyRunning(
            why="with other settings than those given", fix="`hm down`, then this again"
        )
    return True


def _start(
    configuration: Configuration,
    data: Path | None,
    foreground: bool,
    output: str,
    token: str | None,
    *,
    clock_is_right: bool = False,
) -> None:
    if foreground:
        from hypermesh.node import layers
        from hypermesh.node.lifecycle import run

        log_level = layers.text(layers.configured(), "log.level") or "info"
        run(configuration, token, clock_is_right=clock_is_right, log_level=log_level)
        return
    from hypermesh.node.background import start

    say(f"Starting {configuration.settings.name} in {configuration.data} ...", output)
    start(configuration, token, timeout_s=START_TIMEOUT_S, clock_is_right=clock_is_right)
    _report(data, output)


def _report(data: Path | None, output: str) -> None:
    from hypermesh.cli.asset import asset_table

    with mesh(data) as here:
        _show(here, output)
        if output == "table":
            click.echo("\n" + asset_table([each for each in here.assets.list() if each.mine]))


@click.command(cls=Command, example="hm invite --mine")
@click.option("--mine", is_flag=True, help="For one of my own machines: same owner, same purse.")
@data_option
@output_option
def invite(mine: bool, data: Path | None, output: str) -> None:
    """Print a token with which one machine may join.

    It is good once, for an hour. Whoever has it can join, so give it to nobody else.
    """
    from hypermesh.cli.output import emit, moment

    with mesh(data) as here:
        invitation = here.network.invite(mine=mine)
    emit(invitation, output, invitation.token)
    say(f"Good once, until {moment(invitation.expires_ms)}; there: hm join TOKEN", output)


@click.command(cls=Command, example="hm status\nhm status --watch")
@watch_option
@data_option
@output_option
def status(data: Path | None, output: str) -> None:
    """Show this node in one look."""
    with mesh(data) as here:
        _show(here, output)


def _show(here: Mesh, output: str) -> None:
    import msgspec

    from hypermesh.cli.output import emit, facts, moment

    status, health = here.network.status(), _health(here)
    contact = ""
    if status.contact_age_ms is not None:
        contact = f", heard from the sequencer {status.contact_age_ms / 1000:.1f} s ago"
    emit(
        msgspec.to_builtins(status) | {"health": msgspec.to_builtins(health)},
        output,
        facts(
            {
                **_health_facts(health),
                "node": f"{status.name} ({status.node[:16]}), {status.role}, pid {status.pid}",
                "network": f"{status.network} (class {status.network_class}), {status.assurance}",
                "genesis": status.genesis,
                "ledger": f"height {status.height}, {status.app_hash[:16]}{contact}",
                "stoq": status.stoq,
                "api": status.api,
                "tls": status.tls or "off",
                "dns": status.dns or "off; see `hm dns`",
                "keys": f"{status.key_protection}; certificate until "
                f"{moment(status.certificate_expires_ms)}",
                "assets": status.assets,
                "leases": status.leases,
            }
        ),
    )


def _health_facts(health: HealthView | None) -> dict[str, object]:
    """The line, and under it what its owner should see to, with the command that helps."""
    if health is None:
        return {}
    wanted = [each for each in health.actions if each.level != "note"]
    said = [f"{each.what}; fix: {each.fix}" for each in wanted]
    return {"health": "\n        ! ".join([health.summary, *said])}


def _health(here: Mesh) -> HealthView | None:
    """None where the node, of an earlier version, does not tell."""
    from hypermesh.sdk.call import Call
    from hypermesh.wire.api.health import HealthView
    from hypermesh.wire.errors import NotFound

    try:
        return here.rest.run(Call(HealthView, "GET", "/v1/network/health"))
    except NotFound:
        return None


@click.command(cls=Command, example="hm down")
@data_option
@output_option
def down(data: Path | None, output: str) -> None:
    """Stop the node of this machine.

    Leases of memory that it hosts end; nothing that was acknowledged is lost.
    """
    from hypermesh.cli.output import emit
    from hypermesh.node.background import stop
    from hypermesh.sdk.location import data_directory

    stopped = stop(data_directory(data))
    emit({"stopped": stopped}, output, "Stopped." if stopped else "No node was running.")
