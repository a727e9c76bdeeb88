"""`Idempotency-Key`: asked twice, done once; kept through restarts, for 24 hours."""

from __future__ import annotations

import secrets
import stat
import threading
from pathlib import Path

import httpx
import pytest

from hypermesh.node.api import answers as module
from hypermesh.node.api.answers import (
    KEPT_MS,
    Answer,
    Answers,
    KeyReused,
    KeysNotKept,
    OutcomeUnknown,
)
from hypermesh.wire.errors import Overloaded

from .nodes import Running, problem, started

TRANSFER = "/v1/accounts/transfer"
ANSWER = Answer(201, [(b"content-type", b"application/json")], b"{}")


def fresh() -> dict[str, str]:
    return {"idempotency-key": secrets.token_hex(8)}


def test_a_write_asked_for_twice_happens_once(owner: httpx.Client, bob: Running) -> None:
    before = bob.mesh.accounts.get(bob.owner).balance
    body, headers = {"to": bob.owner, "amount": 3}, fresh()
    first = owner.post(TRANSFER, json=body, headers=headers)
    again = owner.post(TRANSFER, json=body, headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert first.headers["content-type"] == again.headers["content-type"]
    account = owner.get(f"/v1/accounts/{bob.owner}").json()
    assert account["balance"] == before + 3


def test_without_a_key_it_happens_twice(owner: httpx.Client, bob: Running) -> None:
    before = owner.get(f"/v1/accounts/{bob.owner}").json()["balance"]
    for _ in range(2):
        assert owner.post(TRANSFER, json={"to": bob.owner, "amount": 3}).status_code == 201
    assert owner.get(f"/v1/accounts/{bob.owner}").json()["balance"] == before + 6


def test_a_refusal_is_repeated_too(owner: httpx.Client, bob: Running) -> None:
    body, headers = {"to": bob.owner, "amount": 2**62}, fresh()
    first = problem(owner.post(TRANSFER, json=body, headers=headers), 402)
    assert problem(owner.post(TRANSFER, json=body, headers=headers), 402) == first


def test_a_key_belongs_to_one_request(owner: httpx.Client, bob: Running) -> None:
    headers = fresh()
    body = {"to": bob.owner, "amount": 1}
    assert owner.post(TRANSFER, json=body, headers=headers).status_code == 201
    for method, path, other in (
        ("POST", TRANSFER, body | {"amount": 2}),
        ("POST", "/v1/network/invitations", {}),
        ("PUT", "/privacy/level", body),
        ("POST", f"{TRANSFER}?x=1", body),
    ):
        refused = problem(owner.request(method, path, json=other, headers=headers), 409)
        assert refused["code"] == "HM-API-0005"


def test_what_the_owner_was_told_is_not_told_over_tcp(
    owner: httpx.Client, signed_in: httpx.Client, bob: Running
) -> None:
    memory = next(
        each.asset for each in bob.mesh.assets.list() if each.kind == "memory" and each.mine
    )
    path, body, headers = f"/assets/{memory}/allocate", {"amount": 64}, fresh()
    mine = owner.put(path, json=body, headers=headers).json()
    assert mine["secret"]
    assert owner.put(path, json=body, headers=headers).json() == mine
    theirs = signed_in.put(path, json=body, headers=headers).json()
    assert theirs["secret"] is None
    assert theirs["lease"]["lease"] != mine["lease"]["lease"]
    for session in (mine, theirs):
        lease = session["lease"]["lease"]
        owner.delete(f"/assets/{memory}/release", params={"lease": lease})


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\xe9"])
def test_what_is_no_key(owner: httpx.Client, key: str) -> None:
    headers = [(b"idempotency-key", key.encode("latin-1"))]
    problem(owner.post("/v1/network/invitations", json={}, headers=headers), 400)


def test_reads_take_no_notice_of_keys(owner: httpx.Client) -> None:
    headers = fresh()
    assert owner.get("/livez", headers=headers).text == "ok"
    assert owner.get("/v1/network", headers=headers).status_code == 200


def test_at_the_same_time_one_is_run(alice: Running, bob: Running) -> None:
    headers, body = fresh(), {"to": bob.owner, "amount": 11}
    statuses: list[int] = []

    def ask() -> None:
        with alice.over_socket() as client:
            statuses.append(client.post(TRANSFER, json=body, headers=headers).status_code)

    with alice.over_socket() as client:
        before = client.get(f"/v1/accounts/{bob.owner}").json()["balance"]
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {201, 409}
        assert 201 in statuses
        assert client.get(f"/v1/accounts/{bob.owner}").json()["balance"] == before + 11


def test_an_answer_outlives_the_node(tmp_path: Path) -> None:
    headers, path = fresh(), "/v1/network/invitations"
    with started(tmp_path / "solo", "private") as node, node.over_socket() as client:
        first = client.post(path, json={}, headers=headers)
    with started(tmp_path / "solo", "private") as node, node.over_socket() as client:
        assert client.post(path, json={}, headers=headers).content == first.content


def test_a_token_is_shown_once_however_its_path_is_written(tmp_path: Path) -> None:
    body, made = {"name": "once", "scopes": ["read"]}, []
    with started(tmp_path / "solo", "private") as node, node.over_socket() as client:
        for path in ("/v1/network/tokens", "/v1/network/tokens/", "//v1//network/%74okens"):
            headers = fresh()
            first = client.post(f"http://node{path}", json=body, headers=headers)
            made.append(first.json()["token"])
            again = client.post(f"http://node{path}", json=body, headers=headers)
            assert problem(again, 409)["code"] == "HM-API-0011"
    kept = [file.read_bytes() for file in (tmp_path / "solo").rglob("*") if file.is_file()]
    assert kept
    assert not [token for token in made if any(token.encode() in each for each in kept)]


def test_a_key_is_forgotten_after_a_day(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "answers")
    assert answers.begin("owner", "k", b"request", 1000) is None
    answers.finish("owner", "k", ANSWER)
    assert answers.begin("owner", "k", b"request", 1000 + KEPT_MS) == ANSWER
    assert answers.begin("owner", "k", b"another", 1001 + KEPT_MS) is None
    answers.close()


def test_a_request_cut_by_a_crash_is_not_run_again(tmp_path: Path) -> None:
    before = Answers(tmp_path / "answers")
    assert before.begin("owner", "k", b"request", 1000) is None
    with pytest.raises(OutcomeUnknown, match="still being answered"):
        before.begin("owner", "k", b"request", 1001)
    before.close()
    after = Answers(tmp_path / "answers")
    with pytest.raises(OutcomeUnknown, match="went down"):
        after.begin("owner", "k", b"request", 1002)
    with pytest.raises(KeyReused):
        after.begin("owner", "k", b"another", 1002)
    assert after.begin("session", "k", b"another", 1002) is None
    after.close()
    assert stat.S_IMODE((tmp_path / "answers").stat().st_mode) == 0o600


def test_what_was_not_taken_may_come_again(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "answers")
    for status in (503, 429):
        assert answers.begin("owner", "k", b"request", 1000) is None
        answers.finish("owner", "k", Answer(status, [], b""))
    assert answers.begin("owner", "k", b"request", 1000) is None
    answers.close()


def test_the_number_of_keys_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEYS_MAX", 100)
    answers = Answers(tmp_path / "answers")
    for number in range(100):
        answers.begin("owner", str(number), b"request", 1000)
    with pytest.raises(Overloaded):
        answers.begin("owner", "one more", b"request", 1000)
    assert answers.begin("owner", "one more", b"request", 1001 + KEPT_MS) is None
    answers.close()


@pytest.mark.parametrize("bound", ["KEYS_MAX", "BYTES_MAX"])
def test_no_other_than_the_owner_can_fill_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """A bearer of a token has a part of it, and the owner's writes are taken all the same."""
    monkeypatch.setattr(module, bound, 100 if bound == "KEYS_MAX" else 100 * len(ANSWER.body) * 20)
    answers = Answers(tmp_path / "answers")

    def fill(principal: str) -> int:
        for number in range(200):
            key = secrets.token_hex(8)
            try:
                answers.begin(principal, key, b"request", 1000)
            except Overloaded:
                return number
            answers.finish(principal, key, ANSWER)
        return 200

    assert 0 < fill("token:a") <= 15
    assert 0 < fill("local") <= 15
    assert fill("token:a") == 0
    assert answers.begin("owner", "k", b"request", 1000) is None
    answers.close()
    # It is counted in the file, not in the process.
    answers = Answers(tmp_path / "answers")
    assert fill("token:a") == 0
    assert answers.begin("token:a", "later", b"request", 1001 + KEPT_MS) is None
    answers.close()


def test_a_store_that_fails_refuses_the_write(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "answers")
    answers._database.execute("DROP TABLE answers")
    with pytest.raises(KeysNotKept):
        answers.begin("owner", "k", b"request", 1000)
    answers.close()
