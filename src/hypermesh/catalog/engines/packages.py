"""The Python packages that a job may ask for by name, besides the standard library.

They are dependencies of HyperMesh itself, so every node has the same version of each; a job sees
their files read-only, and nothing else of the node's environment.
"""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from hypermesh.catalog.errors import PackageUnknown
from hypermesh.catalog.sandbox.bubblewrap import Bind, Text
from hypermesh.wire.errors import NotAvailable

PACKAGES = ("cloudpickle",)
"""Of pure Python, with all their modules in one directory."""
PLACE = Path("/opt/packages")
"""Where they lie in the sandbox."""


def offered() -> dict[str, str]:
    """The packages of this node, with their versions."""
    return {name: version(name) for name in PACKAGES if importlib.util.find_spec(name) is not None}


def shown(names: Sequence[str]) -> list[Bind | Text]:
    """What to show of `names` in the sandbox. Raises `PackageUnknown` for one that no node has, and
    `NotAvailable` for one that this node lacks."""
    found: list[Bind | Text] = []
    for name in dict.fromkeys(names):
        if name not in PACKAGES:
            raise PackageUnknown(
                f"There is no package {name[:64]!r} for jobs",
                fix=f"Known are: {', '.join(PACKAGES)}; send other code as part of the program",
            )
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin:
            raise NotAvailable(f"The package {name} is not installed on this node")
        found += _files(Path(spec.origin).parent, PLACE / name)
    return found


def _files(directory: Path, place: Path) -> list[Bind | Text]:
    """The directory itself, with its compiled modules, where whoever runs jobs can reach it: a node
    that is root gives up its identity before it starts the sandbox. Else copies of the modules."""
    if os.geteuid() != 0 or _is_public(directory):
        return [Bind(directory, place)]
    return [Text(each.read_bytes(), place / each.name) for each in sorted(directory.glob("*.py"))]


def _is_public(directory: Path) -> bool:
    real = directory.resolve()
    return all(each.stat().st_mode & stat.S_IXOTH for each in (real, *real.parents))
