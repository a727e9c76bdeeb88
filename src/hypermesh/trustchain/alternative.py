"""The alternative key and signature of X.509 (ITU-T X.509 (10/2019) clause 9.8), with FALCON-1024.

    72 subjectAltPublicKeyInfo   the subject's second key
    73 altSignatureAlgorithm     how the issuer's second key signed
    74 altSignatureValue         over the DER TBSCertificate without its `signature` field and
                                 without this extension

None of the three is critical, or tools that do not know them would refuse the chain.
"""

from __future__ import annotations

from cryptography import x509

from hypermesh._native import x509_presigned
from hypermesh.crypto import falcon
from hypermesh.crypto.falcon import FalconKey
from hypermesh.trustchain import der, oids

ALGORITHM = der.sequence(der.oid(oids.FALCON_1024_PADDED))
"""The AlgorithmIdentifier of FALCON-1024: the value of extension 73."""


def key_info(public: bytes) -> bytes:
    """The value of extension 72: `public` (1793 bytes) as a SubjectPublicKeyInfo."""
    return der.sequence(ALGORITHM, der.bits(public))


def key_of(info: bytes) -> bytes:
    """The FALCON-1024 key in the value of extension 72. Raises `NotDer`."""
    parts = der.read(info).children()
    if (
        len(parts) != 2
        or parts[0].encoded != ALGORITHM
        or parts[1].tag != der.BIT_STRING
        or len(parts[1].content) != falcon.PUBLIC_BYTES + 1
        or parts[1].content[0] != 0
    ):
        raise der.NotDer("This is no FALCON-1024 key of a certificate")
    return parts[1].content[1:]


def signature(tbs: bytes, key: FalconKey) -> bytes:
    """The value of extension 74 by `key`; `tbs` has extension 73 already."""
    return der.bits(key.sign(x509_presigned(tbs)))


def holds(certificate: x509.Certificate, public: bytes) -> bool:
    """Whether `certificate` has an alternative signature by the FALCON-1024 key `public`."""
    found = {extension.oid: extension.value for extension in certificate.extensions}
    algorithm, value = (
        found.get(identifier)
        for identifier in (oids.ALT_SIGNATURE_ALGORITHM, oids.ALT_SIGNATURE_VALUE)
    )
    if not isinstance(algorithm, x509.UnrecognizedExtension) or not isinstance(
        value, x509.UnrecognizedExtension
    ):
        return False
    head = der.bits(bytes(falcon.SIGNATURE_BYTES))[: -falcon.SIGNATURE_BYTES]
    if algorithm.value != ALGORITHM or not value.value.startswith(head):
        return False
    presigned = x509_presigned(certificate.tbs_certificate_bytes)
    return falcon.holds(public, presigned, value.value[len(head) :])


def key_in(certificate: x509.Certificate) -> bytes | None:
    """The FALCON-1024 key that `certificate` names, None where it has none."""
    for extension in certificate.extensions:
        if extension.oid == oids.SUBJECT_ALT_PUBLIC_KEY and isinstance(
            extension.value, x509.UnrecognizedExtension
        ):
            return key_of(extension.value.value)
    return None
