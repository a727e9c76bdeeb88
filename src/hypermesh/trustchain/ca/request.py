"""PKCS#10 requests (RFC 2986): written by signers, read with every doubt.

A request proves the key that it names by its signature. In the hybrid profile it may name a
FALCON-1024 key too, as extension 2.5.29.72 among the requested ones; the attribute 2.5.29.74 then
proves that key, over the CertificationRequestInfo without this attribute.

What a request asks for beyond its keys and names (usages, being a CA) is ignored: that is the
authority's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from hypermesh.crypto import falcon
from hypermesh.crypto.falcon import FalconKey
from hypermesh.trustchain import alternative, der, oids
from hypermesh.trustchain.ca.algorithm import (
    SIGNATURES,
    UNREADABLE,
    KeyKind,
    KeyRefused,
    PublicKey,
    is_signed,
    key_info,
    kind_of,
)
from hypermesh.trustchain.ca.names import (
    NAMES_MAX,
    Name,
    NameKind,
    NamesTooMany,
    checked,
    general_names,
    names_of,
)
from hypermesh.trustchain.ca.signer import Signer
from hypermesh.wire.errors import Forbidden, InvalidInput

REQUEST_BYTES_MAX = 64 * 1024
"""An ML-DSA-65 request with 100 long names and a FALCON-1024 key has half of it."""


class RequestMalformed(InvalidInput):
    """The bytes are not a certification request that this authority understands."""

    code = "HM-TRUST-0101"
    title = "The certification request is malformed"


class PossessionUnproved(Forbidden):
    """The request is not signed by the keys that it names."""

    code = "HM-TRUST-0102"
    title = "The request does not prove its keys"


_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")
"""RFC 2985 section 5.4.2."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose keys are proved. `public_key` is a SubjectPublicKeyInfo (DER), `names` what
    it asks for, `falcon_key` the FALCON-1024 key, 1793 bytes."""

    encoded: bytes
    public_key: bytes
    kind: KeyKind
    names: tuple[Name, ...]
    falcon_key: bytes | None


def read_request(data: bytes) -> Request:
    """What `data` (DER) asks for, its proofs checked.

    Raises `RequestMalformed`, `NotDer`, `KeyRefused`, `NamesTooMany`, `NameRefused` and
    `PossessionUnproved`.
    """
    if len(data) > REQUEST_BYTES_MAX:
        raise RequestMalformed(why=f"it has more than {REQUEST_BYTES_MAX} bytes")
    parts = der.read(data).children()
    if [part.tag for part in parts] != [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
        raise RequestMalformed(why="it is no CertificationRequest")
    info, identifier, signature = parts
    try:
        parsed = x509.load_der_x509_csr(data)
        key = parsed.public_key()
        extensions = {entry.oid: entry.value for entry in _extensions(parsed)}
    except UNREADABLE as error:
        raise RequestMalformed(why=str(error)) from error
    kind = kind_of(key)
    sound: PublicKey = key  # type: ignore[assignment]  # `kind_of` refuses the others
    public_key = key_info(sound)
    if public_key not in [part.encoded for part in info.children()]:
        raise KeyRefused(why="it is not in its one encoding")
    _require_possession(sound, kind, info.encoded, identifier.encoded, signature.content)
    return Request(
        data, public_key, kind, _names(parsed, extensions), _falcon_key(info, extensions)
    )


def write_request(
    signer: Signer, subject: x509.Name, names: Sequence[Name], second: FalconKey | None = None
) -> bytes:
    """The request of `signer`, and of the FALCON-1024 key `second`, for `names`; DER."""
    if len(names) > NAMES_MAX:
        raise NamesTooMany
    wanted = []
    if names:
        wanted.append(_extension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, general_names(names)))
    if second is not None:
        value = alternative.key_info(second.public)
        wanted.append(der.sequence(der.oid(oids.SUBJECT_ALT_PUBLIC_KEY), der.octets(value)))
    attributes = []
    if wanted:
        attributes.append(_attribute(_EXTENSION_REQUEST, der.sequence(*wanted)))
    head = [der.integer(0), subject.public_bytes(), signer.public_key]
    if second is not None:
        proof = second.sign(_info(head, attributes))
        attributes.append(_attribute(oids.ALT_SIGNATURE_VALUE, der.bits(proof)))
    info = _info(head, attributes)
    return der.sequence(info, signer.algorithm.identifier, der.bits(signer.sign(info)))


def _require_possession(
    key: PublicKey, kind: KeyKind, info: bytes, identifier: bytes, signature: bytes
) -> None:
    algorithm = next(
        (known for known in SIGNATURES[kind] if known.identifier == identifier),
        None,
    )
    if algorithm is None:
        raise RequestMalformed(why=f"no {kind} key signs by the algorithm that it names")
    if signature[:1] != b"\x00" or not is_signed(key, algorithm, info, signature[1:]):
        raise PossessionUnproved(why=f"the {kind} signature does not hold")


def _extensions(parsed: x509.CertificateSigningRequest) -> x509.Extensions:
    return parsed.extensions


def _names(
    parsed: x509.CertificateSigningRequest,
    extensions: dict[x509.ObjectIdentifier, x509.ExtensionType],
) -> tuple[Name, ...]:
    """The names of the subjectAltName; of the common name, where there are none."""
    alternatives = extensions.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if isinstance(alternatives, x509.SubjectAlternativeName):
        return names_of(alternatives)
    common = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(common) != 1 or not isinstance(common[0].value, str) or "." not in common[0].value:
        return ()
    return (checked(NameKind.DNS, common[0].value),)


def _falcon_key(
    info: der.Element, extensions: dict[x509.ObjectIdentifier, x509.ExtensionType]
) -> bytes | None:
    named = extensions.get(oids.SUBJECT_ALT_PUBLIC_KEY)
    if not isinstance(named, x509.UnrecognizedExtension):
        return None
    public = alternative.key_of(named.value)
    *head, attributes = info.children()
    kept, proof = [], b""
    for attribute in attributes.children():
        identifier, values = attribute.children()
        if identifier.encoded == der.oid(oids.ALT_SIGNATURE_VALUE):
            proof = der.read(values.content).content[1:]
        else:
            kept.append(attribute.encoded)
    message = _info([part.encoded for part in head], kept)
    if not falcon.holds(public, message, proof):
        raise PossessionUnproved(why="the FALCON-1024 signature does not hold")
    return public


def _info(head: Sequence[bytes], attributes: Sequence[bytes]) -> bytes:
    return der.sequence(*head, der.context(0, *sorted(attributes)))


def _attribute(identifier: x509.ObjectIdentifier, value: bytes) -> bytes:
    return der.sequence(der.oid(identifier), der.set_of([value]))


def _extension(identifier: x509.ObjectIdentifier, value: x509.ExtensionType) -> bytes:
    return der.sequence(der.oid(identifier), der.octets(value.public_bytes()))
