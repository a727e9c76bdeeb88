"""Hybrid certificates: what ours says of them, and what OpenSSL says of the classical half."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh._native import x509_presigned
from hypermesh.crypto import falcon
from hypermesh.crypto.keys import QuantumKeys, key_id
from hypermesh.trustchain import certificate, oids
from hypermesh.trustchain.certificate import (
    SERIAL_ENTROPY_BYTES,
    Authority,
    AuthorityKeys,
    Validity,
    issuing_certificate,
    node_certificate,
    self_signed_certificate,
    serial_number,
)
from hypermesh.trustchain.verify import (
    Anchors,
    CertificateExpired,
    CertificateForged,
    CertificateMalformed,
    CertificateNotYetValid,
    CertificateRefused,
    IssuerUnknown,
    NetworkMismatch,
    NodeRevoked,
    check_chain,
    check_node,
    check_pinned,
    fingerprint,
    read_keys,
)

from .samples import GENESIS, NOW, VALIDITY, Network, authority_keys, serial


def openssl_accepts(directory: Path, root: bytes, issuing: bytes, leaf: bytes) -> bool:
    files = {}
    for name, der in (("root", root), ("issuing", issuing), ("leaf", leaf)):
        files[name] = directory / f"{name}.pem"
        files[name].write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-x509_strict", "-attime", str(NOW), "-CAfile", files["root"]]
    for purpose in ("sslserver", "sslclient"):
        arguments = [*command, "-purpose", purpose, "-untrusted", files["issuing"], files["leaf"]]
        outcome = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if outcome.returncode != 0:
            return False
    return True


def forged(network: Network, keys: AuthorityKeys) -> bytes:
    """The node's certificate again, signed by `keys` under the name of the issuing CA."""
    issuing = Authority(network.issuing.certificate, keys)
    return node_certificate(
        network.node.public, network.owner.id, GENESIS, issuing, VALIDITY, serial(4)
    )


def test_a_chain_says_who_the_node_is(network: Network) -> None:
    for chain in (network.chain, network.chain[:2]):
        certified = check_chain(chain, network.anchors, now_s=NOW)
        assert certified.id == network.node.id
        assert certified.owner == network.owner.id
        assert certified.keys == network.node.public
        assert certified.not_after_s == VALIDITY.not_after_s
    root = network.root.certificate
    assert check_pinned(network.chain, fingerprint(root), now_s=NOW).id == network.node.id
    assert check_node(network.leaf, network.anchors, now_s=NOW).id == network.node.id


def test_openssl_accepts_the_classical_chain(network: Network, tmp_path: Path) -> None:
    leaf, issuing, root = network.chain
    assert openssl_accepts(tmp_path, root, issuing, leaf)


def test_a_wrong_falcon_half_is_refused_though_openssl_accepts(
    network: Network, tmp_path: Path
) -> None:
    keys = AuthorityKeys(network.issuing.keys.outer, authority_keys().inner)
    leaf = forged(network, keys)
    assert openssl_accepts(tmp_path, network.root.certificate, network.issuing.certificate, leaf)
    with pytest.raises(CertificateForged, match=r"wrong: FALCON-1024 signature$"):
        check_node(leaf, network.anchors, now_s=NOW)


def test_a_wrong_classical_half_is_refused_though_falcon_holds(
    network: Network, tmp_path: Path
) -> None:
    keys = AuthorityKeys(authority_keys().outer, network.issuing.keys.inner)
    leaf = forged(network, keys)
    assert not openssl_accepts(
        tmp_path, network.root.certificate, network.issuing.certificate, leaf
    )
    with pytest.raises(CertificateForged, match=r"wrong: P-256 signature$"):
        check_node(leaf, network.anchors, now_s=NOW)


def test_both_halves_wrong_are_both_named(network: Network) -> None:
    with pytest.raises(CertificateForged, match="P-256 signature and FALCON-1024 signature"):
        check_node(forged(network, authority_keys()), network.anchors, now_s=NOW)


