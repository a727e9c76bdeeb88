"""`trustchain-server` with others' clients: openssl, dig, curl's kind of HTTP."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from hypermesh.trustchain.ct.tree import included, leaf_hash

from .conftest import WAIT_S, Server, checkpoint_of, requested, said, trustchain

PEM = {"accept": "application/pem-certificate-chain"}


def openssl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *words],
        input="",
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def issued(server: Server, directory: Path, *names: str, kind: str = "service") -> Path:
    """A certificate with its chain in one file; its key lies beside it."""
    asked = requested(*names)
    with server.client() as client:
        answer = client.post(
            "/v1/certificates", params={"kind": kind}, content=asked.pem, headers=PEM
        )
    assert answer.status_code == 201, answer.text
    file = directory / f"{names[0]}.pem"
    file.write_bytes(answer.content)
    file.with_suffix(".key").write_bytes(asked.key_pem)
    return file


def split(file: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(file.read_bytes())


def test_a_certificate_is_issued_logged_and_verified(server: Server, tmp_path: Path) -> None:
    asked = requested("a.example.internal")
    with server.client() as client:
        told = client.post("/v1/certificates", content=asked.der).json()
        again = client.post("/v1/certificates", content=asked.pem).json()
        listed = client.get("/v1/certificates", params={"name": "a.example.internal"}).json()
        found = client.get(f"/v1/certificates/{told['serial']}").json()
    assert again["serial"] == told["serial"], "the same request has the same answer"
    assert listed["items"][0] == found == told
    chain = tmp_path / "chain.pem"
    chain.write_text("".join(told["chain"]))
    done = openssl("verify", "-CAfile", str(server.root_file), "-untrusted", str(chain), str(chain))
    assert done.returncode == 0, done.stderr
    leaf = split(chain)[0]
    scts = leaf.extensions.get_extension_for_class(
        x509.PrecertificateSignedCertificateTimestamps
    ).value
    assert len(list(scts)) == 1

    # Over plain HTTP, as anybody reads a log: the entry is under the root that is signed.
    with server.client(None, verify=False) as client:
        client.base_url = server.http  # type: ignore[assignment]
        index = told["log_index"]
        lines = checkpoint_of(client, index + 1).splitlines()
        head = client.get("/ct/v1/get-sth").json()
        entry = client.get(
            "/ct/v1/get-entry-and-proof",
            params={"leaf_index": index, "tree_size": head["tree_size"]},
        ).json()
        tile = client.get(f"/tile/0/000.p/{head['tree_size']}").content
        roots = client.get("/ct/v1/get-roots").json()["certificates"]
    path = [base64.b64decode(each) for each in entry["audit_path"]]
    leaf_input = base64.b64decode(entry["leaf_input"])
    root = base64.b64decode(head["sha256_root_hash"])
    assert included(root, index, head["tree_size"], leaf_hash(leaf_input), path)
    assert leaf.tbs_precertificate_bytes in leaf_input
    assert lines[:3] == ["localhost/certificates", str(head["tree_size"]), head["sha256_root_hash"]]
    assert tile[32 * index : 32 * index + 32] == leaf_hash(leaf_input)
    assert base64.b64decode(roots[0]) == server.root.public_bytes(Encoding.DER)


def test_the_same_request_after_a_revocation_has_another_certificate(server: Server) -> None:
    asked = requested("again.example.internal").der
    with server.client() as client:
        first = client.post("/v1/certificates", content=asked).json()
        named = client.post("/v1/certificates", params={"reference": "x"}, content=asked).json()
        for each in (first, named):
            client.post(f"/v1/certificates/{each['serial']}/revoke", json={"reason": 4})
        second = client.post("/v1/certificates", content=asked).json()
        again = client.post("/v1/certificates", content=asked, headers=PEM)
        kept = client.post("/v1/certificates", params={"reference": "x"}, content=asked).json()
    assert second["serial"] != first["serial"]
    assert second["revoked_s"] is None
    assert again.headers["x-serial"] == second["serial"]
    assert kept["serial"] == named["serial"], "what has a reference is one certificate"


def test_pages_follow_the_log(server: Server) -> None:
    with server.client() as client:
        wanted = [
            client.post("/v1/certificates", content=requested("p.example.internal").der).json()
            for _ in range(3)
        ]
        first = wanted[0]["log_index"] - 1
        page = client.get("/v1/certificates", params={"after": first, "limit": 2}).json()
        rest = client.get(
            "/v1/certificates", params={"after": page["next_cursor"], "limit": 2}
        ).json()
        since = client.get("/v1/certificates", params={"from": wanted[0]["issued_s"] + 3600}).json()
        whole = client.get("/v1/certificates", params={"from": 0, "limit": 1000}).json()
    assert page["items"] + rest["items"] == wanted
    assert rest["next_cursor"] is None
    assert since == {"items": [], "next_cursor": None}
    assert [each["log_index"] for each in whole["items"]] == list(range(len(whole["items"])))


def test_ocsp_and_lists_say_that_one_is_revoked(server: Server, tmp_path: Path) -> None:
    chain = issued(server, tmp_path, "r.example.internal")
    leaf, issuer = split(chain)
    (tmp_path / "issuer.pem").write_bytes(issuer.public_bytes(Encoding.PEM))
    asking = (
        *("ocsp", "-issuer", str(tmp_path / "issuer.pem"), "-cert", str(chain)),
        *("-url", f"{server.http}/ocsp", "-CAfile", str(server.root_file)),
        *("-verify_other", str(tmp_path / "issuer.pem"), "-trust_other"),
    )
    good = openssl(*asking)
    assert f"{chain}: good" in good.stdout, good.stderr
    assert "Response verify OK" in good.stderr

    serial = f"{leaf.serial_number:x}"
    with server.client() as client:
        told = client.post(f"/v1/certificates/{serial}/revoke", json={"reason": 1}).json()
        assert told["state"] == "revoked"
        # By GET as well (RFC 6960 appendix A.1), from the very next request on.
        builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256())
        encoded = base64.b64encode(builder.build().public_bytes(Encoding.DER)).decode()
        answer = client.get(f"/ocsp/{urllib.parse.quote(encoded, safe='')}")
        assert answer.headers["content-type"] == "application/ocsp-response"
        response = ocsp.load_der_ocsp_response(answer.content)
        assert response.certificate_status is ocsp.OCSPCertStatus.REVOKED
        point = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        url = urllib.parse.urlsplit(point[0].full_name[0].value)  # type: ignore[index]
        listed = x509.load_der_x509_crl(client.get(url.path).content)
        root_list = client.get(
            urllib.parse.urlsplit(
                issuer.extensions.get_extension_for_class(x509.CRLDistributionPoints)
                .value[0]
                .full_name[0]  # type: ignore[index]
                .value
            ).path
        )
    assert listed.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None
    assert x509.load_der_x509_crl(root_list.content).is_signature_valid(server.root.public_key())  # type: ignore[arg-type]
    assert f"{chain}: revoked" in openssl(*asking).stdout
    (tmp_path / "list.pem").write_bytes(
        listed.public_bytes(Encoding.PEM)
        + x509.load_der_x509_crl(root_list.content).public_bytes(Encoding.PEM)
    )
    refused = openssl(
        *("verify", "-crl_check", "-extended_crl", "-CAfile", str(server.root_file)),
        *("-CRLfile", str(tmp_path / "list.pem"), "-untrusted", str(chain), str(chain)),
    )
    assert "certificate revoked" in refused.stderr + refused.stdout


@pytest.mark.parametrize(
    "has",
    [lambda text: "//" in text, lambda text: text.endswith("/")],
    ids=["two slashes", "a slash at the end"],
)
def test_ocsp_by_get_takes_every_base64(server: Server, has: Callable[[str], bool]) -> None:
    """Slashes of the base64 that a path would lose: two in a row, one at the end."""
    for serial in range(1 << 144, (1 << 144) + 64):
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            b"\xff" * 32, b"\x55" * 32, serial, hashes.SHA256()
        )
        request = builder.build().public_bytes(Encoding.DER)
        text = base64.b64encode(request).decode()
        if has(text):
            break
    with server.client(None) as client:
        asked = client.post(f"{server.http}/ocsp", content=request)
        for safe in ("", "/"):
            told = client.get(f"{server.http}/ocsp/{urllib.parse.quote(text, safe=safe)}")
            assert told.headers["content-type"] == "application/ocsp-response"
            assert told.content == asked.content


def test_what_is_not_permitted_is_refused(server: Server) -> None:
    narrow = server.token_of("requester", "dns:only.example.internal")
    with server.client() as client:
        outside = client.post("/v1/certificates", content=requested("example.com").der)
        noise = client.post("/v1/certificates", content=b"\x30\x03\x02\x01\x00")
        large = client.post("/v1/certificates", content=b"x" * (3 << 20))
        unknown = client.get("/v1/certificates/ffff")
        wrong = client.post("/v1/certificates/1/revoke", json={"reason": 6})
        nowhere = client.get("/v1/nowhere")
    with server.client(narrow) as client:
        other = client.post("/v1/certificates", content=requested("b.example.internal").der)
        allowed = client.post("/v1/certificates", content=requested("only.example.internal").der)
    assert (outside.status_code, outside.json()["code"]) == (403, "HM-TRUST-0105")
    assert outside.headers["content-type"] == "application/problem+json"
    assert (noise.status_code, large.status_code) == (400, 413)
    assert (unknown.status_code, wrong.status_code, nowhere.status_code) == (404, 400, 404)
    assert (other.status_code, allowed.status_code) == (403, 201)


def test_a_client_certificate_stands_for_its_role_until_it_is_revoked(
    server: Server, tmp_path: Path
) -> None:
    file = issued(server, tmp_path, "audit@example.internal", kind="user")
    stranger = issued(server, tmp_path, "else@example.internal", kind="user")
    context = server.context(file, file.with_suffix(".key"))
    with server.client(None, verify=context) as client:
        assert client.get("/v1/audit").status_code == 200
        assert client.post("/v1/certificates", content=b"").status_code == 403
        serial = f"{split(file)[0].serial_number:x}"
        with server.client() as operator:
            assert operator.post(f"/v1/certificates/{serial}/revoke").status_code == 200
        refused = client.get("/v1/audit")
        assert refused.status_code == 401, "on the connection that is open already"
    assert refused.json()["code"] == "HM-TRUST-0204"
    with server.client(
        None, verify=server.context(stranger, stranger.with_suffix(".key"))
    ) as client:
        assert client.get("/v1/audit").status_code == 401


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed")
def test_dig_finds_the_trust_host_and_tls_reaches_it(server: Server, tmp_path: Path) -> None:
    def dig(*words: str) -> str:
        done = subprocess.run(
            ["dig", "@::1", "-p", str(server.port("dns")), "+short", *words],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=True,
        )
        return done.stdout.strip()

    address = dig("trust.hypermesh.online", "AAAA")
    assert address == "::1"
    with (
        socket.create_connection((address, server.port("https")), WAIT_S) as raw,
        server.context().wrap_socket(raw, server_hostname="trust.hypermesh.online") as tls,
    ):
        assert tls.version() == "TLSv1.3"
    reached = openssl(
        *("s_client", "-connect", f"[::1]:{server.port('https')}", "-verify_return_error"),
        *("-servername", "trust.hypermesh.online", "-verify_hostname", "trust.hypermesh.online"),
        *("-CAfile", str(server.root_file)),
    )
    assert "Verification: OK" in reached.stdout, reached.stderr

    zone = "/v1/dns/zones/names.internal"
    with server.client() as client:
        assert client.put(zone, json={"address": "::1"}).status_code == 201
        leaf = client.put(
            f"{zone}/www.names.internal/TXT", json={"data": ['"one"'], "ttl": 0}
        ).json()["leaf"]
        assert dig("www.names.internal", "TXT") == '"one"', "served when it is answered"
        assert client.get(f"{zone}/www.names.internal/TXT").json()["data"] == ['"one"']
        assert client.delete(f"{zone}/www.names.internal/TXT").status_code == 200
        assert dig("www.names.internal", "TXT") == ""
        checkpoint_of(client, leaf + 1, "/acts/checkpoint")
        zones = client.get("/v1/dns/zones").json()["items"]
        bad = client.put(f"{zone}/www.names.internal/AAAA", json={"data": ["1.2.3.4"]})
    assert {"names.internal", "hypermesh.online"} <= {each["zone"] for each in zones}
    assert (bad.status_code, bad.json()["code"]) == (400, "HM-DNS-0002")


@pytest.mark.skipif(shutil.which("delv") is None, reason="delv is not installed")
@pytest.mark.parametrize(("algorithm", "number"), [("ecdsa-p256", "13"), ("ed25519", "15")])
def test_a_zone_is_signed_as_it_was_asked_for(
    server: Server, tmp_path: Path, algorithm: str, number: str
) -> None:
    apex = f"{algorithm}.internal"
    with server.client() as client:
        zone = f"/v1/dns/zones/{apex}"
        made = client.put(zone, json={"address": "::1", "algorithm": algorithm})
        assert made.status_code == 201, made.text
        unknown = client.put("/v1/dns/zones/x.internal", json={"address": "::1", "algorithm": "x"})
        [shown] = client.get(f"{zone}/@/DNSKEY").json()["data"]
    assert unknown.status_code == 400
    flags, protocol, told, *key = shown.split()
    assert told == number
    anchors = tmp_path / "anchors"
    trusted = f'"{apex}." static-key {flags} {protocol} {told} "{"".join(key)}";'
    anchors.write_text(f"trust-anchors {{ {trusted} }};\n")
    ask = ("delv", "@::1", "-p", str(server.port("dns")), "-a", str(anchors), f"+root={apex}")
    for owner, kind, said_of in (
        (f"ns.{apex}", "AAAA", "; fully validated"),
        (f"nothing.{apex}", "AAAA", "; negative response, fully validated"),
    ):
        done = subprocess.run(
            [*ask, owner, kind], capture_output=True, text=True, timeout=WAIT_S, check=False
        )
        assert said_of in done.stdout, done.stderr


def test_the_audit_log_is_whole_and_the_report_counts_it(server: Server) -> None:
    with server.client() as client:
        client.post("/v1/certificates", content=requested("audit.example.internal").der)
        checked = client.get("/v1/audit/check").json()
        page = client.get("/v1/audit", params={"limit": 2}).json()
        report = client.get("/v1/report").json()
        shown = client.get("/v1/report", params={"format": "html"})
        figures = client.get("/metrics").text
        backwards = client.get("/v1/report", params={"from": 5, "to": 4})
    assert checked["whole"]
    assert [each["number"] for each in page["items"]] == [1, 2]
    assert page["next_cursor"] == "2"
    assert report["chain_whole"]
    assert report["rows"][1] <= checked["rows"]
    [policy] = report["policies"]
    assert policy["permitted"] == report["permitted"] != []
    named = [each["names"] for each in report["acts"] if each["kind"] == "ca.issue"]
    assert ["dns:audit.example.internal"] in named
    assert report["issued"] == sum(report["issued_by_requester"].values()) > 0
    assert shown.headers["content-type"].startswith("text/html")
    assert "certifies no compliance" in shown.text
    assert "trustchain_certificates_issued_total" in figures
    assert 'trustchain_log_entries{log="certificates"}' in figures
    assert backwards.status_code == 400


def test_who_may_use_the_server_is_in_the_audit_log(server: Server) -> None:
    done = trustchain("token", "create", "a", "clerk", "--role", "auditor", data=server.data)
    token = said(done.stdout)
    assert trustchain("token", "revoke", token["id"], data=server.data).returncode == 0
    made = trustchain("eab", "create", "a", "team", data=server.data)
    kid = said(made.stdout)["kid"]
    assert trustchain("eab", "drop", kid, data=server.data).returncode == 0
    with server.client() as client:
        acts = client.get("/v1/report").json()["acts"]
        assert client.get("/v1/audit/check").json()["whole"]
        whole = client.get("/v1/audit", params={"limit": 1000}).text
    found = [(each["kind"], each["subject"]) for each in acts if each["actor"] == "command"]
    assert [each for each in found if each[1] in (token["id"], kid)] == [
        ("token.create", token["id"]),
        ("token.revoke", token["id"]),
        ("eab.create", kid),
        ("eab.drop", kid),
    ]
    assert ("token.create", "ceremony") in {(each["kind"], each["actor"]) for each in acts}
    for secret in (token["token"], said(made.stdout)["key"]):
        assert secret not in whole
        assert secret.encode().hex() not in whole


def test_plain_http_serves_what_is_public_and_nothing_else(server: Server) -> None:
    with server.client(None) as client:
        assert client.get(f"{server.http}/livez").json() == {"status": "alive"}
        assert client.get(f"{server.http}/issuers/root.pem").text == server.root_file.read_text()
        refused = client.get(f"{server.http}/v1/certificates")
        assert (refused.status_code, refused.json()["code"]) == (403, "HM-TRUST-0207")
        told = client.get(
            f"{server.http}/v1/certificates", headers={"authorization": f"Bearer {server.token}"}
        )
        assert told.status_code == 401, "a token is not taken where others can read it"


def test_old_tls_is_refused(server: Server) -> None:
    context = server.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("::1", server.port("https")), WAIT_S) as raw,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(raw, server_hostname="localhost")
