"""Requests: what is proved, what is refused, and that no byte of one can be changed."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.crypto.falcon import FalconKey
from hypermesh.trustchain import der, oids
from hypermesh.trustchain.ca.algorithm import KeyKind, KeyRefused
from hypermesh.trustchain.ca.names import NAMES_MAX, NameRefused, NamesTooMany
from hypermesh.trustchain.ca.request import (
    REQUEST_BYTES_MAX,
    PossessionUnproved,
    RequestMalformed,
    read_request,
)
from hypermesh.trustchain.ca.signer import KeySigner
from hypermesh.wire.errors import HyperMeshError

from .companies import named, request

KINDS = [kind for kind in KeyKind if kind is not KeyKind.RSA]
HOST = "dns:www.example.internal"


def built(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    names: list[x509.GeneralName],
    common: str = "",
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    """A request as other software writes it."""
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common)] if common else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, digest or hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_of_each_kind_is_read_as_it_was_written(kind: KeyKind) -> None:
    signer = KeySigner.generate(kind)
    data = request(signer, [HOST, "ip:192.0.2.1"])
    read = read_request(data)
    assert (read.kind, read.public_key) == (kind, signer.public_key)
    assert read.names == named(HOST, "ip:192.0.2.1")
    assert read.falcon_key is None
    assert x509.load_der_x509_csr(data).is_signature_valid


def test_requests_of_other_software_are_read() -> None:
    key = rsa.generate_private_key(65_537, 2048)
    read = read_request(built(key, [], "www.example.internal"))
    assert (read.kind, read.names) == (KeyKind.RSA, named(HOST))
    large = ec.generate_private_key(ec.SECP384R1())
    for digest in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        assert read_request(built(large, [], digest=digest)).kind is KeyKind.P384


def test_a_falcon_key_is_proved_too() -> None:
    signer, second, other = (
        KeySigner.generate(KeyKind.P256),
        *(FalconKey.generate() for _ in range(2)),
    )
    assert read_request(request(signer, [HOST], second)).falcon_key == second.public

    class Borrowed:
        """Shows a key that it cannot sign with."""

        public = other.public
        sign = second.sign

    with pytest.raises(PossessionUnproved, match="FALCON"):
        read_request(request(signer, [HOST], Borrowed()))  # type: ignore[arg-type]


def test_a_falcon_key_without_its_proof_is_refused() -> None:
    signer, second = KeySigner.generate(KeyKind.P256), FalconKey.generate()
    info, *_ = der.read(request(signer, [HOST], second)).children()
    *head, attributes = info.children()
    kept = [
        attribute.encoded
        for attribute in attributes.children()
        if attribute.children()[0].encoded != der.oid(oids.ALT_SIGNATURE_VALUE)
    ]
    body = der.sequence(*(part.encoded for part in head), der.context(0, *kept))
    stripped = der.sequence(body, signer.algorithm.identifier, der.bits(signer.sign(body)))
    with pytest.raises(PossessionUnproved, match="FALCON"):
        read_request(stripped)


def test_a_request_that_another_key_signed_is_refused(p256: ec.EllipticCurvePrivateKey) -> None:
    mine, other = (der.read(built(key, [])).children() for key in (p256, _other_key()))
    for parts in ((mine[0], other[1], other[2]), (other[0], mine[1], mine[2])):
        with pytest.raises(PossessionUnproved):
            read_request(der.sequence(*(part.encoded for part in parts)))


def _other_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.ED25519, KeyKind.ML_DSA_44])
def test_an_altered_request_is_refused(kind: KeyKind) -> None:
    """One bit of every byte (of the long keys and signatures of ML-DSA every 7th). No byte is
    without meaning: what is signed is the whole of the first part, the algorithm stands in one
    form only, and a signature in one form only."""
    data = request(KeySigner.generate(kind), [HOST])
    assert read_request(data).names == named(HOST)
    positions = range(len(data))
    if kind is KeyKind.ML_DSA_44:
        positions = [*range(100), *range(100, len(data), 7), *range(len(data) - 50, len(data))]
    for position in positions:
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(HyperMeshError):
            read_request(bytes(changed))


def test_every_bit_of_a_hybrid_request_counts_beyond_its_keys() -> None:
    """The two proofs are long; of them every 61st byte is altered."""
    data = request(KeySigner.generate(KeyKind.P256), [HOST], FalconKey.generate())
    for position in [
        *range(0, 400, 3),
        *range(400, len(data), 61),
        *range(len(data) - 100, len(data)),
    ]:
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises(HyperMeshError):
                read_request(bytes(changed))


def test_malformed_requests_are_refused(p256: ec.EllipticCurvePrivateKey) -> None:
    whole = built(p256, [x509.DNSName("www.example.internal")])
    for length in range(len(whole)):
        with pytest.raises((der.NotDer, RequestMalformed)):
            read_request(whole[:length])
    for wrong in (whole + b"\x00", b"\x30\x80" + whole[4:], bytes(200), b"0\x00", b"\x05\x00"):
        with pytest.raises((der.NotDer, RequestMalformed)):
            read_request(wrong)
    with pytest.raises(RequestMalformed, match="65536"):
        read_request(b"\x30" + bytes(REQUEST_BYTES_MAX))


def test_a_giant_list_of_names_is_refused(p256: ec.EllipticCurvePrivateKey) -> None:
    names: list[x509.GeneralName] = [
        x509.DNSName(f"{number}.example.internal") for number in range(NAMES_MAX + 1)
    ]
    assert len(read_request(built(p256, names[:-1])).names) == NAMES_MAX
    with pytest.raises(NamesTooMany):
        read_request(built(p256, names))
    thousands = built(p256, names[:1] * 4000)
    with pytest.raises(RequestMalformed):
        read_request(thousands)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (x509.DNSName("*"), "label"),
        (x509.DNSName("*.internal"), "two labels"),
        (x509.DNSName("a.*.example.internal"), "label"),
        (x509.DNSName("w*.example.internal"), "label"),
        (x509.DNSName("example..internal"), "label"),
        (x509.DNSName("example.internal."), "label"),
        (x509.DNSName("-a.example.internal"), "label"),
        (x509.DNSName("a_b.example.internal"), "label"),
        (x509.DNSName("a b.example.internal"), "label"),
        (x509.DNSName("a" * 64 + ".internal"), "label"),
        (x509.DNSName(".".join(["abcdefgh"] * 30)), "253"),
        (x509.DNSName("192.0.2.1"), "address"),
        (x509.DNSName("xn--a.example.internal"), "IDNA"),
        (x509.DNSName("xn--abc-.example.internal"), "IDNA|label"),
        (x509.DNSName("ab--cd.example.internal"), "reserved"),
        (x509.IPAddress(ipaddress.ip_address("::")), "no single host"),
        (x509.IPAddress(ipaddress.ip_address("ff02::1")), "no single host"),
        (x509.IPAddress(ipaddress.ip_network("192.0.2.0/24")), "mask"),
        (x509.RFC822Name("nobody"), "mail"),
        (x509.UniformResourceIdentifier("no uri"), "URI"),
        (x509.DirectoryName(x509.Name([])), "DirectoryName"),
        (x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), "OtherName"),
    ],
)
def test_names_that_no_certificate_carries(
    p256: ec.EllipticCurvePrivateKey, name: x509.GeneralName, reason: str
) -> None:
    with pytest.raises((NameRefused, RequestMalformed), match=reason):
        read_request(built(p256, [name]))


def test_names_come_in_one_form(p256: ec.EllipticCurvePrivateKey) -> None:
    names = [
        x509.DNSName("WWW.Example.Internal"),
        x509.DNSName("www.example.internal"),
        x509.DNSName("xn--bcher-kva.example.internal"),
        x509.IPAddress(ipaddress.ip_address("2001:db8:0:0::1")),
    ]
    assert read_request(built(p256, names)).names == named(
        HOST, "dns:xn--bcher-kva.example.internal", "ip:2001:db8::1"
    )


@pytest.mark.parametrize(
    "curve", [ec.SECP521R1(), ec.SECP256K1(), ec.SECP224R1(), ec.BrainpoolP256R1()]
)
def test_keys_of_other_curves_are_refused(curve: ec.EllipticCurve) -> None:
    with pytest.raises(KeyRefused, match="curve"):
        read_request(built(ec.generate_private_key(curve), []))


def test_weak_rsa_keys_are_refused() -> None:
    with pytest.raises(KeyRefused, match="1024"):
        read_request(built(_rsa_1024(), []))
    for exponent, reason in ((3, "exponent"), (65_538, "exponent")):
        with pytest.raises(KeyRefused, match=reason):
            _require(1 << 2047 | 1, exponent)
    prime = 2**1024 - 105  # The largest prime below 2**1024.
    near = prime * (prime - 2**64 * 2 + 2)
    for modulus, reason in ((3 * (1 << 2046 | 1), "small factor"), (near, "small|close")):
        with pytest.raises(KeyRefused, match=reason):
            _require(modulus, 65_537)
    with pytest.raises(KeyRefused, match="close"):
        _require(prime * prime, 65_537)


def _rsa_1024() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 1024)  # noqa: S505


def _require(modulus: int, exponent: int) -> None:
    from hypermesh.trustchain.ca.algorithm import _require_sound

    _require_sound(rsa.RSAPublicNumbers(exponent, modulus))


def test_signatures_by_weak_digests_are_refused(p256: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(RequestMalformed, match="algorithm"):
        read_request(built(p256, [], digest=hashes.SHA224()))
    with pytest.raises(RequestMalformed, match="algorithm"):
        read_request(built(p256, [], digest=hashes.SHA3_256()))


def test_what_is_no_request_is_refused() -> None:
    """Bytes that no one drew for a request: from a counter, each length up to 300."""
    for length in range(300):
        data = bytes((length * 31 + place * 17) % 256 for place in range(length))
        with pytest.raises((der.NotDer, RequestMalformed)):
            read_request(b"\x30" + data)
