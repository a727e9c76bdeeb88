"""The relay as tests and benchmarks use it, and STOQ over it."""

from __future__ import annotations

import socket

import pytest
from benches.impairment import Relay


def _socket() -> socket.socket:
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.bind(("::1", 0))
    udp.settimeout(10)
    return udp


def test_a_relay_carries_changes_and_reports() -> None:
    with _socket() as server, _socket() as client:
        with Relay(*server.getsockname()[:2]) as relay:
            client.connect(relay.address)
            client.send(b"hello")
            data, before = server.recvfrom(100)
            assert data == b"hello"
            relay.set("mtu 1000", "down loss 1")
            client.send(bytes(1001))
            client.send(bytes(1000))
            assert len(server.recv(2000)) == 1000
            relay.rebind()
            client.send(b"from elsewhere")
            assert server.recvfrom(100)[1] != before
        assert relay.report["up"]["too_large"] == 1
        assert relay.report["rebinds"] == 1


def test_what_is_no_setting_is_an_error() -> None:
    with Relay("::1", 9) as relay, pytest.raises(ValueError, match="not a setting"):
        relay.set("loss most")
    with pytest.raises(RuntimeError, match="ended with 2"), Relay("::1", 9, "colour blue"):
        pass
