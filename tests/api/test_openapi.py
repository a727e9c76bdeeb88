"""The OpenAPI document: served as it lies in the repository, and true to the routes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from hypermesh.node.api.routes import ROUTES, dependencies

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "openapi" / "hypermesh.json").read_text())
    return found


def test_the_document_in_the_repository_is_current() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "openapi.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_node_serves_the_same(owner: httpx.Client, document: dict[str, Any]) -> None:
    assert owner.get("/v1/openapi.json").json() == document


def test_every_route_is_described(document: dict[str, Any]) -> None:
    count = sum(len(methods) for methods in document["paths"].values())
    assert count == len(ROUTES)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (path, method)
            assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    used: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            used.update([value["$ref"]] if "$ref" in value else [])
            for each in value.values():
                look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(document)
    assert used <= names


def test_integers_are_bounded_to_the_unit(document: dict[str, Any]) -> None:
    amount = document["components"]["schemas"]["AccountView"]["properties"]["balance"]
    assert amount == {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
    assert not re.search(r"\d\.0[,}]", json.dumps(document["paths"]))


def test_no_member_of_a_body_is_named_as_a_dependency(document: dict[str, Any]) -> None:
    reserved = set(dependencies(None))  # type: ignore[arg-type]
    bodies = {
        name: schema
        for name, schema in document["components"]["schemas"].items()
        # Only bodies refuse members that they do not know.
        if schema.get("additionalProperties") is False
    }
    assert "AllocateAsset" in bodies
    for name, schema in bodies.items():
        assert reserved.isdisjoint(schema.get("properties", {})), name
