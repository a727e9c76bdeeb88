"""The classical and ML-DSA keys of certificates: their kinds, and which signatures they make.

Sources: RFC 5480, RFC 5758 (ECDSA), RFC 8410 (Ed25519), RFC 4055 (RSA), RFC 9881 (ML-DSA).
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import SignatureAlgorithmOID

from hypermesh.trustchain import der
from hypermesh.wire.errors import InvalidInput

RSA_BITS_MIN = 2048
RSA_BITS_MAX = 8192
"""Checking one signature by a larger key would take longer than a request is worth."""

RSA_EXPONENT_MIN = 65_537

_FERMAT_ROUNDS = 100
"""Factors closer than this search finds are refused (CVE-2022-26320)."""

_SMALL_PRIMES = math.prod(n for n in range(3, 752) if all(n % d for d in range(2, n)))

UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for bytes that it does not read; they have no base in common."""

PublicKey = (
    ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | rsa.RSAPublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)


class KeyRefused(InvalidInput):
    """The key is weak, damaged, or of a kind that this profile does not certify."""

    code = "HM-TRUST-0103"
    title = "The key cannot be certified"


class KeyKind(enum.StrEnum):
    """What kind of key it is; the RSA ones have `RSA_BITS_MIN` bits or more."""

    P256 = "P-256"
    P384 = "P-384"
    ED25519 = "Ed25519"
    RSA = "RSA"
    ML_DSA_44 = "ML-DSA-44"
    ML_DSA_65 = "ML-DSA-65"
    ML_DSA_87 = "ML-DSA-87"


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """A way to sign: its AlgorithmIdentifier (DER), and the digest where the algorithm takes one
    as an argument."""

    identifier: bytes
    digest: hashes.HashAlgorithm | None = None


_O = SignatureAlgorithmOID
_ECDSA_SHA256 = SignatureAlgorithm(der.sequence(der.oid(_O.ECDSA_WITH_SHA256)), hashes.SHA256())
_ECDSA_SHA384 = SignatureAlgorithm(der.sequence(der.oid(_O.ECDSA_WITH_SHA384)), hashes.SHA384())
_ECDSA_SHA512 = SignatureAlgorithm(der.sequence(der.oid(_O.ECDSA_WITH_SHA512)), hashes.SHA512())
_NULL = der.tlv(der.NULL)
_RSA = tuple(
    SignatureAlgorithm(der.sequence(der.oid(identifier), _NULL), digest)
    for identifier, digest in (
        (_O.RSA_WITH_SHA256, hashes.SHA256()),
        (_O.RSA_WITH_SHA384, hashes.SHA384()),
        (_O.RSA_WITH_SHA512, hashes.SHA512()),
    )
)

SIGNATURES: dict[KeyKind, tuple[SignatureAlgorithm, ...]] = {
    KeyKind.P256: (_ECDSA_SHA256, _ECDSA_SHA384, _ECDSA_SHA512),
    KeyKind.P384: (_ECDSA_SHA384, _ECDSA_SHA256, _ECDSA_SHA512),
    KeyKind.ED25519: (SignatureAlgorithm(der.sequence(der.oid(_O.ED25519))),),
    KeyKind.RSA: _RSA,
    KeyKind.ML_DSA_44: (SignatureAlgorithm(der.sequence(der.oid(_O.ML_DSA_44))),),
    KeyKind.ML_DSA_65: (SignatureAlgorithm(der.sequence(der.oid(_O.ML_DSA_65))),),
    KeyKind.ML_DSA_87: (SignatureAlgorithm(der.sequence(der.oid(_O.ML_DSA_87))),),
}
"""The signatures that a key of each kind may make; the first is the one that this authority
makes."""


def kind_of(key: object) -> KeyKind:
    """The kind of a public key of `cryptography`. Raises `KeyRefused` for any that is not sound
    (NIST SP 800-89 section 5.3.3 for RSA)."""
    match key:
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return KeyKind.P256
        case ec.EllipticCurvePublicKey(curve=ec.SECP384R1()):
            return KeyKind.P384
        case ec.EllipticCurvePublicKey():
            raise KeyRefused(why=f"the curve {key.curve.name} is not one of P-256 and P-384")
        case ed25519.Ed25519PublicKey():
            return KeyKind.ED25519
        case rsa.RSAPublicKey():
            _require_sound(key.public_numbers())
            return KeyKind.RSA
        case mldsa.MLDSA44PublicKey():
            return KeyKind.ML_DSA_44
        case mldsa.MLDSA65PublicKey():
            return KeyKind.ML_DSA_65
        case mldsa.MLDSA87PublicKey():
            return KeyKind.ML_DSA_87
    raise KeyRefused(why=f"a key of this kind is not certified: {type(key).__name__}")


def key_info(key: PublicKey) -> bytes:
    """The SubjectPublicKeyInfo, DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def is_signed(
    key: PublicKey, algorithm: SignatureAlgorithm, message: bytes, signature: bytes
) -> bool:
    """Whether `signature` over `message` verifies under `key` by `algorithm`."""
    digest = algorithm.digest
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(signature, message, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey) and digest is not None:
            key.verify(signature, message, padding.PKCS1v15(), digest)
        elif not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            key.verify(signature, message)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _require_sound(numbers: rsa.RSAPublicNumbers) -> None:
    modulus, exponent = numbers.n, numbers.e
    if not RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX:
        raise KeyRefused(
            why=f"an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, this one "
            f"{modulus.bit_length()}"
        )
    if exponent % 2 == 0 or exponent < RSA_EXPONENT_MIN or exponent.bit_length() > 256:
        raise KeyRefused(why="the RSA exponent is even, too small or too large")
    if modulus % 2 == 0 or math.gcd(modulus, _SMALL_PRIMES) != 1:
        raise KeyRefused(why="the RSA modulus has a small factor")
    middle = math.isqrt(modulus - 1) + 1
    for step in range(_FERMAT_ROUNDS):
        rest = (middle + step) ** 2 - modulus
        if math.isqrt(rest) ** 2 == rest:
            raise KeyRefused(why="the factors of the RSA modulus are close to each other")
