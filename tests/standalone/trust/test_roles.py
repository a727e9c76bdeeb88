"""Every route with every role: who may is let in, who may not is refused."""

from __future__ import annotations

import re

import httpx
import pytest

from hypermesh.standalone.trust.access import ROLES, Access
from hypermesh.standalone.trust.routes import ROUTES, Route
from hypermesh.standalone.trust.tokens import Role

from .conftest import Server, said, trustchain

PRINCIPALS = [None, *Role]
BY_PROTOCOL = ("/ocsp", "/add-checkpoint")
"""POST for everybody by their protocols: a question, and a checkpoint that its own log signed."""


@pytest.fixture(scope="module")
def clients(server: Server) -> dict[Role | None, httpx.Client]:
    made: dict[Role | None, httpx.Client] = {None: server.client(None)}
    made |= {role: server.client(server.token_of(str(role))) for role in Role}
    return made


def test_every_route_asks_for_its_role(
    server: Server, clients: dict[Role | None, httpx.Client]
) -> None:
    wrong = []
    for route in ROUTES:
        path = re.sub(r"\{[a-z]+:[a-z]+\}", "ff", route.template)
        for role, client in clients.items():
            answer = client.request(route.method, path)
            code = answer.json().get("code") if "problem" in answer.headers["content-type"] else ""
            refused = code in ("HM-TRUST-0204", "HM-TRUST-0205")
            if refused == _may(route, role):
                wrong.append((route.method, path, role, answer.status_code, code))
            assert answer.status_code != 500, (route, answer.text)
    for client in clients.values():
        client.close()
    assert wrong == []


def _may(route: Route, role: Role | None) -> bool:
    return route.access is Access.PUBLIC or (role is not None and role in ROLES[route.access])


def test_an_auditor_changes_nothing_and_a_requester_sees_no_audit() -> None:
    changing = {
        route for route in ROUTES if route.method != "GET" and route.template not in BY_PROTOCOL
    }
    assert changing
    for route in changing:
        assert not _may(route, Role.AUDITOR), route
        assert not _may(route, None), route
        assert not route.is_plain, route
    watched = [route for route in ROUTES if route.access is Access.AUDIT]
    assert watched
    assert not any(_may(route, Role.REQUESTER) for route in watched)


def test_what_needs_a_role_is_never_plain() -> None:
    assert not [route for route in ROUTES if route.is_plain and route.access is not Access.PUBLIC]


def test_a_revoked_token_is_unknown_at_once(server: Server) -> None:
    done = trustchain("token", "create", "short", "--role", "auditor", data=server.data)
    told = said(done.stdout)
    with server.client(told["token"]) as client:
        assert client.get("/v1/audit").status_code == 200
        assert trustchain("token", "revoke", told["id"], data=server.data).returncode == 0
        assert client.get("/v1/audit").status_code == 401
    assert told["token"].encode() not in (server.data / "tokens").read_bytes()
    listed = trustchain("token", "ls", data=server.data).stdout
    assert "first operator" in listed
    assert told["id"] not in listed
