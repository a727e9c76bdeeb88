"""Who may speak to the API: the owner's socket, loopback with and without the token, strangers."""

from __future__ import annotations

import socket
import stat
from urllib.parse import urlsplit

import httpx
import pytest

from .nodes import Running, problem

INVITATION = "/v1/network/invitations"


def port_of(running: Running) -> int:
    port = urlsplit(running.api).port
    assert port is not None
    return port


def test_secrets_are_the_owners_alone(alice: Running) -> None:
    assert stat.S_IMODE(alice.data.stat().st_mode) == 0o700
    for name in ("hm.sock", "api-token", "answers.sqlite"):
        assert stat.S_IMODE((alice.data / name).stat().st_mode) == 0o600, name


def test_both_loopbacks_answer_and_nothing_else_listens(alice: Running) -> None:
    port = port_of(alice)
    for host in ("[::1]", "127.0.0.1", "localhost"):
        assert httpx.get(f"http://{host}:{port}/livez").text == "ok"
    others = {
        entry[4][0]
        for entry in socket.getaddrinfo(socket.gethostname(), None)
        if not str(entry[4][0]).startswith(("127.", "::1"))
    }
    for address in others:
        family = socket.AF_INET6 if ":" in str(address) else socket.AF_INET
        with socket.socket(family) as probe:
            assert probe.connect_ex((address, port)) != 0, address


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "localhost",
        "localhost:1",
        "localhost.evil:{port}",
        "",
    ],
)
def test_a_rebound_name_is_refused(browser: httpx.Client, alice: Running, host: str) -> None:
    named = host.format(port=port_of(alice))
    for method, path in (("GET", "/v1/network"), ("POST", INVITATION), ("GET", "/livez")):
        refused = problem(browser.request(method, path, headers={"host": named}), 403)
        assert "Host" in refused["detail"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_this_machine_has_several_names(browser: httpx.Client, alice: Running, host: str) -> None:
    named = f"{host}:{port_of(alice)}"
    assert browser.get("/livez", headers={"host": named}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost", "https://localhost:{port}"]
)
def test_pages_of_others_are_refused(signed_in: httpx.Client, alice: Running, origin: str) -> None:
    headers = {"origin": origin.format(port=port_of(alice))}
    for method, path in (("GET", "/v1/network"), ("POST", INVITATION), ("OPTIONS", INVITATION)):
        answer = signed_in.request(method, path, headers=headers)
        problem(answer, 403)
        assert "access-control-allow-origin" not in answer.headers


def test_own_pages_are_not(signed_in: httpx.Client, alice: Running) -> None:
    headers = {"origin": f"http://localhost:{port_of(alice)}"}
    assert signed_in.post(INVITATION, json={}, headers=headers).status_code == 201


WRITES = [
    ("POST", "/assets/register"),
    ("PUT", f"/assets/{'0' * 32}/allocate"),
    ("DELETE", f"/assets/{'0' * 32}/release"),
    ("PUT", "/privacy/level"),
    ("POST", "/privacy/proxy"),
    ("POST", INVITATION),
    ("POST", "/v1/jobs"),
    ("POST", "/v1/transactions"),
    ("POST", "/v1/accounts/transfer"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer wrong", "Basic {token}"])
def test_a_write_over_loopback_needs_the_token(
    browser: httpx.Client, alice: Running, method: str, path: str, token: str | None
) -> None:
    right = (alice.data / "api-token").read_text()
    headers = {} if token is None else {"authorization": token.format(token=right)}
    refused = problem(browser.request(method, path, headers=headers), 401)
    assert refused["code"] == "HM-API-0001"
    assert right not in str(refused)


def test_reads_and_dry_runs_need_none(browser: httpx.Client) -> None:
    assert browser.get("/v1/network").status_code == 200
    assert browser.post("/consensus/challenge", json={}).status_code == 200
    problem(browser.post("/consensus/validate", json={}), 400)


def test_the_owners_socket_needs_none(owner: httpx.Client) -> None:
    assert owner.post(INVITATION, json={}).status_code == 201


def test_bodies_say_their_length_and_are_not_too_large(
    owner: httpx.Client, signed_in: httpx.Client
) -> None:
    for client in (owner, signed_in):
        chunked = client.post("/v1/jobs", content=iter([b"{", b"}"]))
        assert problem(chunked, 411)["code"] == "HM-API-0004"
        large = client.post("/v1/jobs", content=bytes((8 << 20) + 1))
        assert problem(large, 413)["code"] == "HM-API-0003"
        assert client.get("/livez").text == "ok"
