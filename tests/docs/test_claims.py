"""docs/claims.md says what its source, the results and the tests say; nothing stands on nothing."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = tomllib.loads((ROOT / "docs" / "claims.toml").read_text())
NAMED = [
    name for part in SOURCE["part"] for each in part["claim"] for name in each.get("tests", [])
]


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("claims")


def one(**claim: Any) -> dict[str, Any]:
    return {"part": [{"name": "Part", "claim": [{"text": "It is fast", **claim}]}]}


def measured(value: float, goal: float | None) -> dict[str, dict[str, Any]]:
    met = None if goal is None else value <= goal
    found = {"id": "a.b", "value": value, "unit": "ms", "goal": goal, "better": "lower", "met": met}
    return {"a.b": {**found, "file": "a.json", "result": {"host": "here", "date": "2026-11-21"}}}


def test_the_page_is_current(claims: ModuleType) -> None:
    # `make check` collects all tests for it; here the ids that are named are taken for granted.
    assert claims.render(SOURCE, NAMED, claims.metrics()) == claims.TARGET.read_text()


def test_met_and_missed(claims: ModuleType) -> None:
    page = claims.render(one(metrics=["a.b"]), [], measured(1.0, 2.0))
    assert "| It is fast | met | `a.b` 1 ms (≤ 2) |" in page
    page = claims.render(one(metrics=["a."]), [], measured(3.0, 2.0))
    assert "| It is fast | **missed** | `a.b` 3 ms (≤ 2) **missed** |" in page
    assert "0 are met, 1 missed" in page
    page = claims.render(one(metrics=["a.b", "a.c"]), [], measured(1.0, 2.0))
    assert "| It is fast | not measured yet |" in page


@pytest.mark.parametrize(
    "claim", [{}, {"metrics": []}, {"tests": ["tests/gone.py"]}, {"metrics": ["a.b"]}]
)
def test_a_claim_on_nothing_is_refused(claims: ModuleType, claim: dict[str, Any]) -> None:
    with pytest.raises(claims.ClaimWrong):
        claims.render(one(**claim), ["tests/here.py::test_x"], measured(1.0, None))


def test_figures_in_the_documents_come_from_results() -> None:
    """A metric that a claim names is one that a benchmark makes."""
    sources = "\n".join(file.read_text() for file in (ROOT / "benches").rglob("*.py"))
    results = "\n".join(file.read_text() for file in (ROOT / "benches" / "results").glob("*.json"))
    for part in SOURCE["part"]:
        for each in part["claim"]:
            for name in each.get("metrics", []):
                stem = name.rstrip(".")
                assert f'"{name}' in sources or f'"{stem}' in sources + results, name
