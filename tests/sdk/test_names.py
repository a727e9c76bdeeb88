"""What `import hypermesh as hm` has, and what it costs."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import hypermesh as hm

STUB = Path(hm.__file__).with_suffix(".pyi").read_text()

NAMES = {
    "AnswerInvalid",
    "AsyncFunctionCall",
    "AsyncLeasedRegion",
    "AsyncMesh",
    "AsyncRemoteArray",
    "Conflict",
    "ExitCode",
    "Forbidden",
    "Function",
    "FunctionCall",
    "FunctionUnsendable",
    "GlobalAddress",
    "HyperMeshError",
    "InvalidInput",
    "JobNotOver",
    "LeasedRegion",
    "Mesh",
    "NodeNotRunning",
    "NotAvailable",
    "NotContiguous",
    "NotFound",
    "NotTrusted",
    "Overloaded",
    "ProviderLost",
    "RemoteArray",
    "RemoteError",
    "ResultInvalid",
    "Unreachable",
    "ValueUnsendable",
    "VersionMismatch",
    "connect",
    "connect_async",
    "function",
}
"""Adding a name is a promise; removing one breaks somebody's program."""


def test_the_public_names_are_these() -> None:
    listed = {name for name in dir(hm) if name not in vars(hm)} | (NAMES & vars(hm).keys())
    assert listed == NAMES


def test_the_types_say_the_same() -> None:
    typed = re.findall(r"^from ([\w.]+) import (\w+) as (\w+)$", STUB, re.MULTILINE)
    assert {alias for _, _, alias in typed} == NAMES
    for module, name, alias in typed:
        assert getattr(importlib.import_module(module), name) is getattr(hm, alias)
        assert name == alias


def test_every_public_name_says_what_it_is() -> None:
    for name in NAMES:
        assert getattr(hm, name).__doc__, name


def test_errors_have_exit_codes_that_are_named() -> None:
    codes = {code.value for code in hm.ExitCode}
    assert codes == set(range(1, 10))
    for cls in hm.HyperMeshError.catalogue.values():
        assert cls.exit_code in codes, cls
    assert hm.NotFound.exit_code == hm.ExitCode.NOT_FOUND
    assert issubclass(hm.ProviderLost, hm.Unreachable)


def test_a_connection_loads_neither_asyncio_nor_numpy_nor_stoq() -> None:
    """They are most of the time that a command would take."""
    program = (
        "import sys, hypermesh as hm\n"
        "hm.connect('/nowhere').close()\n"
        "print([name for name in ('asyncio', 'httpx', 'numpy', 'hypermesh._native')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
