"""`/v1/jobs`: programs run in the pool."""

from __future__ import annotations

from litestar import post
from litestar.types import ControllerRouterHandler

from hypermesh.node.composition import Node
from hypermesh.wire.api.job import JobSubmit, JobView


@post("/v1/jobs", sync_to_thread=True)
def run_job(here: Node, data: JobSubmit) -> JobView:
    """Run a program in the pool and wait for its result: leased, isolated, metered, settled."""
    return here.borrowing.run(data)


ROUTES: list[ControllerRouterHandler] = [run_job]
