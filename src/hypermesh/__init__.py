"""HyperMesh: your own machines, and other people's, as one pool of assets.

import hypermesh as hm

with hm.connect() as mesh, mesh.memory.lease("256MiB") as region:
    region[0:5] = b"hello"
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_OF_THE_SDK = ("Mesh", "connect")


def __getattr__(name: str) -> object:
    """The client, loaded when asked for (PEP 562): every part of the package is below this module,
    so it can import none of them. `__init__.pyi` has the types."""
    if name in _OF_THE_SDK:
        return getattr(importlib.import_module("hypermesh.sdk"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_OF_THE_SDK])
