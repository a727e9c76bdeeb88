"""The TLS listener: the node's own certificate, renewed in place; a token for all but health."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.node.api import application
from hypermesh.node.api.tls import ServerCertificate
from hypermesh.node.founding import found
from hypermesh.trustchain.ca.authority import CertificateAuthority
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.api.token import TokenCreated

from .nodes import Running, problem, started


@pytest.fixture(scope="module")
def token(alice: Running) -> TokenCreated:
    with alice.over_socket() as client:
        body = {"name": "remote", "scopes": ["read", "manage"]}
        answer = client.post("/v1/network/tokens", json=body)
    return msgspec.json.decode(answer.content, type=TokenCreated)


@pytest.fixture(scope="module")
def root(token: TokenCreated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ca") / "root.pem"
    file.write_text(token.remote.root_certificate)
    return file


def port(token: TokenCreated) -> int:
    found = urlsplit(token.remote.url).port
    assert found
    return int(found)


@pytest.fixture
def remote(token: TokenCreated) -> Iterator[httpx.Client]:
    """Over TLS on IPv6, the certificate checked, without a token."""
    context = ssl.create_default_context(cadata=token.remote.root_certificate)
    with httpx.Client(verify=context, base_url=f"https://[::1]:{port(token)}") as client:
        client.headers["host"] = f"{token.remote.server_name}:{port(token)}"
        yield client


def named(token: TokenCreated) -> dict[str, str]:
    return {"sni_hostname": token.remote.server_name}


def test_python_believes_it_below_the_root_and_nowhere_else(token: TokenCreated) -> None:
    def version(context: ssl.SSLContext, name: str) -> str | None:
        with (
            socket.create_connection(("::1", port(token)), 10) as made,
            context.wrap_socket(made, server_hostname=name) as connection,
        ):
            return connection.version()

    believing = ssl.create_default_context(cadata=token.remote.root_certificate)
    assert version(believing, token.remote.server_name) == "TLSv1.3"
    for context, name in (
        (ssl.create_default_context(), token.remote.server_name),
        (believing, "other.hm.internal"),
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            version(context, name)
    believing.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        version(believing, token.remote.server_name)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl_believes_it(token: TokenCreated, root: Path) -> None:
    name = f"{token.remote.server_name}:{port(token)}"
    words = ["curl", "-sS", "--cacert", str(root), "--connect-to", f"{name}:[::1]:{port(token)}"]
    words += ["-H", f"authorization: Bearer {token.token}", f"https://{name}/v1/network"]
    done = subprocess.run(words, capture_output=True, timeout=30, check=True)
    assert msgspec.json.decode(done.stdout)["tls"] == token.remote.url


def test_the_status_says_where(alice: Running, token: TokenCreated) -> None:
    assert alice.mesh.network.status().tls == token.remote.url == f"https://[::]:{port(token)}"


def test_it_listens_on_ipv6_alone(token: TokenCreated) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port(token))) != 0


def test_health_needs_no_token_and_everything_else_does(
    remote: httpx.Client, token: TokenCreated
) -> None:
    more = {"extensions": named(token)}
    assert remote.get("/livez", **more).text == "ok"  # type: ignore[arg-type]
    assert remote.get("/readyz", **more).status_code == 200  # type: ignore[arg-type]
    for method, path in (("GET", "/v1/network"), ("GET", "/metrics"), ("POST", "/v1/jobs")):
        answer = remote.request(method, path, **more)  # type: ignore[arg-type]
        assert problem(answer, 401)["code"] == "HM-API-0001"
    remote.headers["authorization"] = f"Bearer {token.token}"
    assert remote.get("/v1/network", **more).status_code == 200  # type: ignore[arg-type]
    made = remote.post("/v1/network/invitations", json={}, **more)  # type: ignore[arg-type]
    assert made.status_code == 201


def test_no_token_makes_a_node_of_the_owner_that_outlives_it(
    remote: httpx.Client, token: TokenCreated
) -> None:
    """Whoever joins as one of the owner's own machines acts as the owner for good."""
    remote.headers["authorization"] = f"Bearer {token.token}"
    more = {"extensions": named(token)}
    made = remote.post("/v1/network/invitations", json={"mine": True}, **more)  # type: ignore[arg-type]
    assert problem(made, 403)["code"] == "HM-API-0008"


def test_the_session_token_is_not_for_here(
    remote: httpx.Client, alice: Running, token: TokenCreated
) -> None:
    session = (alice.data / "api-token").read_text()
    remote.headers["authorization"] = f"Bearer {session}"
    problem(remote.get("/v1/network", extensions=named(token)), 401)


def test_pages_of_others_are_refused(remote: httpx.Client, token: TokenCreated) -> None:
    own = {"origin": "https://" + remote.headers["host"]}
    assert remote.get("/livez", headers=own, extensions=named(token)).status_code == 200
    for origin in ("https://evil.example", "null", "http://" + remote.headers["host"]):
        answer = remote.get("/livez", headers={"origin": origin}, extensions=named(token))
        problem(answer, 403)


def test_a_stranger_asks_no_more_often_than_the_rate(
    remote: httpx.Client, token: TokenCreated
) -> None:
    statuses = [remote.get("/livez", extensions=named(token)).status_code for _ in range(80)]
    assert set(statuses) == {200, 429}
    remote.headers["authorization"] = f"Bearer {token.token}"
    assert remote.get("/livez", extensions=named(token)).status_code == 200


def test_the_next_certificate_needs_no_restart(tmp_path: Path) -> None:
    """Handshakes against the context that the listener has; only the membership changes."""
    now_s = 1_800_000_000
    membership = found(tmp_path, "test", now_s * 1000)
    context = ServerCertificate(membership).context

    def shown() -> bytes:
        client = ssl.create_default_context(
            cadata=ssl.DER_cert_to_PEM_cert(membership.genesis.root_certificate)
        )
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        toward, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        here = client.wrap_bio(back, toward)
        there = context.wrap_bio(toward, back, server_side=True)
        for _ in range(4):
            for end in (here, there):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        certificate = here.getpeercert(binary_form=True)
        assert certificate
        return certificate

    first = shown()
    assert first == membership.chain[0]
    with_authority = CertificateAuthority.open(tmp_path, membership.store)
    try:
        later_s = now_s + 20 * 60 * 60
        issued = with_authority.renew(membership.keys.public, membership.genesis_id, later_s)
        membership.renewed(with_authority.chain(issued), later_s)
    finally:
        with_authority.close()
    assert fingerprint(shown()) == membership.certificate_sha256 != fingerprint(first)


def test_a_taken_port_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    first = application.remote_socket(21300)
    assert first is not None
    taken = first.getsockname()[1]
    with first:
        second = application.remote_socket(taken)
        assert second is not None
        with second:
            assert second.getsockname()[1] > taken
        monkeypatch.setattr(application, "API_PORTS_TRIED", 1)
        assert application.remote_socket(taken) is None


def test_it_is_off_where_asked(tmp_path: Path) -> None:
    with started(tmp_path / "quiet", "private", tls_port=0) as node:
        assert node.mesh.network.status().tls is None
        with node.over_socket() as client:
            made = client.post("/v1/network/tokens", json={"name": "x", "scopes": ["read"]})
        assert made.json()["remote"]["url"] is None


def test_other_keys_than_the_certificates_are_refused(tmp_path: Path) -> None:
    membership = found(tmp_path, "test", 1_800_000_000_000)
    membership.keys = QuantumKeys.generate()
    with pytest.raises(ssl.SSLError):
        ServerCertificate(membership)
