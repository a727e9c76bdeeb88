"""`hm`: start nodes, join them, and use what they share."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hypermesh.cli.asset import asset
from hypermesh.cli.command import Group, data_option
from hypermesh.cli.job import job
from hypermesh.cli.lease import lease
from hypermesh.cli.memory import memory
from hypermesh.cli.node import down, invite, join, status, up
from hypermesh.cli.wallet import wallet


class Hm(Group):
    """`hm` alone shows what there is, without the options."""

    def overview(self, context: click.Context) -> str:
        text = context.make_formatter()
        self.format_usage(context, text)
        self.format_help_text(context, text)
        self.format_commands(context, text)
        return text.getvalue().rstrip("\n")


@click.group(
    cls=Hm,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="hypermesh", prog_name="hm")
@click.option("--debug", is_flag=True, help="Show where a failure happened.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Your own machines, and other people's, as one pool.

    \b
    hm up                    start a node here (and found a network)
    hm invite --mine         let another of my machines in
    hm join TOKEN            join from there
    hm asset ls              what the pool has
    hm job run primes.py     run something in it
    """
    del debug
    if context.invoked_subcommand is None and isinstance(context.command, Hm):
        click.echo(context.command.overview(context))


@main.command()
@click.option("--exit", "leave", is_flag=True, help="End when done instead of waiting for Ctrl-C.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), default=None)
@click.option("--seed", default=1, help="Varies the bytes and the input of the jobs.")
@data_option
def demo(leave: bool, report: Path | None, seed: int, data: Path | None) -> None:
    """Run three nodes on this machine through it all.

    Four proofs, leases, remote memory, jobs, settlement: three node processes with their own data
    directories on IPv6 loopback. A second run goes on with the same nodes.
    """
    from hypermesh.cli.demo.scenario import run
    from hypermesh.sdk.location import data_directory

    place = data_directory(data) if data else data_directory() / "demo"
    sys.exit(run(place, leave=leave, report=report, seed=seed))


for command in (up, join, invite, status, down, asset, lease, memory, job, wallet):
    main.add_command(command)


if __name__ == "__main__":
    main()
