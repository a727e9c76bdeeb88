"""What a node can run, as the API shows it."""

from __future__ import annotations

import msgspec

from hypermesh.wire.asset import Enforcement


class EngineView(msgspec.Struct, frozen=True):
    """A rung of the ladder. `isolation` is its class; `none` where it is not available, for the
    `reason` given. `runtime` is what runs the program, with its version, null where there is none.
    `cpu` and `memory` are what keeps these limits. `packages` are those that a job may ask for."""

    name: str
    available: bool
    isolation: str
    reason: str
    runtime: str | None
    cpu: Enforcement
    memory: Enforcement
    packages: list[str]


class PackageView(msgspec.Struct, frozen=True):
    """A Python package that jobs may ask for by name."""

    name: str
    version: str


class LimitView(msgspec.Struct, frozen=True):
    """A limit of a job and what keeps it here: an `Enforcement`; `rlimit` (setrlimit(2), for each
    process alone); `tmpfs`, the size of the work directory; or `node`, which counts and watches the
    clock. `maximum` is the most that it can be, null where the lease alone says that."""

    name: str
    unit: str
    maximum: int | None
    kept_by: str


class CatalogView(msgspec.Struct, frozen=True):
    """What this node can run. `limits` are those of a Python job; `jobs_max` run at a time."""

    engines: list[EngineView]
    packages: list[PackageView]
    limits: list[LimitView]
    jobs_max: int
