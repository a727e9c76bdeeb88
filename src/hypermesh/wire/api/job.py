"""Jobs as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.body import Body, Hex16, Hex32


class JobSubmit(Body, frozen=True):
    """`POST /v1/jobs`: run a program in the pool and wait for its result. Bytes as hex."""

    engine: Annotated[str, Meta(max_length=32)]
    program: Annotated[str, Meta(min_length=2, max_length=4 * 1024 * 1024)]
    arguments: Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=64)] = []
    stdin: Annotated[str, Meta(max_length=2 * 1024 * 1024)] = ""
    cpu_millicores: Annotated[int, Meta(ge=1, le=1_024_000)] = 200
    memory_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 44)] = 256 << 20
    wall_ms: Annotated[int, Meta(ge=1, le=86_400_000)] = 30_000
    output_bytes: Annotated[int, Meta(ge=0, le=1 << 20)] = 1 << 20
    asset: Hex16 | None = None


class JobView(msgspec.Struct, frozen=True):
    """What a job did, how it was held, and what it cost."""

    lease: Hex32
    provider: Hex32
    engine: str
    exit_code: int
    reason: str
    stdout: str
    stderr: str
    wall_ms: float
    cpu_ms: float
    memory_peak_bytes: int
    isolation: str
    enforced: dict[str, str]
    paid: Amount
    fee: Amount
    timings_ms: dict[str, float]