def test_a_forged_issuing_certificate_is_refused(network: Network) -> None:
    keys = authority_keys()
    wrong_root = Authority(
        network.root.certificate, AuthorityKeys(network.root.keys.outer, authority_keys().inner)
    )
    issuing = Authority(issuing_certificate(keys, wrong_root, "test", VALIDITY, serial(5)), keys)
    leaf = node_certificate(
        network.node.public, network.owner.id, GENESIS, issuing, VALIDITY, serial(6)
    )
    anchors = Anchors(GENESIS, network.root.certificate, issuing.certificate)
    with pytest.raises(CertificateForged, match="FALCON"):
        check_node(leaf, anchors, now_s=NOW)


def test_the_inner_signature_covers_the_documented_bytes(network: Network) -> None:
    leaf = x509.load_der_x509_certificate(network.leaf)
    covered = x509_presigned(leaf.tbs_certificate_bytes)
    value = leaf.extensions.get_extension_for_oid(oids.ALT_SIGNATURE_VALUE).value
    assert isinstance(value, x509.UnrecognizedExtension)
    signature = value.value[-falcon.SIGNATURE_BYTES :]
    assert falcon.holds(network.issuing.keys.inner.public, covered, signature)
    # Without the field `signature` (12 bytes) and extension 74 (its identifier is gone).
    assert bytes.fromhex("551d4a") not in covered
    assert bytes.fromhex("551d49") in covered
    assert len(leaf.tbs_certificate_bytes) - len(covered) > 12 + falcon.SIGNATURE_BYTES


def test_each_reason_has_its_error(network: Network, other_network: Network) -> None:
    leaf, anchors = network.leaf, network.anchors
    with pytest.raises(NetworkMismatch):
        check_node(leaf, Anchors(bytes(32), anchors.root, anchors.issuing), now_s=NOW)
    with pytest.raises(IssuerUnknown):
        check_chain(network.chain, other_network.anchors, now_s=NOW)
    with pytest.raises(IssuerUnknown):
        check_chain([leaf, anchors.issuing, other_network.root.certificate], anchors, now_s=NOW)
    with pytest.raises(IssuerUnknown):
        check_pinned(network.chain, fingerprint(other_network.root.certificate), now_s=NOW)
    with pytest.raises(NodeRevoked):
        check_node(leaf, anchors, now_s=NOW, revoked=frozenset({bytes(32), network.node.id}))
    check_node(leaf, anchors, now_s=NOW, revoked=frozenset({network.owner.id}))
    for short in ([], [leaf], [*network.chain, leaf]):
        with pytest.raises(CertificateMalformed):
            check_chain(short, anchors, now_s=NOW)


def test_validity_includes_both_ends(network: Network) -> None:
    def at(now_s: int) -> None:
        check_node(network.leaf, network.anchors, now_s=now_s)

    at(VALIDITY.not_before_s)
    at(VALIDITY.not_after_s)
    with pytest.raises(CertificateNotYetValid):
        at(VALIDITY.not_before_s - 1)
    with pytest.raises(CertificateExpired):
        at(VALIDITY.not_after_s + 1)


def test_an_expired_issuer_ends_its_nodes(network: Network) -> None:
    keys = authority_keys()
    early = Validity(VALIDITY.not_before_s, NOW - 1)
    issuing = Authority(issuing_certificate(keys, network.root, "test", early, serial(7)), keys)
    leaf = node_certificate(
        network.node.public, network.owner.id, GENESIS, issuing, VALIDITY, serial(8)
    )
    anchors = Anchors(GENESIS, network.root.certificate, issuing.certificate)
    check_node(leaf, anchors, now_s=NOW - 1)
    with pytest.raises(CertificateExpired):
        check_node(leaf, anchors, now_s=NOW)


