"""`/v1/jobs`: programs run in the pool."""

from __future__ import annotations

import asyncio
from typing import Annotated

from litestar import Response, delete, get, post
from litestar.openapi import ResponseSpec
from litestar.params import Parameter, QueryParameter
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.job import JobOutput, JobPage, JobState, JobSubmit, JobView

WAIT_MS_MAX = 30_000
OFFSET_MAX = 2**40

Offset = Annotated[int, Parameter(ge=0, le=OFFSET_MAX)]
Wait = Annotated[int, Parameter(ge=0, le=WAIT_MS_MAX)]

# The framework keeps the name `state` for itself.
OnlyIn = Annotated[JobState | None, QueryParameter(name="state")]

_LATER = ResponseSpec(JobView, generate_examples=False, description="Accepted, durably")


@post("/v1/jobs", responses={202: _LATER})
async def run_job(here: Node, data: JobSubmit, wait: bool = True) -> Response[JobView]:
    """Run a program in the pool: leased, isolated, metered, settled. Answers with its result, or
    without `wait` as soon as the job is kept; it is queued where nobody has room."""
    if wait:
        return Response(await here.running.run(data), status_code=201)
    return Response(await asyncio.to_thread(here.running.submit, data), status_code=202)


@get("/v1/jobs")
@prompt
def jobs(
    here: Node,
    only: OnlyIn = None,
    cursor: str | None = None,
    limit: Limit = PAGE_DEFAULT,
) -> JobPage:
    """Jobs of this node, newest first; all, or those in one state."""
    return here.running.page(only, cursor, limit)


@get("/v1/jobs/{job:str}")
@prompt
def one_job(here: Node, job: str) -> JobView:
    """A job with all that it has said so far."""
    return here.running.get(job)


@get("/v1/jobs/{job:str}/output")
async def job_output(
    here: Node, job: str, stdout: Offset = 0, stderr: Offset = 0, wait_ms: Wait = 0
) -> JobOutput:
    """What a job has said since these offsets; waits up to `wait_ms` where there is nothing yet."""
    return await here.running.output(job, stdout, stderr, wait_ms)


@delete("/v1/jobs/{job:str}", status_code=200, sync_to_thread=True)
def cancel_job(here: Node, job: str) -> JobView:
    """Cancel a job: it is ended where it runs, and its lease is settled. One that is over stays as
    it is."""
    return here.running.cancel(job)


ROUTES: list[ControllerRouterHandler] = [run_job, jobs, one_job, job_output, cancel_job]
