"""The asyncio client is the twin of the other: same nouns, same methods, same parameters, and the
same calls to the node."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hypermesh.sdk.array import AsyncRemoteArray, RemoteArray
from hypermesh.sdk.call import Call
from hypermesh.sdk.mesh import AsyncMesh, Mesh, connect, connect_async
from hypermesh.sdk.region import AsyncLeasedRegion, LeasedRegion
from hypermesh.sdk.rest import AsyncRest, Rest

from .samples import SAMPLES

NOWHERE = Path("/nowhere/hm.sock")
NOT_NOUNS = {"close", "rest"}


def nouns(mesh: object) -> dict[str, type]:
    return {
        name: type(getattr(mesh, name))
        for name in dir(mesh)
        if not name.startswith("_") and name not in NOT_NOUNS
    }


SYNC = nouns(Mesh(NOWHERE))
ASYNC = nouns(AsyncMesh(NOWHERE))
PAIRS = {
    **{name: (SYNC[name], ASYNC[name]) for name in SYNC if name in ASYNC},
    "mesh": (Mesh, AsyncMesh),
    "rest": (Rest, AsyncRest),
    "region": (LeasedRegion, AsyncLeasedRegion),
    "array": (RemoteArray, AsyncRemoteArray),
}
ALONE = {("rest", "client"), ("rest", "connection")}
"""What one twin has by its nature: the HTTP client that streams events."""


def public(kind: type) -> dict[str, Any]:
    return {name: each for name, each in vars(kind).items() if not name.startswith("_")}


def differences(first: type, second: type, alone: set[str] = frozenset()) -> list[str]:
    """How `second` is no twin of `first`."""
    here, there = public(first), public(second)
    found = [f"{name} is in one alone" for name in (here.keys() ^ there.keys()) - alone]
    for name in here.keys() & there.keys():
        one, other = shape(here[name]), shape(there[name])
        if one != other:
            found.append(f"{name}: {one} and {other}")
        said = inspect.getdoc(there[name]) or ""
        if f"{first.__name__}.{name}" not in said:
            found.append(f"{name} does not say whose twin it is: {said!r}")
    return found


def shape(member: object) -> object:
    """The parameters and the result of a method, with the words of asyncio left away."""
    if isinstance(member, property):
        return shape(member.fget)
    if not inspect.isfunction(member):
        return "attribute"
    signature = inspect.signature(member)
    parameters = [(each.name, each.kind, each.default) for each in signature.parameters.values()]
    names = [
        re.sub(r"\bAsync(?=[A-Z])", "", str(p.annotation)) for p in signature.parameters.values()
    ]
    return parameters, names, re.sub(r"\bAsync(?=[A-Z])", "", str(signature.return_annotation))


def test_the_twins_have_the_same_nouns() -> None:
    assert SYNC.keys() == ASYNC.keys()
    assert len(SYNC) >= 9


@pytest.mark.parametrize("pair", PAIRS)
def test_the_twins_have_the_same_methods(pair: str) -> None:
    alone = {name for owner, name in ALONE if owner == pair}
    assert differences(*PAIRS[pair], alone) == []


def test_a_twin_that_differs_is_seen() -> None:
    class Odd:
        async def get(self, lease: bytes) -> str:  # noqa: ARG002
            """As `Leases.get`."""
            return ""

    found = differences(PAIRS["leases"][0], Odd)
    assert any(line.startswith("get:") for line in found)
    assert "allocate is in one alone" in found


def test_connect_has_a_twin_with_the_same_parameters() -> None:
    one, other = inspect.signature(connect), inspect.signature(connect_async)
    assert list(one.parameters.values()) == list(other.parameters.values())


class Asked(Exception):
    """Instead of an answer: the call."""

    def __init__(self, call: Call[Any]) -> None:
        self.call = call


def asked(rest: object, act: Callable[[], object]) -> Call[Any]:
    """The first call that `act` makes of a mesh that has `rest` replaced."""
    with pytest.raises(Asked) as caught:
        act()
    return caught.value.call


@pytest.fixture
def meshes(monkeypatch: pytest.MonkeyPatch) -> tuple[Mesh, AsyncMesh]:
    def run(self: Rest, call: Call[Any]) -> Any:
        raise Asked(call)

    async def run_async(self: AsyncRest, call: Call[Any]) -> Any:
        raise Asked(call)

    monkeypatch.setattr(Rest, "run", run)
    monkeypatch.setattr(AsyncRest, "run", run_async)
    return Mesh(NOWHERE), AsyncMesh(NOWHERE)


def test_every_method_of_every_noun_has_a_sample() -> None:
    methods = {
        (noun, name)
        for noun, kind in SYNC.items()
        for name, member in public(kind).items()
        if inspect.isfunction(member)
    }
    assert methods == SAMPLES.keys()


@pytest.mark.parametrize(("noun", "method"), SAMPLES)
def test_the_twins_ask_the_same(meshes: tuple[Mesh, AsyncMesh], noun: str, method: str) -> None:
    positional, named = SAMPLES[noun, method]

    def act() -> None:
        answer = getattr(getattr(meshes[0], noun), method)(*positional, **named)
        next(iter(answer))

    async def act_async() -> None:
        answer = getattr(getattr(meshes[1], noun), method)(*positional, **named)
        if inspect.isawaitable(answer):
            await answer
        await anext(aiter(answer))

    call = asked(meshes[0], act)
    assert asked(meshes[1], lambda: asyncio.run(act_async())) == call
    assert call.path.startswith("/")
    assert call.timeout_s > 0
