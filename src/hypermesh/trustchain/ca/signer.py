"""What the authority signs with: the seam between it and where its key lives.

A signer shows its public key and signs bytes. It never gives the secret, so one over a hardware
token (`token`) serves like one over a file of the key store.
"""

from __future__ import annotations

from typing import Protocol, final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ca.algorithm import SIGNATURES, KeyKind, SignatureAlgorithm, key_info
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError


class SignerUnusable(HyperMeshError):
    """The key of the authority is not there, is of another kind, or its token does not answer."""

    code = "HM-TRUST-0115"
    status = 503
    exit_code = 3
    title = "The authority's key cannot be used"


class Signer(Protocol):
    """Signs with one key. May be called from several threads."""

    @property
    def kind(self) -> KeyKind: ...

    @property
    def public_key(self) -> bytes:
        """The SubjectPublicKeyInfo, DER."""

    @property
    def algorithm(self) -> SignatureAlgorithm: ...

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, as a certificate holds it. Raises `SignerUnusable`."""


class AuthoritySecret(msgspec.Struct, frozen=True, array_like=True):
    """An authority's keys in the key store: one as PKCS#8 (empty where a token has it), and a
    FALCON-1024 key (raw) where the profile is hybrid."""

    pkcs8: bytes
    falcon: bytes | None


_PrivateKey = (
    ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)


@final
class KeySigner:
    """Signs with a key in this process's memory."""

    __slots__ = ("_algorithm", "_key", "_kind", "_public_key")

    def __init__(self, key: _PrivateKey, kind: KeyKind) -> None:
        self._key = key
        self._kind = kind
        self._algorithm = SIGNATURES[kind][0]
        self._public_key = key_info(key.public_key())

    @classmethod
    def generate(cls, kind: KeyKind) -> KeySigner:
        """A new key from the operating system's random bytes."""
        return cls(_generated(kind), kind)

    @classmethod
    def from_pkcs8(cls, pkcs8: bytes, kind: KeyKind) -> KeySigner:
        """The key that `pkcs8` gave; raises `SignerUnusable` where it is not of `kind`."""
        try:
            key = load_der_private_key(pkcs8, None)
        except ValueError as error:
            raise SignerUnusable(why=str(error)) from error
        if not isinstance(key, _PrivateKey) or _kind_of_private(key) is not kind:
            raise SignerUnusable(why=f"it is not a {kind} key")
        return cls(key, kind)

    @property
    def kind(self) -> KeyKind:
        return self._kind

    @property
    def public_key(self) -> bytes:
        return self._public_key

    @property
    def algorithm(self) -> SignatureAlgorithm:
        return self._algorithm

    def sign(self, message: bytes) -> bytes:
        key, digest = self._key, self._algorithm.digest
        if isinstance(key, ec.EllipticCurvePrivateKey):
            if digest is None:
                raise SignerUnusable(why="ECDSA needs a digest")
            return key.sign(message, ec.ECDSA(digest))
        return key.sign(message)

    def pkcs8(self) -> bytes:
        """The secret key, for the key store."""
        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def __repr__(self) -> str:
        return f"KeySigner({self._kind})"


def stored_signer(
    keys: KeyStore, name: str, kind: KeyKind, *, is_hybrid: bool
) -> tuple[KeySigner, FalconKey | None]:
    """The keys called `name` in `keys`; new ones, durable, where there are none yet."""
    if name not in keys:
        fresh = KeySigner.generate(kind).pkcs8()
        inner = FalconKey.generate().secret_bytes() if is_hybrid else None
        keys.put(name, encode(AuthoritySecret(fresh, inner)))
    secret = decode(AuthoritySecret, keys.get(name))
    if is_hybrid != (secret.falcon is not None):
        raise SignerUnusable(why=f"the secret {name!r} is that of another profile")
    inner_key = None if secret.falcon is None else FalconKey.from_secret_bytes(secret.falcon)
    return KeySigner.from_pkcs8(secret.pkcs8, kind), inner_key


def stored_alternative(keys: KeyStore, name: str) -> FalconKey:
    """The FALCON-1024 key called `name` beside a key in a token; a new one, durable, where there
    is none yet."""
    if name not in keys:
        keys.put(name, encode(AuthoritySecret(b"", FalconKey.generate().secret_bytes())))
    secret = decode(AuthoritySecret, keys.get(name))
    if secret.pkcs8 or secret.falcon is None:
        raise SignerUnusable(why=f"the secret {name!r} is not a FALCON-1024 key alone")
    return FalconKey.from_secret_bytes(secret.falcon)


def _generated(kind: KeyKind) -> _PrivateKey:
    match kind:
        case KeyKind.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyKind.ML_DSA_44:
            return mldsa.MLDSA44PrivateKey.generate()
        case KeyKind.ML_DSA_65:
            return mldsa.MLDSA65PrivateKey.generate()
        case KeyKind.ML_DSA_87:
            return mldsa.MLDSA87PrivateKey.generate()
        case KeyKind.RSA:
            raise SignerUnusable(why="an authority has no RSA key")


def _kind_of_private(key: _PrivateKey) -> KeyKind | None:
    match key:
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
            return KeyKind.P256
        case ec.EllipticCurvePrivateKey(curve=ec.SECP384R1()):
            return KeyKind.P384
        case ed25519.Ed25519PrivateKey():
            return KeyKind.ED25519
        case mldsa.MLDSA44PrivateKey():
            return KeyKind.ML_DSA_44
        case mldsa.MLDSA65PrivateKey():
            return KeyKind.ML_DSA_65
        case mldsa.MLDSA87PrivateKey():
            return KeyKind.ML_DSA_87
        case _:
            return None
