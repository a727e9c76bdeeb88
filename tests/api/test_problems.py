"""Every refusal is problem details (RFC 9457) that say what happened, why, and what to do."""

from __future__ import annotations

import httpx
import pytest

from .nodes import Running, problem


def test_an_unknown_path(owner: httpx.Client) -> None:
    for path in ("/nope", "/v1/nope", "/assets/x/y/z", "/v1/blocks/-1", "/%00", "/" + "a" * 5000):
        assert problem(owner.get(path), 404)["code"] == "HM-0004"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/assets"),
        ("DELETE", "/livez"),
        ("PATCH", "/privacy/level"),
        ("PUT", "/v1/jobs"),
        ("PUT", "/assets/register"),
    ],
)
def test_a_wrong_method(owner: httpx.Client, method: str, path: str) -> None:
    refused = problem(owner.request(method, path), 405)
    assert refused["code"] == "HM-API-0002"
    assert method in refused["detail"]
    assert path in refused["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1",
        b"nope",
        b'"text"',
        b"\xff\xfe",
        b'{"memo": "\xff"}',
        b"[]",
        b"1",
        b"{}" * 2,
        b"[" * 5000,
    ],
)
def test_a_body_that_is_not_the_json_wanted(owner: httpx.Client, body: bytes) -> None:
    refused = owner.post(
        "/v1/accounts/transfer", content=body, headers={"content-type": "application/json"}
    )
    assert problem(refused, 400)["cause"]


def test_the_member_at_fault_is_named(owner: httpx.Client) -> None:
    body = {"to": "0" * 64, "amount": 1}
    for wrong, name in (
        ({"memo": "x" * 201}, "memo"),
        ({"to": "0" * 63}, "to"),
        ({"to": "A" * 64}, "to"),
        ({"amount": 0}, "amount"),
        ({"amount": "1"}, "amount"),
        ({"amount": True}, "amount"),
        ({"tip": 1}, "tip"),
    ):
        refused = problem(owner.post("/v1/accounts/transfer", json=body | wrong), 400)
        assert name in refused["cause"], refused


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "multipart/form-data", ""])
def test_a_body_of_another_type(owner: httpx.Client, media_type: str) -> None:
    refused = owner.post(
        "/v1/accounts/transfer", content=b"<x/>", headers={"content-type": media_type}
    )
    problem(refused, 400)


@pytest.mark.parametrize("asset", ["zz", "0" * 31, "0" * 33, "G" * 32, "A" * 32])
def test_an_id_that_is_none(owner: httpx.Client, asset: str) -> None:
    assert "asset id" in problem(owner.get(f"/assets/{asset}"), 400)["detail"]
    problem(owner.put(f"/assets/{asset}/allocate", json={"amount": 1}), 400)


def test_queries_that_are_wrong(owner: httpx.Client) -> None:
    for query in ("cursor=zz", "cursor=" + "0" * 31, "kind=frob", "kind=CPU"):
        problem(owner.get(f"/assets?{query}"), 400)


def test_a_refusal_of_the_host_keeps_its_meaning(alice: Running, bob: Running) -> None:
    private = next(each for each in alice.mesh.assets.list() if each.level == "private")
    with bob.over_socket() as client:
        refused = problem(client.get(f"/assets/{private.asset}"), 403)
    assert (refused["code"], refused["exit_code"]) == ("HM-ASSET-0001", 4)
    assert "Private" in refused["cause"]
    assert refused["fix"]
