"""The examples in the SDK's docstrings run, as they stand there, against real nodes."""

from __future__ import annotations

import ast
import asyncio
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import hypermesh as hm
from hypermesh.sdk.job import AsyncJob, Job, program
from hypermesh.sdk.mesh import AsyncMesh, Mesh
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.lease import LeaseView
from hypermesh.wire.api.token import Scope
from hypermesh.wire.asset import AssetKind

from .shell import Machine

ENDLESS = {"Events", "AsyncEvents", "Events.__call__", "AsyncEvents.__call__"}
"""Streams that end with the reader's patience; `tests/node` reads them."""


def documented() -> Iterator[tuple[str, str]]:
    """(name, docstring) of all that a user of the SDK has in hand."""
    found: dict[str, object] = {name: getattr(hm, name) for name in sorted(dir(hm))}
    found |= {"Job": Job, "AsyncJob": AsyncJob}
    for mesh in (Mesh.__new__(Mesh), AsyncMesh.__new__(AsyncMesh)):
        mesh.rest = Rest.__new__(Rest) if isinstance(mesh, Mesh) else AsyncRest.__new__(AsyncRest)  # type: ignore[assignment]
        mesh.rest.threads = None
        for name in sorted(set(dir(mesh)) - {"rest", "close"}):
            if not name.startswith("_"):
                kind = type(getattr(mesh, name))
                found[kind.__name__] = kind
    for name, each in found.items():
        if inspect.isclass(each):
            yield name, inspect.cleandoc(each.__doc__ or "")
            for inner, member in vars(each).items():
                if inspect.isfunction(member) and not inner.startswith("_"):
                    yield f"{name}.{inner}", inspect.cleandoc(member.__doc__ or "")
        elif inspect.isfunction(each):
            yield name, inspect.cleandoc(each.__doc__ or "")


def examples(text: str) -> Iterator[str]:
    """The paragraphs of a docstring that are Python: code, and no sentence."""
    waiting: list[str] = []
    for paragraph in [*text.split("\n\n")[1:], ""]:
        together = "\n\n".join([*waiting, paragraph])
        if paragraph and is_code(together):
            waiting.append(paragraph)
            continue
        if waiting:
            yield "\n\n".join(waiting)
        waiting = [paragraph] if paragraph and is_code(paragraph) else []
    if waiting:
        yield "\n\n".join(waiting)


def is_code(paragraph: str) -> bool:
    try:
        return bool(ast.parse(textwrap.dedent(paragraph)).body)
    except SyntaxError:
        return False


EXAMPLES = {
    f"{name}-{number}": code
    for name, text in documented()
    if name not in ENDLESS
    for number, code in enumerate(examples(text))
}


def test_there_are_examples_and_prose_is_none() -> None:
    assert len(EXAMPLES) >= 20
    assert list(examples("Words.\n\nMore of them, it is.\n\nx = 1\n\ny = x\n\nThe end.")) == [
        "x = 1\n\ny = x"
    ]


@hm.function(cpu="100m", memory="128MiB")
def primes(below: int) -> list[int]:
    return [n for n in range(2, below) if all(n % d for d in range(2, n))]


@pytest.fixture(scope="module")
def mesh(home: Machine, lender: Machine) -> Iterator[Mesh]:
    with hm.connect(home.data) as connected:
        yield connected


@pytest.fixture(scope="module")
def settled(mesh: Mesh, memory: str) -> LeaseView:
    """A lease that is over."""
    lease = mesh.memory.lease(64, address=memory).close()
    assert lease is not None
    return lease


@pytest.fixture(scope="module")
def service(lender: Machine) -> str:
    """The address of a service of the lender, which all may use and nobody serves."""
    offered = lender.json("tunnel", "offer", "db", "--to", "tcp:[::1]:9", "--network")
    return str(offered["address"])


@pytest.fixture(scope="module")
def allowed(home: Machine, lender: Machine) -> None:
    """The lender takes files of the home node's owner."""
    lender.succeeds("inbox", "allow", "home")


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.usefixtures("allowed")
def test_an_example_runs(
    name: str,
    mesh: Mesh,
    home: Machine,
    memory: str,
    service: str,
    settled: LeaseView,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HYPERMESH_DATA", str(home.data))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results.tar").write_bytes(b"results")
    code = textwrap.dedent(EXAMPLES[name])
    names: dict[str, Any] = {
        "hm": hm,
        "AssetKind": AssetKind,
        "Scope": Scope,
        "program": program,
        "primes": primes,
        "lease": settled,
        "msgspec": msgspec,
        "Path": Path,
        "data": home.data,
        "address": memory,
        "service": service,
        "node": next(each for each in mesh.network.nodes() if each.name == "lender"),
        "print": lambda *_, **__: None,
    }
    if "await " in code or "async " in code:
        run(code, names, home)
        return
    with mesh.memory.lease("1MiB") as region:
        exec(compile(code, name, "exec"), {**names, "mesh": mesh, "region": region})  # noqa: S102


def run(code: str, names: dict[str, Any], home: Machine) -> None:
    exec(f"async def example(mesh):\n{textwrap.indent(code, '    ')}", names)  # noqa: S102

    async def work() -> None:
        async with hm.connect_async(home.data) as mesh:
            await names["example"](mesh)

    asyncio.run(work())