def test_a_node_cannot_issue(network: Network) -> None:
    """A leaf in the place of the issuing certificate is no authority, whoever signed below it."""
    with pytest.raises(CertificateRefused):
        check_pinned(
            [network.leaf, network.leaf, network.root.certificate],
            fingerprint(network.root.certificate),
            now_s=NOW,
        )
    with pytest.raises(CertificateRefused):
        check_pinned(
            [network.issuing.certificate, network.issuing.certificate, network.root.certificate],
            fingerprint(network.root.certificate),
            now_s=NOW,
        )


def test_the_root_cannot_sign_a_node_directly(network: Network) -> None:
    leaf = node_certificate(
        network.node.public, network.owner.id, GENESIS, network.root, VALIDITY, serial(9)
    )
    with pytest.raises(IssuerUnknown):
        check_node(leaf, network.anchors, now_s=NOW)


@pytest.mark.parametrize("place", ["leaf", "issuing", "root"])
def test_no_byte_can_be_changed(network: Network, place: str) -> None:
    """One bit of every byte. With the root known by its fingerprint each flip reaches the checks
    of form and signature, and none passes."""
    index = ["leaf", "issuing", "root"].index(place)
    pin = fingerprint(network.root.certificate)
    for position in range(len(network.chain[index])):
        changed = bytearray(network.chain[index])
        changed[position] ^= 1 << position % 8
        chain = list(network.chain)
        chain[index] = bytes(changed)
        with pytest.raises(CertificateRefused):
            check_pinned(chain, pin, now_s=NOW)


def test_no_length_but_its_own(network: Network) -> None:
    for length in range(0, len(network.leaf), 7):
        with pytest.raises(CertificateMalformed):
            check_node(network.leaf[:length], network.anchors, now_s=NOW)
    for tail in (b"\0", network.leaf):
        with pytest.raises(CertificateMalformed):
            check_node(network.leaf + tail, network.anchors, now_s=NOW)
    with pytest.raises(CertificateMalformed, match="too long"):
        check_node(bytes(20_000), network.anchors, now_s=NOW)


def test_keys_can_be_read_from_any_leaf_but_never_its_claims(network: Network) -> None:
    assert read_keys(network.leaf) == network.node.public
    with pytest.raises(CertificateMalformed):
        read_keys(network.issuing.certificate)
    with pytest.raises(CertificateMalformed):
        read_keys(b"not a certificate")


def test_a_self_signed_certificate_says_its_keys_only(network: Network) -> None:
    keys = QuantumKeys.generate()
    der = self_signed_certificate(keys)
    assert read_keys(der) == keys.public
    parsed = x509.load_der_x509_certificate(der)
    parsed.verify_directly_issued_by(parsed)
    assert parsed.subject == parsed.issuer
    with pytest.raises(CertificateMalformed):
        check_node(der, network.anchors, now_s=NOW)


def names(node: bytes, owner: bytes, network: bytes, dns: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier(f"hm:node:{node.hex()}"),
            x509.UniformResourceIdentifier(f"hm:owner:{owner.hex()}"),
            x509.UniformResourceIdentifier(f"hm:network:{network.hex()}"),
            x509.DNSName(dns),
        ]
    )


def issued(network: Network, builder: x509.CertificateBuilder) -> bytes:
    """What the real issuing CA would sign if it were given `builder`."""
    builder = certificate._timed(certificate._below(network.issuing, builder), VALIDITY, serial(5))
    return certificate._signed(builder, network.issuing.keys)


