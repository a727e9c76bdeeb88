"""Attacks on the own network: each is refused by the rule that it names, and one that is no attack
any more is reported as having got through."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from hypermesh.caesar.token.accounts import Overdrawn
from hypermesh.node.attempts.money import Spending
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError, NotFound

from .network import Network, hm

EXPECTED = {
    "forge-space": "HM-TX-PROOF-0001",
    "forge-stake": "HM-TX-PROOF-0001",
    "forge-work": "HM-TX-PROOF-0001",
    "forge-time": "HM-TX-PROOF-0001",
    "replay": "HM-TX-0005",
    "overspend": Overdrawn.code,
    "exceed-cpu": "cgroup",
    "read-freed-memory": "HM-STOQ-",
    "revoked-node": "HM-TX-ID-",
    "tamper-block": "HM-",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_attempt_is_refused_by_its_rule(shaken: Network, name: str) -> None:
    result = shaken.alice.ask(lambda mesh: mesh.attempts.run(name))
    assert result.refused, result
    assert result.code.startswith(EXPECTED[name]), result
    assert result.reason
    assert result.rule
    if name.startswith("forge-"):
        assert name.removeprefix("forge-") in result.reason


def test_the_list_is_what_can_be_run(shaken: Network) -> None:
    listed = shaken.alice.ask(lambda mesh: list(mesh.attempts.list()))
    assert [each.name for each in listed] == list(EXPECTED)
    assert all(each.content and not each.unavailable for each in listed)


def test_a_follower_says_what_it_cannot_try(shaken: Network) -> None:
    listed = shaken.bob.ask(lambda mesh: list(mesh.attempts.list()))
    assert [each.name for each in listed if each.unavailable] == ["revoked-node"]
    with pytest.raises(HyperMeshError) as refused:
        shaken.bob.ask(lambda mesh: mesh.attempts.run("revoked-node"))
    assert refused.value.code == "HM-0003"


def test_an_unknown_attempt_is_named(shaken: Network) -> None:
    with pytest.raises(NotFound, match="no-such"):
        shaken.alice.ask(lambda mesh: mesh.attempts.run("no-such"))


def affordable(shaken: Network) -> bytes:
    """The overspend with a payment in its place that the account can make."""
    listed = {each.name: each for each in shaken.alice.ask(lambda m: list(m.attempts.list()))}
    spending = decode(Spending, bytes.fromhex(listed["overspend"].content))
    return encode(Spending(replace(spending.body, amount=1)))


def test_what_is_no_cheat_any_more_gets_through_and_says_so(shaken: Network) -> None:
    content = affordable(shaken)
    result = shaken.alice.ask(lambda mesh: mesh.attempts.run("overspend", content))
    assert not result.refused
    assert result.edited
    assert result.height is not None


def editor(place: Path, script: str) -> str:
    """An $EDITOR that does `script` to the file it is given."""
    program = place / "editor"
    program.write_text(f'#!/bin/sh\n{script} "$1"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_the_command_ends_with_9_where_something_got_through(
    shaken: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "content").write_text(affordable(shaken).hex())
    monkeypatch.setenv("EDITOR", editor(tmp_path, f"cp {tmp_path}/content"))
    monkeypatch.setitem(os.environ, "VISUAL", os.environ["EDITOR"])
    done = hm("try-to-cheat", "overspend", "--edit", data=shaken.alice.data)
    assert done.returncode == 9, done.stderr
    assert b"GOT THROUGH" in done.stdout


def test_the_command_ends_with_0_where_all_is_refused(shaken: Network) -> None:
    done = hm("try-to-cheat", "replay", "overspend", "tamper-block", data=shaken.alice.data)
    assert done.returncode == 0, done.stderr
    assert b"3 attempts, 3 refused." in done.stdout
    assert done.stdout.count(b"rule:") == 3


def test_bytes_that_cannot_be_read_are_an_error_and_no_attempt(
    shaken: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "content").write_text("zz")
    monkeypatch.setenv("EDITOR", editor(tmp_path, f"cp {tmp_path}/content"))
    monkeypatch.setitem(os.environ, "VISUAL", os.environ["EDITOR"])
    done = hm("try-to-cheat", "overspend", "--edit", data=shaken.alice.data)
    assert done.returncode == 2
    assert b"HM-0002" in done.stderr
