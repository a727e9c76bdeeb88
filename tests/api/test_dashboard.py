"""The dashboard's files: what is served, how, and that it takes nothing from the API."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest

from hypermesh.node.api.dashboard import Dashboard, accepts

from .nodes import Running, problem

PAGE = b"<!doctype html><title>HyperMesh</title>"
CODE = b"console.log(1)" * 100
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "static").mkdir()
    (tmp_path / "index.html").write_bytes(PAGE)
    (tmp_path / "favicon.svg").write_bytes(b"<svg/>")
    (tmp_path / "static" / "index-a1b2.js").write_bytes(CODE)
    (tmp_path / "static" / "index-a1b2.js.gz").write_bytes(gzip.compress(CODE))
    (tmp_path / "static" / "index-a1b2.js.br").write_bytes(b"brotli")
    return tmp_path


async def nowhere(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"the API's"})


def client(directory: Path) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=Dashboard(nowhere, directory))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def asked(directory: Path, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with client(directory) as there:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            return await there.request(method, path, headers={"accept-encoding": "", **given})

    return asyncio.run(ask())


def test_the_page_is_asked_for_again_each_time(built: Path) -> None:
    for path in ("/", "/ui/assets/00ff?kind=cpu", "/wallet"):
        answer = asked(built, path, **BROWSER)
        assert answer.content == PAGE
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_named_by_their_content_files_never_change(built: Path) -> None:
    answer = asked(built, "/static/index-a1b2.js")
    assert answer.content == CODE
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert asked(built, "/favicon.svg").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.0,gzip;q=0", None),
        ("GZIP", "gzip"),
        ("identity", None),
    ],
)
def test_compressed_where_accepted(built: Path, header: str, coding: str | None) -> None:
    answer = asked(built, "/static/index-a1b2.js", "HEAD", accept_encoding=header)
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.content == b""


def test_weights_of_codings() -> None:
    assert accepts(b"br;q=0.001", "br")
    assert accepts(b"br;q=1", "br")
    assert not accepts(b"xbr", "br")
    assert not accepts(b"br ; q=0.000", "br")


def test_a_strict_policy_on_every_file(built: Path) -> None:
    for path in ("/", "/static/index-a1b2.js", "/favicon.svg"):
        headers = asked(built, path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/assets",
        "/assets/0011",
        "/v1/nothing",
        "/events",
        "/livez",
        "/metrics",
        "/static/none.js",
        "/static/../index.html",
        "/static/index-a1b2.js.gz",
    ],
)
def test_paths_of_the_api_and_files_that_are_not_there_are_left_alone(
    built: Path, path: str
) -> None:
    answer = asked(built, path.replace("..", "%2e%2e"), **BROWSER)
    assert (answer.status_code, answer.text) == (404, "the API's")


def test_only_who_wants_a_page_gets_one_for_an_unknown_path(built: Path) -> None:
    assert asked(built, "/nope", accept="application/json").status_code == 404
    assert asked(built, "/nope", "POST", **BROWSER).status_code == 404


def test_where_it_is_not_built_it_says_how(tmp_path: Path) -> None:
    answer = asked(tmp_path, "/", **BROWSER)
    assert answer.status_code == 200
    assert "make ui" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_node_serves_it_on_loopback_and_not_on_its_socket(
    browser: httpx.Client, owner: httpx.Client, alice: Running
) -> None:
    for path in ("/", "/ui/wallet"):
        answer = browser.get(path, headers=BROWSER)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        problem(owner.get(path, headers=BROWSER), 404)
    assert browser.get("/assets", headers=BROWSER).json()["items"]
    problem(browser.get("/", headers={**BROWSER, "host": "evil.example"}), 403)
    problem(browser.get("/nope"), 404)
