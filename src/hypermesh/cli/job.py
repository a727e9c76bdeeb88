"""`hm job`: programs in other machines' sandboxes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypermesh.cli.command import (
    EXIT_INTERRUPTED,
    Group,
    Quantity,
    data_option,
    mesh,
    output_option,
    quiet_option,
    say,
    watch_option,
)
from hypermesh.cli.completion import complete_jobs
from hypermesh.wire.quantity import parse_bytes, parse_cores, parse_duration

if TYPE_CHECKING:
    from hypermesh.sdk.job import Job
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.job import JobOutput, JobSummary, JobView

ID_CHARACTERS = 32
"""Of a whole id: 16 bytes in hex."""
ROWS_DEFAULT = 20
ROOM_S = 2.0
"""After so long in the queue the user is told that the job waits."""


def _caes(text: str) -> int:
    from hypermesh.wire.amount import parse_caes
    from hypermesh.wire.errors import InvalidInput

    try:
        return parse_caes(text)
    except InvalidInput as error:
        raise ValueError(f"{error.what}: {error.why}") from error


@click.group(cls=Group)
def job() -> None:
    """Run programs in other machines' sandboxes."""


@job.command(
    "run",
    example="hm job run primes.py --cpu 1\n"
    "hm job run module.wasm --arg add --arg 3 --arg 4\n"
    "hm job run long.py --timeout 2h --detach",
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--cpu", type=Quantity("cores", parse_cores), help="Cores, such as 1 or 250m.")
@click.option("--memory", "memory_bytes", type=Quantity("size", parse_bytes), help="Say, 256MiB.")
@click.option("--timeout", type=Quantity("duration", parse_duration), help="Say, 30s.")
@click.option("--max-cost", type=Quantity("CAES", _caes), help="The most it may cost: 0.01.")
@click.option("--arg", "arguments", multiple=True, help="An argument of the program; repeatable.")
@click.option("--stdin", type=click.File("rb"), default=None, help="A file for its input, or -.")
@click.option("--asset", default=None, help="Run it on this CPU asset (its whole id).")
@click.option("--detach", is_flag=True, help="Print the job's id and leave it to the node.")
@data_option
@output_option
def job_run(
    file: Path,
    cpu: int | None,
    memory_bytes: int | None,
    timeout: int | None,
    max_cost: int | None,
    arguments: tuple[str, ...],
    stdin: Any,
    asset: str | None,
    detach: bool,
    data: Path | None,
    output: str,
) -> None:
    """Run FILE (.py, .wasm or a .toml job) in the pool.

    Prints what the program prints, as it prints it, and on stderr how it ended and what it cost.
    Ends with 1 where the program fails. Ctrl-C cancels the job; a second one leaves it alone.
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
        asset=asset,
        cost_max=max_cost,
    )
    with mesh(data) as here:
        begun = here.jobs.submit(submit)
        if detach:
            emit(begun.view, output, begun.id)
            return
        sys.exit(_attend(here, begun, output))


def _attend(here: Mesh, job: Job, output: str) -> int:
    """Show a job until it is over; the exit code."""
    from hypermesh.cli.output import emit
    from hypermesh.wire.api.job import JobState

    interrupted = False
    while True:
        try:
            if not interrupted:
                _stream(here, job, output)
                view = job.wait()
            else:
                say("\nCancelling the job; Ctrl-C again leaves it alone.", output)
                view = job.cancel()
            break
        except KeyboardInterrupt:
            if interrupted:
                say(f"\nThe job goes on: hm job logs -f {job.id}", output)
                return EXIT_INTERRUPTED
            interrupted = True
    failure = None if view.problem is None else view.failure
    if failure is not None:
        raise failure
    if output != "table":
        emit(view, output, "")
    say(_ending(view), output)
    if interrupted:
        return EXIT_INTERRUPTED
    return 0 if view.state is JobState.DONE else 1


def _stream(here: Mesh, job: Job, output: str) -> None:
    from hypermesh.sdk.job import output as said
    from hypermesh.wire.api.job import JobState

    if output != "table":
        job.wait()
        return
    begun = here.rest.run(said(job.id, wait_s=ROOM_S))
    if begun.state in (JobState.QUEUED, JobState.LEASING):
        say("No provider has room yet; the job waits for one. Ctrl-C cancels it.", output)
    for piece in job.output():
        _write(piece)


def _write(piece: JobOutput | JobView) -> None:
    """Byte for byte: a program may print anything."""
    for stream, content in ((sys.stdout, piece.stdout_data), (sys.stderr, piece.stderr_data)):
        if content:
            stream.buffer.write(content)
            stream.buffer.flush()


def _ending(view: JobView) -> str:
    from hypermesh.wire.amount import format_caes

    how = {
        "exited": f"exited with {view.exit_code}",
        "deadline": "was stopped at its deadline",
        "memory": "was stopped: it wanted more memory than its limit",
        "killed": "was killed: too much output",
        "cancelled": "was cancelled",
    }.get(view.reason, view.reason)
    said = [f"\n{how} after {view.wall_ms:.0f} ms ({_cpu(view)})"]
    if view.provider:
        said.append(f"on {view.provider_name or view.provider[:16]}")
    if view.isolation:
        said.append(f"in {view.isolation}")
    line = ", ".join([" ".join(said[:2]), *said[2:]])
    if view.paid is not None:
        line += f"; cost {format_caes(view.paid + (view.fee or 0))} CAES"
    elif view.lease:
        line += "; not settled yet"
    if view.stdout_cut_bytes or view.stderr_cut_bytes:
        line += f"\ncut off: {view.stdout_cut_bytes + view.stderr_cut_bytes} bytes of output"
    if view.receipt:
        line += f"\nreceipt {view.receipt}"
    return line


def _cpu(view: JobView) -> str:
    """Without a control group only the sandbox's outer process is counted, not the program."""
    if view.engine == "python" and view.enforced.get("cpu") == "unenforced":
        return "CPU not metered"
    return f"{view.cpu_ms:.0f} ms of CPU"


@job.command("ls", example="hm job ls\nhm job ls --state failed\nhm job ls --watch")
@click.option(
    "--state",
    type=click.Choice(
        ["queued", "leasing", "running", "settling", "done", "failed", "cancelled", "lost"]
    ),
    help="Only those in this state.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=ROWS_DEFAULT, show_default=True)
@watch_option
@quiet_option
@data_option
@output_option
def job_ls(state: str | None, limit: int, quiet: bool, data: Path | None, output: str) -> None:
    """List jobs of this node, newest first."""
    import itertools

    from hypermesh.cli.output import emit, emit_ids, table
    from hypermesh.wire.api.job import JobState

    with mesh(data) as here:
        wanted = None if state is None else JobState(state)
        found = list(itertools.islice(here.jobs.list(wanted), limit))
    if quiet:
        emit_ids(each.job for each in found)
        return
    empty = "No jobs yet: hm job run FILE" if state is None else f"No job is {state}."
    emit(found, output, table([_row(each) for each in found], empty))


def _row(job: JobSummary) -> dict[str, object]:
    from hypermesh.cli.output import moment
    from hypermesh.wire.amount import format_caes

    ending = "" if job.reason in ("", "exited", job.state.value) else f" ({job.reason})"
    return {
        "job": job.job[:16],
        "state": f"{job.state.value}{ending}",
        "exit": job.exit_code,
        "engine": job.engine,
        "on": job.provider_name or (job.provider or "")[:16] or None,
        "submitted": moment(job.submitted_ms),
        "ran": f"{job.wall_ms:.0f} ms" if job.exit_code is not None else None,
        "caes": None if job.paid is None else format_caes(job.paid + (job.fee or 0)),
    }


@job.command("show", example="hm job show 3f9c\nhm job show 3f9c --watch")
@click.argument("job_id", shell_complete=complete_jobs)
@watch_option
@data_option
@output_option
def job_show(job_id: str, data: Path | None, output: str) -> None:
    """Show one job: its stages, how it was held, what it cost. JOB_ID may be shortened."""
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        view = here.jobs.get(_whole_id(here, job_id)).view
    emit(view, output, _story(view))


def _story(view: JobView) -> str:
    from hypermesh.cli.output import facts, moment, size
    from hypermesh.wire.amount import format_caes

    limits = view.limits
    shown: dict[str, object] = {
        "job": view.job,
        "state": view.state.value,
        "submitted": moment(view.submitted_ms),
        "engine": view.engine,
        "limits": f"{limits.cpu_millicores}m CPU, {size(limits.memory_bytes)}, "
        f"{limits.wall_ms / 1000:g} s",
    }
    if view.ended_ms is not None:
        shown["ended"] = moment(view.ended_ms)
    if view.provider:
        shown["provider"] = f"{view.provider_name or ''} ({view.provider[:16]})".lstrip()
    if view.exit_code is not None:
        shown["ending"] = f"{view.reason}, exit code {view.exit_code}"
        shown["used"] = (
            f"{view.wall_ms:.0f} ms, {_cpu(view)}, {size(view.memory_peak_bytes)} of memory"
        )
        shown["isolation"] = view.isolation
        shown["limits kept by"] = ", ".join(f"{k}: {v}" for k, v in view.enforced.items())
    elif view.reason:
        shown["ending"] = view.reason
    shown["output"] = f"{size(view.stdout_bytes)} and {size(view.stderr_bytes)} on stderr"
    cut = view.stdout_cut_bytes + view.stderr_cut_bytes
    if cut:
        shown["cut off"] = size(cut)
    stages = (f"{name} {spent:g} ms" for name, spent in view.timings_ms.items())
    shown["stages"] = ", ".join(stages) or "none yet"
    if view.paid is not None:
        shown["cost"] = (
            f"{format_caes(view.paid)} CAES to the provider, {format_caes(view.fee or 0)} fee"
        )
    if view.receipt:
        shown["receipt"] = view.receipt
    if view.problem is not None:
        shown["problem"] = f"{view.problem.detail}  [{view.problem.code}]"
        if view.problem.cause:
            shown["why"] = view.problem.cause
        if view.problem.fix:
            shown["fix"] = view.problem.fix
    return facts(shown)


@job.command("logs", example="hm job logs 3f9c\nhm job logs -f 3f9c")
@click.argument("job_id", shell_complete=complete_jobs)
@click.option("--follow", "-f", is_flag=True, help="Go on until the job is over.")
@data_option
@output_option
def job_logs(job_id: str, follow: bool, data: Path | None, output: str) -> None:
    """Print what a job printed: its stdout on stdout, its stderr on stderr. JOB_ID may be
    shortened."""
    from hypermesh.cli.output import line
    from hypermesh.sdk.job import output as said

    with mesh(data) as here:
        job = here.jobs.get(_whole_id(here, job_id))
        pieces = job.output() if follow else iter([here.rest.run(said(job.id))])
        for piece in pieces:
            if output == "table":
                _write(piece)
            else:
                # A document a piece, also under `json`: who follows waits for no closing bracket.
                click.echo(line(piece))


@job.command("cancel", example="hm job cancel 3f9c")
@click.argument("job_id", shell_complete=complete_jobs)
@data_option
@output_option
def job_cancel(job_id: str, data: Path | None, output: str) -> None:
    """End a job where it runs, and settle its lease. JOB_ID may be shortened."""
    from hypermesh.cli.output import emit
    from hypermesh.wire.api.job import FINAL

    with mesh(data) as here:
        job = here.jobs.get(_whole_id(here, job_id))
        was_over = job.view.state in FINAL
        view = job.view if was_over else job.cancel()
    said = "Was over already" if was_over else "Now"
    emit(view, output, f"{said}: {view.state.value}")


def _whole_id(here: Mesh, job_id: str) -> str:
    from hypermesh.cli.abbreviation import whole_id

    if len(job_id) == ID_CHARACTERS:
        return job_id
    return whole_id(job_id, (each.job for each in here.jobs.list()), "job", "hm job ls")
