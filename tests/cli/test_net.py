"""`hm net`: what the connections of a node wait for."""

from __future__ import annotations

from hypermesh.wire.errors import NotFound

from .shell import Machine


def test_each_connection_says_what_it_waits_for(home: Machine, lender: Machine) -> None:
    shown = home.succeeds("net", "why").stdout.decode()
    assert "lender" in shown
    assert "X25519MLKEM768" in shown
    for link in home.json("net", "why")["items"]:
        path = link["path"]
        assert path["waits_for"] in path["shares_bp"]
        assert path["tier"]
        assert path["reason"]


def test_one_node_is_asked_for_by_name(home: Machine, lender: Machine) -> None:
    found = home.json("net", "why", "lender")["items"]
    assert {link["name"] for link in found} == {"lender"}
    assert "No node is called" in home.fails("net", "why", "none", exit_code=NotFound.exit_code)


def test_each_connection_says_how_it_is_set(home: Machine, lender: Machine) -> None:
    shown = home.succeeds("net", "path").stdout.decode()
    assert "loopback" in shown
    assert "DATAGRAMS A CALL" in shown
    for link in home.json("net", "path", "lender")["items"]:
        settings = link["path"]["settings"]
        assert settings["window_bytes"] > 0
        assert settings["receive_window_bytes"] >= settings["stream_window_bytes"] > 0
        assert settings["ack_packets"] >= 1
        assert settings["batch_datagrams"] >= 1
