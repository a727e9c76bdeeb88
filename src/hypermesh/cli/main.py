"""`hm`: start nodes, join them, and use what they share.

Commands import what they need when they run, so that `hm --help` stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api import AssetView, StatusView

Command = TypeVar("Command", bound=Callable[..., Any])

START_TIMEOUT_S = 60.0


class Group(click.Group):
    """Says a typed error in its three parts, and ends with its exit code."""

    def invoke(self, context: click.Context) -> Any:
        from hypermesh.wire.errors import HyperMeshError

        try:
            return super().invoke(context)
        except HyperMeshError as error:
            from hypermesh.cli.output import complain

            context.exit(complain(error))


def output_option(command: Command) -> Command:
    return click.option(
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        help="A table for people, or JSON with a schema version.",
    )(command)


def data_option(command: Command) -> Command:
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="The node's data directory (else $HYPERMESH_DATA, else the user's own).",
    )(command)


def node_options(command: Command) -> Command:
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
        click.option("--foreground", is_flag=True, help="Stay, and log to stderr."),
    ):
        command = option(command)
    return command


def mesh(data: Path | None) -> Mesh:
    from hypermesh.sdk.mesh import connect

    return connect(data)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hypermesh", prog_name="hm")
def main() -> None:
    """Your own machines, and other people's, as one pool.

    \b
    hm up                    start a node here (and found a network)
    hm invite --mine         let another of my machines in
    hm join TOKEN            join from there
    hm asset ls              what the pool has
    hm job run primes.py     run something in it
    """


@main.command()
@data_option
@node_options
@click.option(
    "--clock-is-right",
    is_flag=True,
    help="Start although the clock is more than a day away from the last block.",
)
@output_option
def up(
    data: Path | None, foreground: bool, clock_is_right: bool, output: str, **options: Any
) -> None:
    """Start the node of this machine; the first time it founds a network of its own."""
    _start(data, foreground, output, None, clock_is_right=clock_is_right, **options)


@main.command()
@click.argument("token")
@data_option
@node_options
@output_option
def join(token: str, data: Path | None, foreground: bool, output: str, **options: Any) -> None:
    """Join the network that TOKEN (from `hm invite`) leads to, and start the node here."""
    _start(data, foreground, output, token, clock_is_right=False, **options)


def _start(
    data: Path | None,
    foreground: bool,
    output: str,
    token: str | None,
    *,
    clock_is_right: bool,
    **options: Any,
) -> None:
    from hypermesh.node.configuration import Configuration
    from hypermesh.sdk.location import data_directory

    configuration = Configuration.of(data_directory(data), **options)
    if foreground:
        from hypermesh.node.lifecycle import run

        run(configuration, token, clock_is_right=clock_is_right)
        return
    from hypermesh.node.background import start

    start(configuration, token, timeout_s=START_TIMEOUT_S, clock_is_right=clock_is_right)
    with mesh(data) as here:
        status = here.status()
        _show_status(status, output)
        if output == "table":
            click.echo("\n" + _asset_table([a for a in here.assets() if a.mine]))


@main.command()
@data_option
def down(data: Path | None) -> None:
    """Stop the node of this machine; leases it hosts end, nothing acknowledged is lost."""
    from hypermesh.node.background import stop
    from hypermesh.sdk.location import data_directory

    click.echo("Stopped." if stop(data_directory(data)) else "No node was running.")


@main.command()
@click.option("--mine", is_flag=True, help="For one of my own machines: same owner, same purse.")
@data_option
@output_option
def invite(mine: bool, data: Path | None, output: str) -> None:
    """Print a token that lets one machine join, once, within the hour."""
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        invitation = here.invite(mine=mine)
    emit(invitation, output, invitation.token)


@main.command()
@data_option
@output_option
def status(data: Path | None, output: str) -> None:
    """This node in one look."""
    with mesh(data) as here:
        _show_status(here.status(), output)


def _show_status(status: StatusView, output: str) -> None:
    from hypermesh.cli.output import emit, facts

    contact = ""
    if status.contact_age_ms is not None:
        contact = f", heard from the sequencer {status.contact_age_ms / 1000:.1f} s ago"
    emit(
        status,
        output,
        facts(
            {
                "node": f"{status.name} ({status.node[:16]}), {status.role}",
                "network": f"{status.network} (class {status.network_class}), {status.assurance}",
                "ledger": f"height {status.height}, {status.app_hash[:16]}{contact}",
                "stoq": status.stoq,
                "api": status.api,
                "keys": status.key_protection,
                "assets": status.assets,
                "leases": status.leases,
            }
        ),
    )


@main.group()
def asset() -> None:
    """What the pool has."""


@asset.command("ls")
@click.option("--kind", default=None, help="Only assets of this kind.")
@data_option
@output_option
def asset_ls(kind: str | None, data: Path | None, output: str) -> None:
    """List the assets that this node may discover, with their addresses."""
    from hypermesh.cli.output import emit
    from hypermesh.wire.asset import AssetKind
    from hypermesh.wire.errors import InvalidInput

    try:
        wanted = AssetKind(kind) if kind else None
    except ValueError as error:
        raise InvalidInput(
            f"{kind!r} is not a kind of asset", why=f"kinds are {', '.join(AssetKind)}"
        ) from error
    with mesh(data) as here:
        found = here.assets(wanted)
    emit(found, output, _asset_table(found))


def _asset_table(assets: list[AssetView]) -> str:
    from hypermesh.cli.output import table

    return table([_asset_row(each) for each in assets], "No assets are visible.")


def _asset_row(asset: AssetView) -> dict[str, object]:
    from hypermesh.cli.output import size

    in_bytes = asset.unit == "byte"
    return {
        "kind": asset.kind.value,
        "host": asset.host_name + (" (mine)" if asset.mine else ""),
        "free": size(asset.free) if in_bytes else asset.free,
        "of": size(asset.capacity) if in_bytes else asset.capacity,
        "unit": "" if in_bytes else asset.unit,
        "enforced": asset.enforcement.value if asset.enforcement else None,
        "level": asset.level.value,
        "state": asset.state.value,
        "address": asset.address,
    }


@main.group()
def memory() -> None:
    """Bytes in another machine's memory."""


