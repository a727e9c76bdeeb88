"""`hm token` and `hm ui`: letting programs and the browser in."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest

from .shell import Machine


def test_a_token_from_its_making_to_its_end(home: Machine, tmp_path: Path) -> None:
    ca = tmp_path / "root.pem"
    made = home.succeeds("token", "create", "short-lived", "--scope", "read", "--ca", str(ca))
    token = made.stdout.decode().strip()
    said = made.stderr.decode()
    assert token.startswith("hm_")
    assert token not in said
    assert "not shown again" in said
    assert f"curl --cacert {ca} --connect-to" in said
    assert ssl.create_default_context(cafile=str(ca)).get_ca_certs()
    items = home.json("token", "ls")["items"]
    (view,) = [each for each in items if each["name"] == "short-lived"]
    assert (view["scopes"], view["expired"]) == (["read"], False)
    assert token not in str(view)
    api = home.json("status")["api"]
    headers = {"authorization": f"Bearer {token}"}
    assert httpx.get(f"{api}/v1/network", headers=headers).status_code == 200
    shown = home.succeeds("token", "ls", "--quiet").stdout.decode().split()
    assert view["id"] in shown
    assert "short-lived" in home.succeeds("token", "ls").stdout.decode()
    gone = home.succeeds("token", "revoke", view["id"])
    assert "opens nothing" in gone.stdout.decode()
    assert httpx.get(f"{api}/v1/network", headers=headers).status_code == 401
    left = home.json("token", "ls")["items"]
    assert view["id"] not in {each["id"] for each in left}


def test_json_has_all_that_a_program_needs(home: Machine) -> None:
    made = home.json("token", "create", "ci", "--scope", "jobs", "--scope", "read", "--for", "7d")
    view = made["view"]
    assert view["expires_ms"] - view["created_ms"] == 7 * 24 * 60 * 60 * 1000
    assert made["remote"]["url"].startswith("https://[::]:")
    home.succeeds("token", "revoke", view["id"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("create", "x"), 2),
        (("create", "x", "--scope", "owner"), 2),
        (("create", "x", "--scope", "read", "--for", "5"), 2),
        (("create", "x", "--scope", "read", "--for", "9000d"), 2),
        (("create", "", "--scope", "read"), 2),
        (("revoke", "0000000000000000"), 5),
        (("revoke", "../blocks"), 5),
    ],
)
def test_what_cannot_be(home: Machine, words: tuple[str, ...], code: int) -> None:
    assert home.hm("token", *words).returncode == code


def test_the_dashboards_address_carries_the_session_token(home: Machine) -> None:
    address = home.succeeds("ui", "--print").stdout.decode().strip()
    api, _, token = address.partition("/#token=")
    assert api == home.json("status")["api"]
    assert token == (home.data / "api-token").read_text()
    assert home.json("ui")["url"] == address


def test_without_a_node_there_is_no_dashboard(nowhere: Machine) -> None:
    assert nowhere.hm("ui", "--print").returncode == 7
    assert nowhere.hm("token", "ls").returncode == 7
