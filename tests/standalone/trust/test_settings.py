"""Settings and tokens: what is wrong is said, what is right is kept."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hypermesh.standalone.trust.errors import SettingsInvalid, TokensFull
from hypermesh.standalone.trust.granting import Granting
from hypermesh.standalone.trust.settings import Settings, parse_settings, written
from hypermesh.standalone.trust.tokens import TOKENS_MAX, Role, Tokens
from hypermesh.trustchain.ca.names import Name, NameForbidden, NameRefused
from hypermesh.trustchain.ca.profile import Kind
from hypermesh.wire.errors import InvalidInput, NotFound

WHOLE = """
name = "A \\"b\\" c"
hosts = ["ca.example.internal", "2001:db8::1"]
permitted = ["dns:.example.internal", "ip:2001:db8::/32"]
https = "[::]:443"
http = ""
[dns]
listen = ""
[acme]
enabled = true
resolver = "[::1]:53"
allowed = ["::1/128"]
[[client]]
name = "email:a@example.internal"
role = "auditor"
"""


def test_settings_are_read_and_written_as_one_file() -> None:
    settings = parse_settings(WHOLE, "x")
    assert parse_settings(written(settings), "y") == settings
    assert parse_settings(written(Settings()), "z") == Settings()
    assert settings.http_place is None
    assert settings.client[0].role is Role.AUDITOR
    assert settings.acme_url(443) == "https://ca.example.internal/acme"
    assert settings.acme_url(8443) == "https://ca.example.internal:8443/acme"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https = ", "TOML"),
        ("httsp = '[::1]:1'", "httsp"),
        ("https = 5", "https"),
        ("https = 'nowhere:99999'", "https"),
        ("hosts = []", "hosts"),
        ("hosts = ['a b']", "hosts"),
        ("profile = 'pq'", "profile"),
        ("permitted = ['example.internal']", "permitted"),
        ("permitted = ['ip:banana']", "permitted"),
        ("permitted = ['dns:a_b']", "permitted"),
        ("[[client]]\nname = 'email:x@y'\nrole = 'requester'\nnames = ['ip:1/99']", "client.names"),
        ("public_url = 'ftp://x'", "public_url"),
        ("[dns]\naddress = '127.0.0.1'", "dns.address"),
        ("[dns]\nzone = '-'", "dns.zone"),
        ("[acme]\nallowed = ['::1/129']", "acme.allowed"),
        ("[dns]\nlisten = ''\n[acme]\nenabled = true", "acme.resolver"),
        ("[rate]\nmember_per_s = 0", "member_per_s"),
        ("[[client]]\nname = 'email:x@y'\nrole = 'king'", "role"),
        ("[[client]]\nname = 'x'\nrole = 'auditor'", "client.name"),
    ],
)
def test_a_wrong_setting_is_named(text: str, said: str) -> None:
    with pytest.raises(SettingsInvalid) as raised:
        parse_settings(text, "file")
    assert said in str(raised.value)


def test_tokens_are_kept_as_digests_and_end(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens")
    text, kept = tokens.create("a", Role.REQUESTER, ("dns:a.example",), 100, 50)
    assert tokens.find(text) == kept
    assert tokens.find(text + "x") is None
    assert text.encode() not in (tmp_path / "tokens").read_bytes()
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o600
    other = Tokens(tmp_path / "tokens")
    assert other.find(text) == kept
    tokens.revoke(kept.id)
    assert other.find(text) is None, "another process sees it at once"
    with pytest.raises(NotFound):
        tokens.revoke(kept.id)
    with pytest.raises(InvalidInput):
        tokens.create("", Role.AUDITOR, (), 100, 50)
    for pattern in ("a.example", "ip:banana", "dns:a b", "dns:"):
        with pytest.raises(NameRefused):
            tokens.create("b", Role.REQUESTER, (pattern,), 100, 50)
    assert tokens.listed() == []


def test_tokens_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypermesh.standalone.trust.tokens.TOKENS_MAX", 2)
    assert TOKENS_MAX > 2
    tokens = Tokens(tmp_path / "tokens")
    tokens.create("a", Role.AUDITOR, (), 100, 10)
    tokens.create("b", Role.AUDITOR, (), 100, 50)
    with pytest.raises(TokensFull):
        tokens.create("c", Role.AUDITOR, (), 105, 50)
    # One that has ended makes room.
    tokens.create("c", Role.AUDITOR, (), 120, 50)


def test_a_damaged_file_of_tokens_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"\x93noise")
    with pytest.raises(SettingsInvalid):
        Tokens(tmp_path / "tokens")


def test_grants_are_what_settings_and_tokens_say(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens")
    settings = parse_settings(WHOLE, "x")
    now_s, year_s = int(time.time()), 365 * 24 * 60 * 60
    _, narrow = tokens.create("n", Role.REQUESTER, ("dns:a.example.internal",), now_s, year_s)
    _, auditor = tokens.create("w", Role.AUDITOR, (), now_s, year_s)
    policy = Granting(settings, tokens)
    host = [Name.parse("dns:a.example.internal")]
    other = [Name.parse("dns:b.example.internal")]
    policy.require(f"token:{narrow.id}", Kind.SERVICE, host)
    policy.require("acme:x", Kind.SERVICE, other)
    policy.require("server", Kind.SERVICE, [Name.parse("ip:2001:db8::1")])
    for requester, kind, names in [
        (f"token:{narrow.id}", Kind.SERVICE, other),
        (f"token:{auditor.id}", Kind.SERVICE, host),
        ("token:none", Kind.SERVICE, host),
        ("client:email:a@example.internal", Kind.SERVICE, host),
        ("client:none", Kind.SERVICE, host),
        ("acme:x", Kind.SERVICE, [Name.parse("dns:example.com")]),
        ("acme:x", Kind.RESPONDER, host),
        ("server", Kind.SERVICE, host),
    ]:
        with pytest.raises(NameForbidden):
            policy.require(requester, kind, names)
