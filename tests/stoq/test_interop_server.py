"""An open endpoint of ours dials aioquic."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from aioquic.quic.packet import QuicProtocolVersion

from hypermesh.stoq import errors
from hypermesh.stoq.open import OpenEndpoint

from .network import DEADLINE_S, eventually
from .plain import ALPN, NAME, Authority, Served, aioquic_server, asked
from .wire import wire

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.found()


@pytest.fixture
def client(authority: Authority) -> Iterator[OpenEndpoint]:
    with OpenEndpoint.bind(alpn=ALPN, roots=[authority.root]) as endpoint:
        yield endpoint


@pytest.fixture
def served(authority: Authority) -> Iterator[Served]:
    with aioquic_server(authority) as served:
        yield served


def test_handshake_and_transfer(client: OpenEndpoint, served: Served) -> None:
    payload = secrets.token_bytes(4 * MEGABYTE)
    with client.connect(*served.address, NAME) as connection:
        assert asked(connection, payload) == payload
        assert connection.handshake.alpn == ALPN
        assert connection.handshake.group in {"X25519", "secp256r1"}
        assert not connection.handshake.resumed


def test_many_streams_at_once(client: OpenEndpoint, served: Served) -> None:
    payloads = [secrets.token_bytes(1 + 997 * index) for index in range(100)]
    with client.connect(*served.address, NAME) as connection, ThreadPoolExecutor(20) as pool:
        assert list(pool.map(lambda payload: asked(connection, payload), payloads)) == payloads


def test_retry(client: OpenEndpoint, authority: Authority) -> None:
    with (
        aioquic_server(authority, retry=True) as served,
        client.connect(*served.address, NAME) as connection,
    ):
        assert asked(connection, b"x") == b"x"
        (protocol,) = served.protocols
        assert protocol._quic._retry_source_connection_id is not None


def test_resumption_and_early_data(client: OpenEndpoint, served: Served) -> None:
    with client.connect(*served.address, NAME) as connection:
        assert asked(connection, b"x") == b"x"
        assert not connection.early_accepted()
    with client.connect(*served.address, NAME, early=True) as connection:
        assert asked(connection, b"early") == b"early"
        assert connection.early_accepted()
        assert connection.handshake.resumed
    eventually(lambda: len(served.handshakes) == 2 or None, "both handshakes")
    first, second = served.handshakes
    assert not first.session_resumed
    assert second.session_resumed
    assert second.early_data_accepted


def test_early_data_that_is_refused_says_so(client: OpenEndpoint, authority: Authority) -> None:
    """A server that has forgotten its tickets takes the connection and not the early bytes."""
    with aioquic_server(authority) as served, wire(served.address) as path:
        with client.connect(*path.address, NAME) as connection:
            assert asked(connection, b"x") == b"x"
        served.tickets.clear()
        path.answers.clear()
        with client.connect(*path.address, NAME, early=True) as connection:
            stream = connection.open_stream()
            stream.write(b"early")
            path.answers.set()
            assert not connection.early_accepted()
            with pytest.raises(errors.StreamReset):
                stream.read()
            assert not connection.handshake.resumed
            assert asked(connection, b"again") == b"again"


@pytest.mark.parametrize("theirs", [True, False], ids=["theirs", "ours"])
def test_key_update(client: OpenEndpoint, served: Served, *, theirs: bool) -> None:
    with client.connect(*served.address, NAME) as connection:
        assert asked(connection, b"before") == b"before"
        (protocol,) = served.protocols
        assert served.loop is not None
        update: Callable[[], object] = connection.update_keys
        if theirs:
            served.loop.call_soon_threadsafe(protocol.request_key_update)
            update = lambda: None  # noqa: E731

        def updated() -> bool | None:
            update()
            assert asked(connection, b"after") == b"after"
            return connection.handshake.key_updates == 1 or None

        eventually(updated, "a key update")


def test_a_server_of_another_version_is_refused_by_name(
    client: OpenEndpoint, authority: Authority
) -> None:
    """It answers with the versions it knows (RFC 9000 section 6.2), and ours is not among them."""
    versions = [QuicProtocolVersion.VERSION_2]
    with (
        aioquic_server(authority, supported_versions=versions) as served,
        pytest.raises(errors.ProtocolMismatch, match="version"),
    ):
        client.connect(*served.address, NAME)


def test_a_server_that_knows_more_versions_is_spoken_to(
    client: OpenEndpoint, authority: Authority
) -> None:
    versions = [QuicProtocolVersion.VERSION_2, QuicProtocolVersion.VERSION_1]
    with (
        aioquic_server(authority, supported_versions=versions) as served,
        client.connect(*served.address, NAME) as connection,
    ):
        assert asked(connection, b"x") == b"x"


def test_a_server_nobody_vouches_for_is_refused(authority: Authority, served: Served) -> None:
    for roots in ([Authority.found().root], []):
        with (
            OpenEndpoint.bind(alpn=ALPN, roots=roots) as stranger,
            pytest.raises(errors.HandshakeFailed),
        ):
            stranger.connect(*served.address, NAME)


def test_a_server_of_another_name_is_refused(client: OpenEndpoint, served: Served) -> None:
    with pytest.raises(errors.HandshakeFailed):
        client.connect(*served.address, "other.example", timeout_ms=DEADLINE_S * 1000)