def test_what_the_issuer_signs_must_still_make_sense(network: Network) -> None:
    """Both signatures hold in all of these."""
    node, owner = network.node, network.owner.id
    dns = f"{node.id[:8].hex()}.{GENESIS[:5].hex()}.hm.internal"
    leaf = certificate._leaf(node.public)
    right = names(node.id, owner, GENESIS, dns)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    check_node(
        issued(network, leaf.add_extension(right, critical=False)), network.anchors, now_s=NOW
    )

    def without(oid: x509.ObjectIdentifier) -> x509.CertificateBuilder:
        kept = [extension for extension in leaf._extensions if extension.oid != oid]
        return x509.CertificateBuilder(
            subject_name=leaf._subject_name, public_key=leaf._public_key, extensions=kept
        )

    p256 = network.issuing.keys.outer.public_key()
    certifier = certificate._usage(certificates=True)
    usage = x509.ExtensionOID.KEY_USAGE
    wrong = {
        "no alternative name": leaf,
        "not the one its keys give": leaf.add_extension(
            names(owner, owner, GENESIS, dns.replace(node.id[:8].hex(), owner[:8].hex())),
            critical=False,
        ),
        "DNS name does not follow": leaf.add_extension(
            names(node.id, owner, GENESIS, f"x.{dns}"), critical=False
        ),
        "unknown critical": leaf.add_extension(right, critical=False).add_extension(
            unknown, critical=True
        ),
        "not for TLS": without(x509.ExtensionOID.EXTENDED_KEY_USAGE).add_extension(
            right, critical=False
        ),
        "no FALCON-1024 key": without(oids.SUBJECT_ALT_PUBLIC_KEY).add_extension(
            right, critical=False
        ),
        "not an Ed25519 end entity": without(usage)
        .add_extension(certifier, critical=True)
        .add_extension(right, critical=False),
    }
    for reason, builder in wrong.items():
        with pytest.raises(CertificateMalformed, match=reason):
            check_node(issued(network, builder), network.anchors, now_s=NOW)
    other_key = x509.CertificateBuilder(
        subject_name=leaf._subject_name, public_key=p256, extensions=leaf._extensions
    )
    with pytest.raises(CertificateMalformed, match="not an Ed25519 end entity"):
        check_node(
            issued(network, other_key.add_extension(right, critical=False)),
            network.anchors,
            now_s=NOW,
        )
    # An extension that nobody needs to understand changes nothing.
    harmless = leaf.add_extension(right, critical=False).add_extension(unknown, critical=False)
    check_node(issued(network, harmless), network.anchors, now_s=NOW)


def test_the_frozen_certificates_are_read_as_ever(vectors: Path) -> None:
    facts = json.loads((vectors / "x509" / "vector.json").read_text())
    frozen = {file.stem: file.read_bytes() for file in (vectors / "x509").glob("*.der")}
    anchors = Anchors(bytes.fromhex(facts["network"]), frozen["root"], frozen["issuing"])
    certified = check_node(frozen["node"], anchors, now_s=facts["not_after_s"])
    assert certified.id.hex() == facts["node"]
    assert certified.owner.hex() == facts["owner"]
    assert certified.not_after_s == facts["not_after_s"]
    assert key_id(read_keys(frozen["session"])).hex() == facts["node"]
    answers = {
        "node-falcon-wrong": CertificateForged,
        "node-p256-wrong": CertificateForged,
        "node-by-root": IssuerUnknown,
        "node-elsewhere": NetworkMismatch,
    }
    for name, answer in answers.items():
        with pytest.raises(answer):
            check_node(frozen[name], anchors, now_s=facts["not_after_s"])


def test_serial_numbers_have_one_length_and_are_positive() -> None:
    for entropy in (bytes(SERIAL_ENTROPY_BYTES), b"\xff" * SERIAL_ENTROPY_BYTES):
        number = serial_number(entropy)
        assert number > 0
        assert (number.bit_length() + 7) // 8 == 20
    with pytest.raises(ValueError, match="19 random bytes"):
        serial_number(b"short")


def test_the_identifiers_are_those_in_the_list(vectors: Path) -> None:
    listed = {
        entry["name"]: entry["oid"]
        for entry in json.loads((vectors / "oids.json").read_text())["oids"]
    }
    here = {name: value.dotted_string for name, value in vars(oids).items() if name.isupper()}
    assert here
    assert here == {name: listed[name] for name in here}
