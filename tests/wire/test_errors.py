"""Errors keep their class, code and three parts across a process boundary."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

import hypermesh
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import (
    HyperMeshError,
    NotFound,
    Problem,
    UnknownProblem,
    error_from,
)


def test_a_problem_comes_back_as_the_same_class() -> None:
    sent = NotFound("No lease 12", why="it was settled", fix="hm lease ls")
    received = error_from(decode(Problem, encode(sent.problem)))
    assert type(received) is NotFound
    assert (received.what, received.why, received.fix) == (sent.what, sent.why, sent.fix)


def test_an_unknown_code_is_kept_and_said() -> None:
    received = error_from(Problem("HM-FUTURE-9999", "what", "why", "fix"))
    assert type(received) is UnknownProblem
    assert "HM-FUTURE-9999" in str(received)


def test_two_errors_cannot_share_a_code() -> None:
    with pytest.raises(TypeError, match="HM-0004"):
        type("Second", (HyperMeshError,), {"code": "HM-0004"})


def test_every_error_in_the_catalogue_says_what_happened() -> None:
    for module in pkgutil.walk_packages(hypermesh.__path__, "hypermesh."):
        if not module.name.endswith(("_native", "__main__", "_worker", ".worker")):
            importlib.import_module(module.name)
    ours = {
        code: cls
        for code, cls in HyperMeshError.catalogue.items()
        if cls.__module__.startswith("hypermesh.")
    }
    assert len(ours) > 100
    for code, cls in ours.items():
        assert re.fullmatch(r"HM-(?:[A-Z]+-){0,2}[0-9]{4}", code), code
        assert cls.title, code
        assert cls.__doc__, code
        assert 400 <= cls.status <= 599, code
        assert 1 <= cls.exit_code <= 9, code
