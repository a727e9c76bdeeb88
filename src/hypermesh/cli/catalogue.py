"""The errors of this version, by their codes. Nothing is asked: they are in the code."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import hypermesh
from hypermesh.wire.errors import HyperMeshError

EXIT_CODES = {
    1: "failed",
    2: "usage",
    3: "configuration",
    4: "permission",
    5: "not found",
    6: "conflict",
    7: "unreachable or timed out",
    8: "insufficient funds or quota",
    9: "integrity",
}


def catalogue() -> dict[str, type[HyperMeshError]]:
    """Every error by its code, in the order of the codes."""
    for module in pkgutil.walk_packages(hypermesh.__path__, "hypermesh."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return dict(sorted(HyperMeshError.catalogue.items()))


def meaning(error: type[HyperMeshError]) -> str:
    """What an error means, as its class says it, on one line."""
    return " ".join((inspect.getdoc(error) or "").split())
