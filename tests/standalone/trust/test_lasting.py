"""What lasts: kills, a rotation of the issuer, backups."""

from __future__ import annotations

import base64
import datetime as dt
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.postgresql.fixtures import STORES

from .conftest import (
    WAIT_S,
    Server,
    checkpoint_of,
    eventually,
    founded,
    requested,
    running,
    store_of,
    trustchain,
)

THREADS = 4
BEFORE_KILL = 12


@pytest.fixture
def in_files(tmp_path: Path) -> Iterator[Server]:
    made = founded(tmp_path / "data")
    yield made
    made.kill()


@pytest.fixture(params=STORES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    made = founded(tmp_path / "data", store=store_of(request))
    yield made
    made.kill()


def test_a_kill_loses_nothing_that_was_acknowledged(server: Server) -> None:
    acknowledged: list[dict[str, object]] = []
    for _ in range(2):
        server.start()
        enough = threading.Event()
        already = len(acknowledged)

        def ask(enough: threading.Event = enough, already: int = already) -> None:
            with server.client() as client:
                while True:
                    asked = requested("k.example.internal").der
                    try:
                        answer = client.post("/v1/certificates", content=asked)
                        told = answer.json()
                    except (httpx.HTTPError, ValueError):
                        return
                    if answer.status_code != 201:
                        return
                    acknowledged.append(told)
                    if len(acknowledged) >= already + BEFORE_KILL:
                        enough.set()

        threads = [threading.Thread(target=ask) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        assert enough.wait(WAIT_S)
        server.kill()
        for thread in threads:
            thread.join(WAIT_S)
    server.start()
    with server.client() as client:
        for told in acknowledged:
            assert client.get(f"/v1/certificates/{told['serial']}").json() == told
            entry = client.get(
                "/ct/v1/get-entries",
                params={"start": told["log_index"], "end": told["log_index"]},
            ).json()["entries"][0]
            assert entry["leaf_input"]
        indices = [told["log_index"] for told in acknowledged]
        assert len(set(indices)) == len(indices), "no two certificates have one place in the log"
        assert client.get("/v1/audit/check").json()["whole"]
    server.kill()


def test_a_compromised_issuer_is_replaced_while_connections_go_on(server: Server) -> None:
    server.start()
    try:
        with server.client() as client:
            old = client.post(
                "/v1/certificates", content=requested("o.example.internal").der
            ).json()
            shown = _leaf(server)
            done = trustchain("root", "replace-issuer", data=server.data)
            assert done.returncode == 0, done.stderr
            assert server.process is not None
            server.process.send_signal(1)
            eventually(
                lambda: _leaf(server) != shown,
                "new connections see a certificate of the new issuer",
            )
            # The connection from before goes on, and the new issuer answers on it.
            new = client.post(
                "/v1/certificates", content=requested("n.example.internal").der
            ).json()
            before = _issuer(old)
            after = _issuer(new)
            assert before.subject != after.subject
            point = before.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
            path = point[0].full_name[0].value.removeprefix("http://ca.example.internal")  # type: ignore[index]
            listed = x509.load_der_x509_crl(client.get(path).content)
            assert listed.next_update_utc is not None
            assert listed.next_update_utc - listed.last_update_utc == dt.timedelta(days=180)
            assert listed.get_revoked_certificate_by_serial_number(before.serial_number)
            assert not listed.get_revoked_certificate_by_serial_number(after.serial_number)
            kinds = client.get("/v1/report").json()["acts_by_kind"]
            assert (kinds["ca.install"], kinds["ca.retire"]) == (2, 1)
    finally:
        server.kill()
    server.start()
    with server.client() as client:
        again = client.post("/v1/certificates", content=requested("m.example.internal").der).json()
        assert _issuer(again).subject == after.subject
    server.kill()


def _leaf(server: Server) -> bytes:
    """What a new connection is shown."""
    with (
        socket.create_connection(("::1", server.port("https")), WAIT_S) as raw,
        server.context().wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def _issuer(told: dict[str, object]) -> x509.Certificate:
    chain = told["chain"]
    assert isinstance(chain, list)
    return x509.load_pem_x509_certificate(chain[1].encode())


def test_the_drill_a_backup_comes_back_and_goes_on(
    server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server.start()
    into: list[str] = []
    if server.store != "sqlite":
        into = ["--store", request.getfixturevalue("postgresql").place().url]
    with server.client() as client:
        told = client.post("/v1/certificates", content=requested("d.example.internal").der).json()
        saved = tmp_path / "saved"
        # While it runs.
        made = trustchain("backup", str(saved), data=server.data)
        assert made.returncode == 0, made.stderr
        newest = tmp_path / "newest"
        newest.write_text(client.get("/checkpoint").text)
        later = client.post("/v1/certificates", content=requested("e.example.internal").der).json()
        beyond = tmp_path / "beyond"
        beyond.write_text(checkpoint_of(client, later["log_index"] + 1))
    server.kill()
    assert trustchain("verify", str(saved), data=server.data).returncode == 0
    elsewhere = subprocess.run(
        [sys.executable, "-m", "hypermesh.standalone.trust", "verify", str(saved)],
        env={name: text for name, text in os.environ.items() if name != "STATE_DIRECTORY"},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert elsewhere.returncode == 0, elsewhere.stderr

    fresh = tmp_path / "fresh"
    forking = trustchain("restore", str(saved), "--checkpoint", str(beyond), *into, data=fresh)
    assert "HM-TRUST-0212" in forking.stderr, "it would sign other entries under shown indices"
    assert not (fresh / "founded").exists()
    unsaid = trustchain("restore", str(saved), *into, data=tmp_path / "unsaid")
    assert "HM-TRUST-0212" in unsaid.stderr
    if into:
        taken = trustchain("restore", str(saved), data=tmp_path / "taken")
        assert "HM-TRUST-0364" in taken.stderr, "the database holds all that there is"

    whole = tmp_path / "whole"
    done = trustchain("restore", str(saved), "--checkpoint", str(newest), *into, data=whole)
    assert done.returncode == 0, done.stderr
    back = Server(whole, server.token, server.log)
    (whole / "root").mkdir()
    (whole / "root" / "root.pem").write_bytes(server.root_file.read_bytes())
    back.start()
    try:
        with back.client() as client:
            assert client.get(f"/v1/certificates/{told['serial']}").json() == told
            assert client.get(f"/v1/certificates/{later['serial']}").status_code == 404
            assert client.get("/v1/audit/check").json()["whole"]
            more = client.post("/v1/certificates", content=requested("f.example.internal").der)
            assert more.status_code == 201
    finally:
        back.kill()

    copied = "database/trustchain_ca.certificates" if into else "ca/*.sqlite"
    damaged = next((saved / "files").glob(copied))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x01")
    assert "HM-TRUST-0209" in trustchain("verify", str(saved), data=server.data).stderr


def test_a_hybrid_authority_that_forwards_names_to_another(
    in_files: Server, tmp_path: Path
) -> None:
    server = in_files
    server.start()
    upstream = f"[::1]:{server.port('dns')}"
    with (
        running(tmp_path / "hybrid", profile="hybrid", upstream=upstream) as other,
        server.client() as above,
        other.client() as client,
    ):
        zone = "/v1/dns/zones/example.internal"
        above.put(zone, json={"address": "::1"})
        above.put(f"{zone}/far.example.internal/AAAA", json={"data": ["2001:db8::5"]})
        asked = dns.message.make_query("far.example.internal", "AAAA")
        answer = dns.query.udp(asked, "::1", timeout=WAIT_S, port=other.port("dns"))
        assert [str(each) for each in answer.answer[0]] == ["2001:db8::5"]
        told = client.post("/v1/certificates", content=requested("h.example.internal").der).json()
        leaf = x509.load_pem_x509_certificate(told["chain"][0].encode())
        entry = client.get(
            "/ct/v1/get-entries", params={"start": told["log_index"], "end": told["log_index"]}
        ).json()["entries"][0]
        assert leaf.public_bytes(Encoding.DER) in base64.b64decode(entry["leaf_input"]), (
            "a hybrid certificate is logged in its final form"
        )
    server.kill()


def test_two_processes_do_not_share_a_directory(in_files: Server) -> None:
    server = in_files
    server.start()
    try:
        again = trustchain("run", data=server.data)
        assert (again.returncode, "HM-TRUST-0210" in again.stderr) == (6, True)
        repeated = trustchain("init", data=server.data)
        assert "HM-TRUST-0202" in repeated.stderr
    finally:
        server.kill()
    missing = trustchain("run", data=server.data.with_name("nothing"))
    assert (missing.returncode, "HM-TRUST-0201" in missing.stderr) == (3, True)
