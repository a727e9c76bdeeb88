"""Bearer tokens: made once, kept as digests, good for their scopes until they end."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest

from hypermesh.node import tokens as module
from hypermesh.node.kept import FileDamaged
from hypermesh.node.tokens import ENDED_KEPT_MS, Tokens, TokensFull
from hypermesh.wire.api.token import Scope, TokenRequest
from hypermesh.wire.errors import InvalidInput, NotFound

from .nodes import Running, eventually, problem

TOKENS = "/v1/network/tokens"
NOW = 1_800_000_000_000


def request(name: str = "x", **given: object) -> TokenRequest:
    return TokenRequest(**{"name": name, "scopes": [Scope.READ], **given})  # type: ignore[arg-type]


def test_a_token_is_256_random_bits_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    kept = Tokens(tmp_path / "tokens")
    made = {kept.create(request(), NOW)[0] for _ in range(20)}
    assert len(made) == 20
    written = (tmp_path / "tokens").read_bytes()
    for token in made:
        assert token.startswith("hm_")
        assert len(token) == 46
        assert token.encode() not in written
        assert token[3:].encode() not in written
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o600


def test_tokens_outlive_the_process_and_end_at_once(tmp_path: Path) -> None:
    before = Tokens(tmp_path / "tokens")
    token, view = before.create(request(scopes=[Scope.JOBS, Scope.READ]), NOW)
    after = Tokens(tmp_path / "tokens")
    found = after.find(token)
    assert found is not None
    assert (found.id, set(found.scopes)) == (view.id, {Scope.READ, Scope.JOBS})
    assert after.find(token + "x") is None
    assert after.find("") is None
    after.revoke(view.id, NOW)
    assert after.find(token) is None
    assert Tokens(tmp_path / "tokens").find(token) is None
    with pytest.raises(NotFound):
        after.revoke(view.id, NOW)


def test_ended_tokens_are_forgotten_after_a_month(tmp_path: Path) -> None:
    kept = Tokens(tmp_path / "tokens")
    token, view = kept.create(request(lifetime_ms=1000), NOW)
    assert not view.expired
    assert kept.page(None, 10, NOW + 1000).items[0].expired
    kept.create(request(), NOW + 1000 + ENDED_KEPT_MS - 1)
    assert kept.find(token) is not None
    kept.create(request(), NOW + 1000 + ENDED_KEPT_MS)
    assert kept.find(token) is None


def test_tokens_come_in_pages_and_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOKENS_MAX", 7)
    kept = Tokens(tmp_path / "tokens")
    ids = sorted(kept.create(request(), NOW)[1].id for _ in range(7))
    with pytest.raises(TokensFull):
        kept.create(request(), NOW)
    found, cursor = [], None
    while True:
        page = kept.page(cursor, 3, NOW)
        found += [each.id for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == ids


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"\xc1")
    with pytest.raises(FileDamaged, match="tokens"):
        Tokens(tmp_path / "tokens")
    with pytest.raises(InvalidInput, match="twice"):
        Tokens(tmp_path / "none").create(request(scopes=[Scope.READ, Scope.READ]), NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 64},
        {"name": "a\nb"},
        {"scopes": []},
        {"scopes": ["owner"]},
        {"scopes": ["secret"]},
        {"lifetime_ms": 0},
        {"lifetime_ms": 10**12},
        {"surprise": 1},
    ],
)
def test_what_is_no_request(owner: httpx.Client, change: dict[str, object]) -> None:
    problem(owner.post(TOKENS, json={"name": "x", "scopes": ["read"]} | change), 400)


def make(owner: httpx.Client, *scopes: str, **given: object) -> tuple[str, str]:
    made = owner.post(TOKENS, json={"name": "test", "scopes": scopes, **given})
    assert made.status_code == 201, made.text
    return made.json()["token"], made.json()["view"]["id"]


def bearing(running: Running, token: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.Client(base_url=running.api, timeout=30, headers=headers)


def test_a_token_opens_what_its_scope_says(owner: httpx.Client, alice: Running) -> None:
    token, token_id = make(owner, "read")
    with bearing(alice, token) as client:
        assert client.get("/v1/network").status_code == 200
        refused = problem(client.post("/v1/jobs", json={}), 403)
        assert refused["code"] == "HM-API-0008"
        assert "`jobs`" in refused["detail"]
        assert refused["cause"] == "the token has read"
        for method, path in (("GET", TOKENS), ("POST", TOKENS), ("DELETE", f"{TOKENS}/x")):
            assert problem(client.request(method, path), 403)["code"] == "HM-API-0008"
        assert token_id in [each["id"] for each in owner.get(TOKENS).json()["items"]]
        assert owner.delete(f"{TOKENS}/{token_id}").status_code == 200
        assert "revoked" in problem(client.get("/v1/network"), 401)["cause"]
    assert token not in owner.get(TOKENS).text


def test_a_token_ends_in_time(owner: httpx.Client, alice: Running) -> None:
    token, _ = make(owner, "read", lifetime_ms=1000)
    with bearing(alice, token) as client:
        refused = eventually(
            lambda: (answer := client.get("/v1/network")).status_code == 401 and answer,
            "the token ends",
        )
    assert "expired" in problem(refused, 401)["cause"]
    assert refused.headers["www-authenticate"] == "Bearer"


def test_a_new_token_is_not_kept_among_the_answers(owner: httpx.Client, alice: Running) -> None:
    headers, body = {"idempotency-key": "token-once"}, {"name": "x", "scopes": ["read"]}
    token = owner.post(TOKENS, json=body, headers=headers).json()["token"]
    again = problem(owner.post(TOKENS, json=body, headers=headers), 409)
    assert again["code"] == "HM-API-0011"
    for file in alice.data.glob("answers.sqlite*"):
        assert token.encode() not in file.read_bytes()


def test_keys_of_idempotency_are_each_tokens_own(
    owner: httpx.Client, alice: Running, bob: Running
) -> None:
    headers, body = {"idempotency-key": "same"}, {"to": bob.owner, "amount": 1}
    before = owner.get(f"/v1/accounts/{bob.owner}").json()["balance"]
    for token in (make(owner, "manage")[0], make(owner, "manage")[0]):
        with bearing(alice, token) as client:
            for _ in range(2):
                answer = client.post("/v1/accounts/transfer", json=body, headers=headers)
                assert answer.status_code == 201
    assert owner.get(f"/v1/accounts/{bob.owner}").json()["balance"] == before + 2