@memory.command("put")
@click.argument("address")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--minutes", default=10, type=click.IntRange(1, 1440), help="Length of the lease.")
@data_option
@output_option
def memory_put(address: str, file: Any, minutes: int, data: Path | None, output: str) -> None:
    """Put FILE (or stdin) into memory at ADDRESS, leasing what it needs."""
    from hypermesh.cli.output import emit, size
    from hypermesh.wire.address import GlobalAddress
    from hypermesh.wire.errors import InvalidInput, NotFound

    place = GlobalAddress.parse(address)
    content = file.read()
    if not content:
        raise InvalidInput("There is nothing to put: the input is empty")
    with mesh(data) as here:
        try:
            region = here.memory.open(place)
        except NotFound:
            region = here.memory.lease(
                len(content), address=place, duration_ms=minutes * 60_000, keep=True
            )
        with region:
            if len(content) > len(region):
                raise InvalidInput(
                    f"{len(content)} bytes do not fit the {len(region)} bytes leased there",
                    fix=f"hm lease release {region.lease.lease}, then put again",
                )
            region.write(0, content)
        emit(
            region.lease,
            output,
            f"{size(len(content))} at {address}, leased until the clock of the ledger "
            f"reads {region.lease.end_ms}",
        )


@memory.command("get")
@click.argument("address")
@click.argument("file", type=click.File("wb"), default="-")
@click.option("--offset", default=0, type=click.IntRange(0))
@click.option("--length", default=None, type=click.IntRange(1), help="Default: to the end.")
@data_option
def memory_get(address: str, file: Any, offset: int, length: int | None, data: Path | None) -> None:
    """Get the bytes leased at ADDRESS into FILE (or stdout)."""
    from hypermesh.wire.address import GlobalAddress

    place = GlobalAddress.parse(address)
    with mesh(data) as here, here.memory.open(place) as region:
        file.write(region.read(offset, length or max(0, len(region) - offset)))


@main.group()
def lease() -> None:
    """What this node has leased, and what others lease from it."""


