"""`hm job`: programs in other machines' sandboxes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypermesh.cli.command import Group, Quantity, data_option, mesh, output_option, say
from hypermesh.wire.quantity import parse_bytes, parse_cores, parse_duration

if TYPE_CHECKING:
    from hypermesh.wire.api.job import JobView


@click.group(cls=Group)
def job() -> None:
    """Run programs in other machines' sandboxes."""


@job.command("run")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--cpu", type=Quantity("cores", parse_cores), help="Cores, such as 1 or 250m.")
@click.option("--memory", "memory_bytes", type=Quantity("size", parse_bytes), help="Say, 256MiB.")
@click.option("--timeout", type=Quantity("duration", parse_duration), help="Say, 30s.")
@click.option("--arg", "arguments", multiple=True, help="An argument of the program; repeatable.")
@click.option("--stdin", type=click.File("rb"), default=None, help="A file for its input, or -.")
@data_option
@output_option
def job_run(
    file: Path,
    cpu: int | None,
    memory_bytes: int | None,
    timeout: int | None,
    arguments: tuple[str, ...],
    stdin: Any,
    data: Path | None,
    output: str,
) -> None:
    """Run FILE (.py, .wasm or a .toml job) in the pool.

    Prints what the program prints, and on stderr how it ended and what it cost. Ends with 1 where
    the program fails.
    """
    from hypermesh.catalog import job as jobs
    from hypermesh.cli.output import emit
    from hypermesh.wire.api.job import JobSubmit

    read = jobs.read(file, arguments, stdin.read() if stdin else None)
    limits = read.limits
    submit = JobSubmit(
        engine=read.engine,
        program=read.program.hex(),
        arguments=read.arguments,
        stdin=read.stdin.hex(),
        cpu_millicores=limits.cpu_millicores if cpu is None else cpu,
        memory_bytes=limits.memory_bytes if memory_bytes is None else memory_bytes,
        wall_ms=limits.wall_ms if timeout is None else timeout,
        output_bytes=limits.output_bytes,
    )
    with mesh(data) as here:
        result = here.run(submit)
        names = {node.node: node.name for node in here.nodes()}
    if output == "json":
        emit(result, output, "")
    else:
        click.echo(result.stdout, nl=False)
        click.echo(result.stderr, nl=False, err=True)
    say(_ending(result, names.get(result.provider, result.provider[:16])), output)
    if result.exit_code or result.reason != "exited":
        sys.exit(1)


def _ending(result: JobView, host: str) -> str:
    from hypermesh.wire.amount import format_caes

    how = {
        "exited": f"exited with {result.exit_code}",
        "deadline": "was stopped at its deadline",
        "memory": "was stopped: it wanted more memory than its limit",
        "killed": "was killed: cancelled, or too much output",
    }.get(result.reason, result.reason)
    return (
        f"\n{how} after {result.wall_ms:.0f} ms ({result.cpu_ms:.0f} ms of CPU) on {host}, in "
        f"{result.isolation}; cost {format_caes(result.paid + result.fee)} CAES; "
        f"lease {result.lease[:16]}"
    )
