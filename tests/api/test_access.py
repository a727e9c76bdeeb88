"""Roles, scopes and routes: every pair of them, through the layers that decide."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from hypermesh.http.rate import Limit
from hypermesh.node.api import guard
from hypermesh.node.api.access import (
    Permission,
    Principal,
    Role,
    ScopeMissing,
    TokenMissing,
    authorize,
)
from hypermesh.node.api.answers import Answers
from hypermesh.node.api.application import application
from hypermesh.node.api.guard import Guard, Listener, Loopback, OwnersSocket, Remote
from hypermesh.node.api.permissions import PERMISSIONS, permission
from hypermesh.node.api.routes import ROUTES
from hypermesh.node.api.routes.observing import heard
from hypermesh.node.events import KINDS
from hypermesh.node.tokens import Tokens
from hypermesh.wire.api.event import EventKind
from hypermesh.wire.api.token import Scope, TokenRequest
from hypermesh.wire.errors import Forbidden

SCOPES = [str(scope) for scope in Scope]
pytestmark = pytest.mark.filterwarnings(
    # The node's processes do not turn warnings into errors; this application is built in here.
    "ignore::DeprecationWarning"
)

WHO = ["owner", "session", "local", "remote", *SCOPES]
"""The roles, and bearers of a token with one scope each."""

MAY = {
    # of each permission, who has it: written out, so that the code's own table is checked
    "open": "owner session local remote read lease jobs manage",
    "read": "owner session local read",
    "lease": "owner session lease",
    "jobs": "owner session jobs",
    "manage": "owner session manage",
    "owner": "owner session",
    "secret": "owner",
}
SESSION_TOKEN = "s" * 43


def routes() -> list[tuple[str, str]]:
    """Each route as (method, path template)."""
    found = []
    for route in ROUTES:
        for path in route.paths:  # type: ignore[union-attr]
            template = re.sub(r"{(\w+):\w+}", r"{\1}", path)
            found += [(method, template) for method in sorted(route.http_methods)]  # type: ignore[union-attr]
    return found


def test_every_route_names_its_permission() -> None:
    missing = [route for route in routes() if route not in PERMISSIONS]
    assert missing == []


def test_what_names_none_is_refused_to_everybody() -> None:
    assert permission("GET", "/v1/nothing") is None
    for role in Role:
        principal = Principal(role, "x", frozenset(Scope))
        with pytest.raises(Forbidden):
            authorize(principal, None, "GET /v1/nothing")


def principal(who: str) -> Principal:
    if who in SCOPES:
        return Principal(Role.TOKEN, who, frozenset({Scope(who)}))
    return Principal(Role(who), who)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("action", list(Permission))
def test_rights_are_as_written(action: Permission, who: str) -> None:
    if who in MAY[action].split():
        authorize(principal(who), action, "x")
        return
    with pytest.raises((Forbidden, TokenMissing)) as refused:
        authorize(principal(who), action, "x")
    stranger = who in ("local", "remote") and action is not Permission.SECRET
    assert isinstance(refused.value, TokenMissing) is stranger


def test_a_token_with_every_scope_is_still_not_the_owner() -> None:
    bearer = Principal(Role.TOKEN, "t", frozenset(Scope))
    for action in (Permission.OWNER, Permission.SECRET):
        with pytest.raises(Forbidden):
            authorize(bearer, action, "x")
    with pytest.raises(ScopeMissing, match="No token may"):
        authorize(bearer, Permission.OWNER, "POST /v1/network/tokens")


class Asked:
    """The whole stack of the API without a node behind it: a request that is let through fails in
    its route, one that is not is answered 401 or 403."""

    def __init__(self, directory: Path) -> None:
        self.tokens = Tokens(directory / "tokens")
        self.answers = Answers(directory / "answers.sqlite")
        app = application(cast("Any", None), self.answers)
        local = Loopback(SESSION_TOKEN, self.tokens)
        listeners: dict[str, Listener] = {
            "owner": OwnersSocket(),
            "session": local,
            "local": local,
            "remote": Remote(self.tokens),
        }
        self.guards = {who: Guard(app, each) for who, each in listeners.items()}
        self.bearer = {
            scope: self.tokens.create(TokenRequest(name=scope, scopes=[scope]), 2**42)[0]
            for scope in Scope
        }

    def status(self, who: str, method: str, path: str) -> int:
        # A principal's rate is another test's matter.
        self.guard(who)._buckets._full_ns.clear()
        return int(self.answer(who, method, path)["status"])

    def guard(self, who: str) -> Guard:
        return self.guards.get(who, self.guards["remote"])

    def answer(self, who: str, method: str, path: str) -> Any:
        headers = [(b"host", b"localhost:5173")]
        if who == "session":
            headers.append((b"authorization", b"Bearer " + SESSION_TOKEN.encode()))
        if who in SCOPES:
            headers.append((b"authorization", b"Bearer " + self.bearer[Scope(who)].encode()))
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "server": ("::1", 5173),
            "client": ("2001:db8::1", 1),
            "scheme": "http",
            "root_path": "",
            "state": {},
        }
        return asyncio.run(ask(self.guard(who), scope))


async def ask(app: Any, scope: dict[str, Any]) -> Any:
    """The start of the answer."""
    started: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.append(message)

    await app(scope, receive, send)
    return started[0]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    made = Asked(tmp_path_factory.mktemp("access"))
    yield made
    made.answers.close()


HEAVY = {("GET", "/events")}
"""Answers a stream to whom it lets in."""


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("method", "template"), routes())
def test_every_route_lets_in_whom_it_should(
    asked: Asked, method: str, template: str, who: str
) -> None:
    allowed = who in MAY[PERMISSIONS[method, template]].split()
    if allowed and (method, template) in HEAVY:
        pytest.skip("a stream")
    path = re.sub(r"{(\w+)}", lambda found: "1" if found[1] == "height" else "0" * 64, template)
    status = asked.status(who, method, path)
    assert (status not in (401, 403)) is allowed, status


@pytest.mark.parametrize("who", WHO)
def test_events_of_jobs_are_for_whom_jobs_are_shown(who: str) -> None:
    asks, shown = principal(who), who in MAY["jobs"].split()
    assert (EventKind.JOB in heard(asks, None)) is shown
    assert heard(asks, None) >= KINDS - {EventKind.JOB}
    assert heard(asks, "block,live") == {EventKind.BLOCK, EventKind.LIVE}
    if shown:
        assert heard(asks, "job") == {EventKind.JOB}
        return
    with pytest.raises((Forbidden, TokenMissing)):
        heard(asks, "block,job")


def test_a_hole_in_the_table_would_be_seen(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix fails where a route asks for too little."""
    monkeypatch.setitem(PERMISSIONS, ("POST", "/v1/jobs"), Permission.OPEN)
    assert asked.status("remote", "POST", "/v1/jobs") not in (401, 403)
    monkeypatch.undo()
    assert asked.status("remote", "POST", "/v1/jobs") == 401
    monkeypatch.delitem(PERMISSIONS, ("GET", "/assets"))
    assert asked.status("owner", "GET", "/assets") == 403


