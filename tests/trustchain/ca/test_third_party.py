"""What others say of our certificates, lists and answers: OpenSSL, pkilint, zlint and
`cryptography`."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store
from pkilint import loader, pkix, validation
from pkilint.pkix import certificate as pkilint_certificate
from pkilint.pkix import crl as pkilint_crl
from pkilint.pkix import extension as pkilint_extension
from pkilint.pkix import name as pkilint_name
from pkilint.pkix import ocsp as pkilint_ocsp

from hypermesh.trustchain.ca.issuing import IssuedCertificate, IssuingAuthority
from hypermesh.trustchain.ca.lists import RevocationLists
from hypermesh.trustchain.ca.ocsp import Responder
from hypermesh.trustchain.ca.profile import Kind
from hypermesh.trustchain.ca.signer import KeySigner
from hypermesh.trustchain.ca.store import Reason

from .companies import LEAVES, NAMES, NOW, Company, company, issued, order, parsed, pem
from .test_revocation import ocsp_request

LATER = NOW + 60

_Severity = validation.ValidationFindingSeverity
WORSE = {_Severity.WARNING, _Severity.ERROR, _Severity.FATAL}

_TOOLS = Path(__file__).parents[3] / ".tools"
_ZLINT = shutil.which("zlint") or shutil.which("zlint", path=_TOOLS)


def faults(validator: validation.ValidatorContainer, document: object) -> list[str]:
    """What pkilint has against `document`, from its warnings up."""
    results = validator.validate(document.root)  # type: ignore[attr-defined]
    return [
        f"{found.finding.severity.name} {found.finding.code} {found.message or ''}"
        for result in results
        for found in result.finding_descriptions
        if found.finding.severity in WORSE
    ]


@pytest.fixture(scope="module")
def lint_certificate() -> Callable[[bytes], list[str]]:
    validator = pkilint_certificate.create_pkix_certificate_validator_container(
        pkilint_certificate.create_decoding_validators(
            pkilint_name.ATTRIBUTE_TYPE_MAPPINGS, pkilint_extension.EXTENSION_MAPPINGS
        ),
        [
            pkilint_certificate.create_issuer_validator_container([]),
            pkilint_certificate.create_validity_validator_container(),
            pkilint_certificate.create_subject_validator_container([]),
            pkilint_certificate.create_extensions_validator_container([]),
            pkilint_certificate.create_spki_validator_container([]),
        ],
    )
    return lambda der: faults(
        validator, loader.RFC5280CertificateDocumentLoader().load_der_document(der, "test")
    )


def test_pkilint_finds_nothing(
    any_company: Company,
    any_authority: IssuingAuthority,
    lint_certificate: Callable[[bytes], list[str]],
) -> None:
    """Wildcards and URIs are left out: pkilint's RFC 5280 rules know no wildcard, and of URIs those
    of the web and of LDAP alone."""
    found: dict[str, list[str]] = {}
    for kind in Kind:
        for leaf in LEAVES[any_company.profile.name]:
            names = [name for name in NAMES[kind] if not name.startswith("uri:")]
            wanted = order(any_authority, kind, KeySigner.generate(leaf), names=names)
            chain = any_authority.issue(wanted, NOW).chain
            found[f"{kind} {leaf}"] = lint_certificate(chain[0])
    found["issuing"], found["root"] = map(lint_certificate, any_authority.chain())
    assert not {name: texts for name, texts in found.items() if texts}


def test_pkilint_finds_a_planted_fault(
    authority: IssuingAuthority, lint_certificate: Callable[[bytes], list[str]]
) -> None:
    der = issued(authority).chain[0]
    planted = der.replace(b"www.example.internal", b"www..xample.internal")
    assert planted != der
    assert lint_certificate(planted)


def test_pkilint_finds_nothing_in_lists_and_answers(
    any_company: Company, any_authority: IssuingAuthority
) -> None:
    certificate = issued(any_authority)
    any_authority.revoke(certificate.serial, Reason.KEY_COMPROMISE, NOW, "tester")
    issuer = any_authority.issuer
    lists = RevocationLists(any_authority.store, issuer, any_company.signer)
    validator = pkilint_crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(pkilint_name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(pkilint_extension.EXTENSION_MAPPINGS),
        ],
        [
            pkilint_crl.create_issuer_validator_container([]),
            pkilint_crl.create_validity_validator_container([]),
            pkilint_crl.create_extensions_validator_container([]),
        ],
    )
    shard = issuer.shard_of(certificate.serial)
    for der in (
        lists.complete(shard, LATER),
        lists.delta(shard, LATER),
        any_company.root.revocation_list(NOW),
    ):
        document = loader.RFC5280CertificateListDocumentLoader().load_der_document(der, "test")
        assert faults(validator, document) == []
    answers = pkilint_ocsp.create_pkix_ocsp_response_validator_container(
        [
            pkilint_ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(pkilint_name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(pkilint_extension.EXTENSION_MAPPINGS),
        ],
        [],
    )
    responder = Responder(any_authority.store, issuer, any_company.signer)
    answer = responder.respond(ocsp_request(certificate.chain), LATER)
    document = loader.RFC6960OCSPResponseDocumentLoader().load_der_document(answer, "test")
    assert faults(answers, document) == []


def zlint(der: bytes, tmp_path: Path) -> list[str]:
    """What zlint has against `der`, from its errors up."""
    file = tmp_path / "one.pem"
    file.write_bytes(pem(der))
    done = subprocess.run(
        [str(_ZLINT), "-includeSources", "RFC3279,RFC5280,RFC5480,RFC5891,RFC6962,RFC8813", file],
        capture_output=True,
        check=True,
    )
    results = json.loads(done.stdout)
    assert len(results) > 100
    return [name for name, told in results.items() if told["result"] in ("error", "fatal")]


@pytest.mark.skipif(_ZLINT is None, reason="zlint is not installed (`make clients` does, with Go)")
def test_zlint_finds_no_error(
    any_company: Company, any_authority: IssuingAuthority, tmp_path: Path
) -> None:
    found: dict[str, list[str]] = {}
    for kind in Kind:
        for leaf in LEAVES[any_company.profile.name]:
            wanted = order(any_authority, kind, KeySigner.generate(leaf), names=NAMES[kind])
            chain = any_authority.issue(wanted, NOW).chain
            found[f"{kind} {leaf}"] = zlint(chain[0], tmp_path)
    for name, der in zip(("issuing", "root"), any_authority.chain(), strict=True):
        found[name] = zlint(der, tmp_path)
    if any_company.profile.name == "pq":
        # It checks no ML-DSA signature, so it does not see that the root is self-signed, which is
        # why it may go without an authority key identifier (RFC 5280 section 4.2.1.1).
        assert found.pop("root") == ["e_ext_authority_key_identifier_no_key_identifier"]
    assert not {name: texts for name, texts in found.items() if texts}


@pytest.mark.skipif(_ZLINT is None, reason="zlint is not installed (`make clients` does, with Go)")
def test_zlint_finds_a_planted_fault(authority: IssuingAuthority, tmp_path: Path) -> None:
    der = issued(authority).chain[0]
    planted = der.replace(b"www.example.internal", b"www..xample.internal")
    assert planted != der
    assert zlint(planted, tmp_path)


def test_cryptography_builds_the_path(
    any_company: Company, any_authority: IssuingAuthority
) -> None:
    """The one of these tools that knows ML-DSA. It knows server certificates of P-256 and such as
    the web has, so services alone are asked for."""
    answer = issued(any_authority)
    leaf, issuing, root = map(parsed, answer.chain)
    verifier = (
        PolicyBuilder()
        .store(Store([root]))
        .time(datetime.fromtimestamp(LATER, UTC))
        .build_server_verifier(x509.DNSName("www.example.internal"))
    )
    assert verifier.verify(leaf, [issuing]) == [leaf, issuing, root]


@pytest.fixture(params=["classic", "hybrid"])
def firm(request: pytest.FixtureRequest, tmp_path: Path) -> Company:
    return company(tmp_path, request.param, shards=1)


def openssl(*arguments: object, is_failure: bool = False) -> str:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == is_failure, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_openssl_verifies_what_is_issued(firm: Company, tmp_path: Path) -> None:
    authority = firm.open()
    for kind, purpose in (
        (Kind.SERVICE, "sslserver"),
        (Kind.NODE, "sslserver"),
        (Kind.NODE, "sslclient"),
        (Kind.USER, "sslclient"),
    ):
        answer = issued(authority, kind)
        leaf, issuing = tmp_path / "leaf.pem", tmp_path / "issuing.pem"
        leaf.write_bytes(pem(answer.chain[0]))
        issuing.write_bytes(pem(answer.chain[1]))
        said = openssl(
            *("verify", "-x509_strict", "-attime", LATER, "-purpose", purpose),
            *("-CAfile", firm.offline / "root.pem", "-untrusted", issuing, leaf),
        )
        assert said.endswith("OK\n")
    wrong = "sslserver"
    said = openssl(
        *("verify", "-x509_strict", "-attime", LATER, "-purpose", wrong),
        *("-CAfile", firm.offline / "root.pem", "-untrusted", issuing, leaf),
        is_failure=True,
    )
    assert "unsuitable certificate purpose" in said
    authority.close()


def test_openssl_reads_the_lists_and_obeys_them(firm: Company, tmp_path: Path) -> None:
    authority = firm.open()
    lists = RevocationLists(authority.store, authority.issuer, firm.signer)
    good, bad = issued(authority), issued(authority)
    base, root_list = lists.complete(0, NOW), firm.root.revocation_list(NOW)
    authority.revoke(bad.serial, Reason.KEY_COMPROMISE, NOW, "tester")
    complete, delta = lists.complete(0, LATER), lists.delta(0, LATER)
    files = {}
    for name, der in {
        "base": base,
        "complete": complete,
        "delta": delta,
        "root": root_list,
    }.items():
        files[name] = tmp_path / f"{name}.der"
        files[name].write_bytes(der)
        openssl("crl", "-in", files[name], "-inform", "DER", "-out", tmp_path / f"{name}.pem")
    issuing = tmp_path / "issuing.pem"
    issuing.write_bytes(pem(good.chain[1]))
    said = openssl(
        "crl", "-in", files["complete"], "-inform", "DER", "-noout", "-text", "-CAfile", issuing
    )
    assert "verify OK" in said
    assert f"{bad.serial:X}" in said.replace(":", "")
    assert "Key Compromise" in said

    def verified(answer: IssuedCertificate, with_lists: list[str], **expected: bool) -> str:
        leaf = tmp_path / "leaf.pem"
        leaf.write_bytes(pem(answer.chain[0]))
        chosen = [part for name in with_lists for part in ("-CRLfile", tmp_path / f"{name}.pem")]
        return openssl(
            *("verify", "-x509_strict", "-attime", LATER, "-crl_check_all", "-extended_crl"),
            *("-use_deltas", *chosen, "-CAfile", firm.offline / "root.pem"),
            *("-untrusted", issuing, leaf),
            **expected,
        )

    assert "OK" in verified(good, ["complete", "root"])
    assert "revoked" in verified(bad, ["complete", "root"], is_failure=True)
    # The list from before knows nothing of it; with its delta it does.
    assert "OK" in verified(bad, ["base", "root"])
    assert "revoked" in verified(bad, ["base", "delta", "root"], is_failure=True)
    assert "OK" in verified(good, ["base", "delta", "root"])
    authority.close()


@pytest.mark.parametrize("is_delegated", [False, True])
def test_openssl_asks_the_responder(firm: Company, tmp_path: Path, is_delegated: bool) -> None:
    authority = firm.open()
    signer, certificate = firm.signer, None
    if is_delegated:
        signer = KeySigner.generate(LEAVES[firm.profile.name][0])
        certificate = authority.issue(order(authority, Kind.RESPONDER, signer), NOW).chain[0]
    responder = Responder(authority.store, authority.issuer, signer, certificate)
    answer = issued(authority)
    issuing, leaf = tmp_path / "issuing.pem", tmp_path / "leaf.pem"
    issuing.write_bytes(pem(answer.chain[1]))
    leaf.write_bytes(pem(answer.chain[0]))
    with served(responder) as url:

        def ask(*more: str) -> str:
            return openssl(
                *("ocsp", *more, "-url", url, "-issuer", issuing, "-cert", leaf),
                *("-attime", LATER, "-CAfile", firm.offline / "root.pem"),
                *("-verify_other", issuing),
            )

        for more in ((), ("-no_nonce",), ("-sha256",)):
            said = ask(*more)
            assert "Response verify OK" in said
            assert "WARNING" not in said
            assert f"{leaf}: good" in said
        authority.revoke(answer.serial, Reason.SUPERSEDED, NOW, "tester")
        for more in ((), ("-no_nonce",)):
            said = ask(*more)
            assert "Response verify OK" in said
            assert f"{leaf}: revoked" in said
            assert "superseded" in said
    authority.close()


@contextlib.contextmanager
def served(responder: Responder) -> Iterator[str]:
    """The responder over HTTP (RFC 6960 appendix A), at the address that is given."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            # `openssl ocsp` holds answers against the clock, whatever `-attime` says.
            told = responder.respond(asked, int(time.time()))
            self.send_response(200)
            self.send_header("Content-Type", "application/ocsp-response")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_openssl_reads_our_requests(firm: Company, tmp_path: Path) -> None:
    file = firm.online / "issuing.csr"
    assert "verify OK" in openssl("req", "-in", file, "-noout", "-verify")
