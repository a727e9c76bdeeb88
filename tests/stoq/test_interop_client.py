"""aioquic dials an open endpoint of ours."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Iterator

import pytest
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import SessionTicket

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq import errors
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.open import OpenEndpoint
from hypermesh.wire.rpc import ALPN_ENROL, ALPN_NODE, ALPN_SESSION

from .network import DEADLINE_S, Network, eventually
from .plain import ALPN, Authority, Echo, dialled, echoing

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.found()


@pytest.fixture
def server(authority: Authority) -> Iterator[OpenEndpoint]:
    with OpenEndpoint.bind(alpn=ALPN, certificate=authority.certificate) as endpoint:
        yield endpoint


@pytest.fixture
def echo(server: OpenEndpoint) -> Iterator[Echo]:
    with echoing(server) as seen:
        yield seen


def test_handshake_and_transfer(server: OpenEndpoint, echo: Echo, authority: Authority) -> None:
    payload = secrets.token_bytes(4 * MEGABYTE)

    async def run() -> None:
        async with dialled(server.address, authority) as client:
            assert await client.asked(payload) == payload
            assert client.handshake is not None
            assert client.handshake.alpn_protocol == ALPN
            assert not client.handshake.session_resumed

    asyncio.run(run())
    (connection,) = echo.connections
    assert connection.handshake.alpn == ALPN
    assert connection.handshake.group in {"X25519", "secp256r1"}


def test_many_streams_at_once(server: OpenEndpoint, echo: Echo, authority: Authority) -> None:
    payloads = [secrets.token_bytes(1 + 997 * index) for index in range(100)]

    async def run() -> list[bytes]:
        async with dialled(server.address, authority) as client:
            return await asyncio.gather(*map(client.asked, payloads))

    assert asyncio.run(run()) == payloads
    assert len(echo.connections) == 1


def test_retry(authority: Authority) -> None:
    async def run(address: tuple[str, int]) -> None:
        async with dialled(address, authority) as client:
            assert await client.asked(b"x") == b"x"
            assert client._quic._retry_count == 1

    with (
        OpenEndpoint.bind(alpn=ALPN, certificate=authority.certificate, retry=True) as server,
        echoing(server),
    ):
        asyncio.run(run(server.address))


def test_resumption_and_early_data(server: OpenEndpoint, echo: Echo, authority: Authority) -> None:
    tickets: list[SessionTicket] = []

    async def run() -> None:
        async with dialled(server.address, authority, tickets=tickets) as client:
            await client.asked(b"x")
        assert tickets
        assert not echo.early
        ticket = tickets.pop()
        async with dialled(server.address, authority, session_ticket=ticket, wait=False) as client:
            answer = asyncio.ensure_future(client.asked(b"early"))
            await asyncio.sleep(0)
            client.transmit()
            # Nothing is heard of the server until it has taken the stream.
            eventually(lambda: echo.early or None, "an early stream")
            await client.wait_connected()
            assert await answer == b"early"
            assert client.handshake is not None
            assert client.handshake.session_resumed
            assert client.handshake.early_data_accepted

    asyncio.run(run())
    assert echo.early == 1
    assert echo.connections[-1].handshake.resumed
    assert not echo.connections[0].handshake.resumed


def test_early_data_played_again_is_not_taken(
    server: OpenEndpoint, echo: Echo, authority: Authority
) -> None:
    """The first flight of a client, caught and sent again: its ticket is used up."""
    tickets: list[SessionTicket] = []

    async def run() -> None:
        async with dialled(server.address, authority, tickets=tickets) as client:
            await client.asked(b"x")
        ticket = tickets.pop()
        for first in (True, False):
            async with dialled(
                server.address, authority, session_ticket=ticket, wait=False
            ) as client:
                answer = asyncio.ensure_future(client.asked(b"early"))
                await asyncio.sleep(0)
                client.transmit()
                if first:
                    eventually(lambda: echo.early or None, "an early stream")
                await client.wait_connected()
                assert client.handshake is not None
                assert client.handshake.early_data_accepted is first
                assert client.handshake.session_resumed is first
                assert await answer == b"early"

    asyncio.run(run())
    assert echo.early == 1


def test_key_update_by_either_side(server: OpenEndpoint, echo: Echo, authority: Authority) -> None:
    async def run() -> None:
        async with dialled(server.address, authority) as client:
            assert await client.asked(b"before") == b"before"
            (connection,) = echo.connections
            assert connection.handshake.key_updates == 0
            client.request_key_update()
            assert await client.asked(b"theirs") == b"theirs"
            assert connection.handshake.key_updates == 1
            deadline = asyncio.get_running_loop().time() + DEADLINE_S
            while connection.handshake.key_updates == 1:
                # Ours waits until theirs is settled.
                connection.update_keys()
                assert await client.asked(b"ours") == b"ours"
                assert asyncio.get_running_loop().time() < deadline
            assert connection.handshake.key_updates == 2

    asyncio.run(run())


def test_version_negotiation(server: OpenEndpoint, echo: Echo, authority: Authority) -> None:
    async def run() -> None:
        async with dialled(
            server.address,
            authority,
            original_version=QuicProtocolVersion.VERSION_2,
            supported_versions=[QuicProtocolVersion.VERSION_2, QuicProtocolVersion.VERSION_1],
        ) as client:
            assert await client.asked(b"x") == b"x"
            assert client._quic._version_negotiated_incompatible

    asyncio.run(run())
    assert len(echo.connections) == 1


def test_an_unknown_version_is_answered_by_those_known(
    network: Network, server: OpenEndpoint, alice: Endpoint
) -> None:
    """RFC 9000 section 17.2.1, by an endpoint of the mesh too."""
    theirs, ours = secrets.token_bytes(8), secrets.token_bytes(8)
    unknown = b"\xc0\x1a\x2a\x3a\x4a\x08" + theirs + b"\x08" + ours
    for address in (server.address, alice.address):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
            peer.settimeout(DEADLINE_S)
            peer.sendto(unknown.ljust(1200, b"\x00"), address)
            answer = peer.recv(2000)
        assert answer[0] & 0x80
        assert answer[1:5] == bytes(4)
        assert answer[5:23] == b"\x08" + ours + b"\x08" + theirs
        versions = answer[23:]
        assert (1).to_bytes(4) in [versions[at : at + 4] for at in range(0, len(versions), 4)]


@pytest.mark.parametrize("alpn", [ALPN_NODE, ALPN_ENROL, ALPN_SESSION, "hm/2", "hm"])
def test_no_protocol_of_the_mesh_is_open(authority: Authority, alpn: str) -> None:
    with pytest.raises(errors.ProtocolMismatch):
        OpenEndpoint.bind(alpn=alpn, certificate=authority.certificate)
    with pytest.raises(errors.ProtocolMismatch):
        OpenEndpoint.bind(alpn=alpn, roots=[authority.root])


def test_a_plain_client_gets_nowhere_in_the_mesh(alice: Endpoint, authority: Authority) -> None:
    """It offers no hybrid key exchange and no certificate with FALCON."""

    async def run() -> None:
        with pytest.raises(ConnectionError):
            async with dialled(alice.address, authority, idle_timeout=2.0):
                pass

    asyncio.run(run())
    eventually(lambda: alice.stats().handshakes == 0 or None, "no handshake is left")
    assert alice.stats().accepted == 0


def test_a_node_gets_nowhere_in_the_open(
    network: Network, server: OpenEndpoint, bob: Endpoint, bob_keys: QuantumKeys
) -> None:
    with pytest.raises(errors.ProtocolMismatch):
        bob.connect(*server.address)
