"""HyperMesh: your own machines, and other people's, as one pool of assets.

import hypermesh as hm

with hm.connect() as mesh, mesh.memory.lease("256MiB") as region:
    region[0:5] = b"hello"
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_HOMES = {
    "connect": "hypermesh.sdk.mesh",
    "connect_async": "hypermesh.sdk.mesh",
    "function": "hypermesh.sdk.function.function",
    "Function": "hypermesh.sdk.function.function",
    "FunctionCall": "hypermesh.sdk.function.function",
    "AsyncFunctionCall": "hypermesh.sdk.function.function",
    "Mesh": "hypermesh.sdk.mesh",
    "AsyncMesh": "hypermesh.sdk.mesh",
    "LeasedRegion": "hypermesh.sdk.region",
    "AsyncLeasedRegion": "hypermesh.sdk.region",
    "RemoteArray": "hypermesh.sdk.array",
    "AsyncRemoteArray": "hypermesh.sdk.array",
    "GlobalAddress": "hypermesh.wire.address",
    "ExitCode": "hypermesh.wire.errors",
    "HyperMeshError": "hypermesh.wire.errors",
    "Conflict": "hypermesh.wire.errors",
    "Forbidden": "hypermesh.wire.errors",
    "InvalidInput": "hypermesh.wire.errors",
    "NotAvailable": "hypermesh.wire.errors",
    "NotFound": "hypermesh.wire.errors",
    "Overloaded": "hypermesh.wire.errors",
    "Unreachable": "hypermesh.wire.errors",
    "AnswerInvalid": "hypermesh.sdk.answer",
    "NodeNotRunning": "hypermesh.sdk.rest",
    "NotContiguous": "hypermesh.sdk.array",
    "FunctionUnsendable": "hypermesh.sdk.function.code",
    "ValueUnsendable": "hypermesh.sdk.function.code",
    "RemoteError": "hypermesh.sdk.function.outcome",
    "ResultInvalid": "hypermesh.sdk.function.outcome",
    "VersionMismatch": "hypermesh.sdk.function.outcome",
    "NotTrusted": "hypermesh.sdk.remote",
    "JobNotOver": "hypermesh.sdk.job",
    "ProviderLost": "hypermesh.sdk.region",
}


def __getattr__(name: str) -> object:
    """The client, loaded when asked for (PEP 562): every part of the package is below this module,
    so it can import none of them. `__init__.pyi` has the types."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