@lease.command("ls")
@data_option
@output_option
def lease_ls(data: Path | None, output: str) -> None:
    """List the leases of this node's owner."""
    from hypermesh.cli.output import emit, table

    with mesh(data) as here:
        found = here.leases()
    rows = [
        {
            "lease": each.lease[:16],
            "kind": each.kind.value,
            "state": each.state.value,
            "amount": each.amount,
            "escrow": each.escrow,
            "address": each.address,
        }
        for each in found
    ]
    emit(found, output, table(rows, "No leases."))


@lease.command("release")
@click.argument("lease_id")
@data_option
@output_option
def lease_release(lease_id: str, data: Path | None, output: str) -> None:
    """End a lease now and settle it by its metered use. LEASE_ID may be shortened."""
    from hypermesh.cli.output import emit
    from hypermesh.wire.amount import format_caes
    from hypermesh.wire.errors import NotFound

    with mesh(data) as here:
        found = [each for each in here.leases() if each.lease.startswith(lease_id)]
        if len(found) != 1:
            raise NotFound(f"{len(found)} leases begin with {lease_id!r}", fix="See `hm lease ls`")
        settled = here.release(found[0])
    emit(
        settled,
        output,
        f"Settled: paid {format_caes(settled.paid or 0)} CAES, fee "
        f"{format_caes(settled.fee or 0)}, refunded {format_caes(settled.refund or 0)}",
    )


@main.group()
def job() -> None:
    """Programs in other machines' sandboxes."""


@job.command("run")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--cpu", default=None, help="Cores, such as 1 or 250m.")
@click.option("--memory", "memory_size", default=None, help="Such as 256MiB.")
@click.option("--timeout", default=None, help="Such as 30s.")
@click.option("--arg", "arguments", multiple=True, help="An argument of the program; repeatable.")
@click.option("--stdin", type=click.File("rb"), default=None, help="A file for its input.")
@data_option
@output_option
def job_run(
    file: Path,
    cpu: str | None,
    memory_size: str | None,
    timeout: str | None,
    arguments: tuple[str, ...],
    stdin: Any,
    data: Path | None,
    output: str,
) -> None:
    """Run FILE (.py, .wasm or a .toml job) in the pool; print its output and what it cost."""
    from hypermesh.catalog import job as jobs
    from hypermesh.cli.output import emit
    from hypermesh.wire.amount import format_caes
    from hypermesh.wire.api import JobSubmit

    read = jobs.read(file, arguments, stdin.read() if stdin else None)
    limits = read.limits
    submit = JobSubmit(
        engine=read.engine,
        program=read.program.hex(),
        arguments=read.arguments,
        stdin=read.stdin.hex(),
        cpu_millicores=jobs.parse_cores(cpu) if cpu else limits.cpu_millicores,
        memory_bytes=jobs.parse_bytes(memory_size) if memory_size else limits.memory_bytes,
        wall_ms=jobs.parse_duration(timeout) if timeout else limits.wall_ms,
        output_bytes=limits.output_bytes,
    )
    with mesh(data) as here:
        result = here.run(submit)
    if output == "json":
        emit(result, output, "")
    else:
        click.echo(result.stdout, nl=False)
        click.echo(result.stderr, nl=False, err=True)
        click.echo(
            f"\n{result.reason} with {result.exit_code} after {result.wall_ms:.0f} ms "
            f"({result.cpu_ms:.0f} ms of CPU) in {result.isolation}; "
            f"cost {format_caes(result.paid + result.fee)} CAES; lease {result.lease[:16]}",
            err=True,
        )
    if result.exit_code or result.reason != "exited":
        sys.exit(1)


@main.group()
def wallet() -> None:
    """The owner's account."""


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


@main.command()
@click.option("--exit", "leave", is_flag=True, help="End when done instead of waiting for Ctrl-C.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), default=None)
@click.option("--seed", default=1, help="Varies the bytes and the input of the jobs.")
@data_option
def demo(leave: bool, report: Path | None, seed: int, data: Path | None) -> None:
    """Three nodes on this machine: four proofs, leases, memory, jobs, settlement."""
    from hypermesh.cli.demo.scenario import run
    from hypermesh.sdk.location import data_directory

    place = data_directory(data) if data else data_directory() / "demo"
    sys.exit(run(place, leave=leave, report=report, seed=seed))


if __name__ == "__main__":
    main()
