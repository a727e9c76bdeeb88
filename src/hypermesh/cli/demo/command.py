"""`hm demo`: the whole system on one machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hypermesh.cli.command import Command, data_option


@click.command(cls=Command, example="hm demo\nhm demo --exit --report demo.json")
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
