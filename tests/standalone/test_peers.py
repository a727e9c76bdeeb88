"""The files of a server and of a client, and what a server is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypermesh.standalone.errors import SettingsInvalid
from hypermesh.standalone.peers import (
    PORT_DEFAULT,
    Server,
    parse_authorized,
    parse_known,
    parse_server,
)
from hypermesh.standalone.settings import settled
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.tunnel import Place

KEY, OTHER = "ab" * 32, "01" * 32


def test_a_place_of_a_server() -> None:
    assert parse_server("[::1]:5") == Server("::1", 5)
    assert parse_server("host.example:5") == Server("host.example", 5)
    assert parse_server("[::1]") == Server("::1", PORT_DEFAULT)
    assert parse_server("host") == Server("host", PORT_DEFAULT)
    for text in ("", "::1", "[::1]:65536", "host:", "a b", "[::1]:5x"):
        with pytest.raises(InvalidInput):
            parse_server(text)


def test_authorised_peers() -> None:
    text = f"# mine\n{KEY} laptop\n\n  {OTHER}   # desk\n"
    assert parse_authorized(text, "f") == {bytes.fromhex(KEY), bytes.fromhex(OTHER)}
    assert parse_authorized("", "f") == frozenset()
    for line in ("x", KEY[:-1], KEY.upper(), f"laptop {KEY}"):
        with pytest.raises(SettingsInvalid, match="f:2"):
            parse_authorized(f"{KEY}\n{line}\n", "f")


def test_known_servers() -> None:
    known = parse_known(f"[::1]:5 {KEY}\nhost {OTHER} # there\n", "f")
    assert known == {
        Server("::1", 5): bytes.fromhex(KEY),
        Server("host", PORT_DEFAULT): bytes.fromhex(OTHER),
    }
    for line in (KEY, f"host {KEY[:-1]}", f"host {KEY} more"):
        with pytest.raises(SettingsInvalid, match="f:1"):
            parse_known(line, "f")


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "stoq.toml"
    file.write_text(
        'listen = "[::1]:1"\nauthorized_peers = "peers"\n[services]\nweb = "tcp:[::1]:80"\n'
    )
    found = settled(tmp_path / "data", file, None, [])
    assert found.listen == Server("::1", 1)
    assert found.authorized == tmp_path / "peers"
    assert found.services == {"web": Place.parse("tcp:[::1]:80")}
    assert found.peers() == frozenset()
    found = settled(tmp_path, file, "[::1]:2", ["web=unix:/x", "dns=udp:[::1]:53"])
    assert found.listen.port == 2
    assert set(map(str, found.services.values())) == {"unix:/x", "udp:[::1]:53"}


@pytest.mark.parametrize(
    "text",
    [
        "listen = ",
        "listen = 5",
        'lsten = "[::1]:1"',
        "services = 5",
        "[services]\nweb = 80",
        '[services]\nweb = "80"',
        '[services]\nWeb = "tcp:[::1]:80"',
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "stoq.toml"
    file.write_text(text)
    with pytest.raises(SettingsInvalid, match=r"stoq\.toml"):
        settled(tmp_path, file, None, [])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="none"):
        settled(tmp_path, tmp_path / "none", None, [])
    with pytest.raises(SettingsInvalid):
        settled(tmp_path, None, None, ["web"])
