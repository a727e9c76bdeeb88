"""DNS over TLS and over QUIC at a node, by kdig, dnspython and Python's TLS."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dns.message
import dns.query
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from dns.quic import SyncQuicManager
from tests.node.network import Network, Node, eventually

from hypermesh.trustchain.federation import node_name
from hypermesh.wire.api.dns import DnsView

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    network = Network(tmp_path_factory.mktemp("d"))
    try:
        network.add("alice").start()
        yield network.alice
    finally:
        network.end()


@pytest.fixture(scope="module")
def root(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the network in PEM, which is all that a client gets."""
    file = tmp_path_factory.mktemp("r") / "root.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(node.membership.genesis.root_certificate))
    return file


def view(node: Node) -> DnsView:
    return node.ask(lambda m: m.dns.status())


def port(node: Node, transport: str) -> int:
    return next(each.port for each in view(node).addresses if each.transport == transport)


def name(node: Node) -> str:
    return node_name(node.id, node.membership.genesis_id)


def query(node: Node) -> dns.message.Message:
    return dns.message.make_query(name(node), "AAAA")


def context(root: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(root))
    made.set_alpn_protocols(["dot"])
    return made


def addresses(answer: dns.message.Message) -> list[str]:
    return [str(each) for found in answer.answer for each in found]


def over_quic(node: Node, root: Path) -> tuple[dns.message.Message, bytes]:
    """The answer to dnspython's client, and the certificate (DER) that it has believed.

    It is not told the server's name: service_identity, by which aioquic compares names, does not
    read certificates with names such as `hm:node:...`. kdig compares it in a test of its own.
    """
    with SyncQuicManager(verify_mode=str(root)) as manager:
        connection = manager.connect("::1", port(node, "quic"))
        answer = dns.query.quic(query(node), "::1", PATIENCE_S, connection=connection)
        certificate = connection._connection.tls._peer_certificate
    # It leaves them open, which Python would tell at some later time.
    connection._send_wakeup.close()
    connection._receive_wakeup.close()
    return answer, certificate.public_bytes(Encoding.DER)


def connected(node: Node, root: Path) -> ssl.SSLSocket:
    plain = socket.create_connection(("::1", port(node, "tls")), PATIENCE_S)
    return context(root).wrap_socket(plain, server_hostname=name(node))


def ask(stream: ssl.SSLSocket, node: Node) -> list[str]:
    dns.query.send_tcp(stream, query(node))
    answer, _ = dns.query.receive_tcp(stream)
    return addresses(answer)


def over_udp(node: Node) -> list[str]:
    answer = dns.query.udp(query(node), "::1", PATIENCE_S, port(node, "udp"))
    return addresses(answer)


def known(node: Node) -> list[str]:
    """Its own address in the mesh, once the ledger has it."""
    return eventually(lambda: over_udp(node), "the node serves its own name")


def test_over_tls_and_quic_the_same_is_answered(node: Node, root: Path) -> None:
    wanted = known(node)
    tls = dns.query.tls(
        query(node),
        "::1",
        PATIENCE_S,
        port(node, "tls"),
        ssl_context=context(root),
        server_hostname=name(node),
    )
    assert addresses(tls) == wanted
    quic, certificate = over_quic(node, root)
    assert addresses(quic) == wanted
    assert certificate == node.membership.chain[0]
    counters = view(node).counters
    assert counters["tls"] >= 1
    assert counters["quic"] >= 1


def test_whoever_asks_for_another_node_is_not_answered(node: Node, root: Path) -> None:
    other = f"{'0' * 16}.{name(node).partition('.')[2]}"
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        socket.create_connection(("::1", port(node, "tls")), PATIENCE_S) as plain,
    ):
        context(root).wrap_socket(plain, server_hostname=other)


@pytest.mark.skipif(shutil.which("kdig") is None, reason="kdig is not installed")
def test_kdig_over_tls(node: Node, root: Path) -> None:
    [wanted] = known(node)

    def kdig(hostname: str) -> str:
        words = ["kdig", "@::1", "-p", str(port(node, "tls")), f"+tls-ca={root}"]
        words += [f"+tls-hostname={hostname}", name(node), "AAAA"]
        done = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False)
        return (done.stdout + done.stderr).decode()

    shown = kdig(name(node))
    assert wanted in shown
    assert "TLS session (TLS1.3)" in shown
    assert wanted not in kdig("elsewhere.example")


def has_quic() -> bool:
    if shutil.which("kdig") is None:
        return False
    shown = subprocess.run(["kdig", "--help"], capture_output=True, text=True, check=False)
    return "+[no]quic" in shown.stdout


@pytest.mark.skipif(not has_quic(), reason="no kdig with QUIC is installed")
def test_kdig_over_quic(node: Node, root: Path) -> None:
    [wanted] = known(node)
    other = f"{'0' * 16}.{name(node).partition('.')[2]}"

    def kdig(hostname: str) -> str:
        words = ["kdig", "@::1", "-p", str(port(node, "quic")), f"+tls-ca={root}"]
        words += [f"+tls-hostname={hostname}", "+quic", "+retry=0", name(node), "AAAA"]
        done = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False)
        return done.stdout.decode()

    shown = kdig(name(node))
    assert wanted in shown
    assert "QUIC session" in shown
    assert wanted not in kdig(other)


def test_a_renewed_certificate_is_shown_without_a_restart(node: Node, root: Path) -> None:
    wanted = known(node)
    with connected(node, root) as before:
        first = before.getpeercert(binary_form=True)
        assert first == node.membership.chain[0]
        with ThreadPoolExecutor(1) as pool:
            replacing = pool.submit(
                node.ask, lambda m: m.certificates.replace_issuer("a test", 3_600_000)
            )
            # The server ends what is silent for ten seconds.
            while not replacing.done():
                assert ask(before, node) == wanted
                time.sleep(0.05)
            replacing.result()
        renewed = node.membership.chain[0]
        assert renewed != first

        def shown() -> bool:
            # What was connected before goes on.
            assert ask(before, node) == wanted
            with connected(node, root) as now:
                return now.getpeercert(binary_form=True) == renewed and ask(now, node) == wanted

        eventually(shown, "the renewed certificate is shown")
    quic, certificate = over_quic(node, root)
    assert addresses(quic) == wanted
    assert certificate == renewed


def test_a_taken_port_is_passed_over(node: Node, root: Path) -> None:
    """And one that cannot be had leaves UDP and TCP as they are."""
    wanted = known(node)
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as held:
        held.bind(("::1", 0))
        held.listen()
        taken = held.getsockname()[1]
        assert node.stop() == 0
        node.dns_tls, node.dns_quic = f"[::1]:{taken}", "off"
        node.begin()
        node.ready()
        found = view(node)
        assert found.failure is None
        assert port(node, "tls") > taken
        assert "quic" not in {each.transport for each in found.addresses}
        with connected(node, root) as stream:
            assert eventually(lambda: ask(stream, node), "it answers over TLS") == wanted
    # 192.0.2.1 is no address of this machine (RFC 5737).
    assert node.stop() == 0
    node.dns_tls = "192.0.2.1:8853"
    node.begin()
    node.ready()
    found = view(node)
    assert "192.0.2.1:8853" in (found.failure or "")
    assert {each.transport for each in found.addresses} == {"udp", "tcp"}
    assert known(node) == wanted