@pytest.mark.parametrize(
    ("route", "action"),
    [
        (("GET", "/v1/leases/{lease}/session"), Permission.SECRET),
        (("POST", "/v1/network/tokens"), Permission.OWNER),
        (("GET", "/v1/network/tokens"), Permission.OWNER),
        (("DELETE", "/v1/network/tokens/{token}"), Permission.OWNER),
        (("GET", "/v1/jobs/{job}/output"), Permission.JOBS),
        (("POST", "/v1/accounts/transfer"), Permission.MANAGE),
        # Audiences and prices: below FullPublic they are nobody's but the owner's.
        (("GET", "/privacy/settings"), Permission.MANAGE),
        # An attempt leases, runs programs and has a node certified, whatever the token's scopes.
        (("POST", "/v1/attempts/{name}"), Permission.OWNER),
    ],
)
def test_what_must_not_slip(route: tuple[str, str], action: Permission) -> None:
    assert PERMISSIONS[route] is action


def test_a_token_that_is_none_is_a_stranger_s_request(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a stranger would ask as often as it likes, each time with another invented token."""
    monkeypatch.setattr(guard, "LIMITS", {Role.REMOTE: Limit(per_s=1, burst=3)})
    asked.guard("remote")._buckets._full_ns.clear()
    monkeypatch.setitem(asked.bearer, Scope.READ, "hm_invented")
    answers = [asked.answer("read", "GET", "/assets")["status"] for _ in range(4)]
    assert answers == [401, 401, 401, 429]
    assert asked.answer("remote", "GET", "/livez")["status"] == 429
    assert asked.answer("jobs", "GET", "/livez")["status"] == 200


def test_each_bearer_has_a_rate_of_its_own(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "LIMITS", {Role.TOKEN: Limit(per_s=1, burst=3)})
    asked.guard("read")._buckets._full_ns.clear()
    answers = [asked.answer("read", "GET", "/v1/jobs") for _ in range(4)]
    assert [each["status"] for each in answers] == [403, 403, 403, 429]
    headers = dict(answers[-1]["headers"])
    assert headers[b"retry-after"] == b"1"
    assert headers[b"content-type"] == b"application/problem+json"
    assert asked.answer("jobs", "POST", "/v1/network/tokens")["status"] == 403
    assert [asked.answer("owner", "GET", "/v1/nothing")["status"] for _ in range(9)] == [404] * 9
