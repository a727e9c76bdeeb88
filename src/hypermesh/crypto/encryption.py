"""Envelopes: ML-KEM-1024 (FIPS 203) for the key, AES-256-GCM (SP 800-38D) for the bytes.

Key and nonce derive from the shared secret and the encapsulation, so each key seals one message;
`crates/hm-crypto/src/envelope.rs` defines the bytes and argues the nonce.
"""

from __future__ import annotations

from typing import Annotated, NoReturn, final

import msgspec
from msgspec import Meta

from hypermesh import _native
from hypermesh.crypto.keys import KeyInvalid
from hypermesh.wire.codec import SIZE_MAX
from hypermesh.wire.errors import HyperMeshError, InvalidInput

ENVELOPE_V1 = 1
"""ML-KEM-1024 with AES-256-GCM."""

PUBLIC_BYTES = 1568
SECRET_BYTES = 3168
TAG_BYTES = 16
PLAINTEXT_BYTES_MAX = SIZE_MAX - 4096
"""So that an encoded envelope is still a message that listeners read."""


class EnvelopeUnreadable(HyperMeshError):
    """An envelope was sealed for another key or other associated data, or its bytes were altered.

    Authenticated encryption cannot say which.
    """

    code = "HM-CRYPTO-0003"
    status = 400
    exit_code = 9
    title = "The envelope does not open"


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A sealed message. `ciphertext` is 16 bytes longer than the plaintext."""

    algorithm: Annotated[int, Meta(ge=ENVELOPE_V1, le=ENVELOPE_V1)]
    kem: Annotated[bytes, Meta(min_length=1568, max_length=1568)]
    ciphertext: Annotated[
        bytes, Meta(min_length=TAG_BYTES, max_length=PLAINTEXT_BYTES_MAX + TAG_BYTES)
    ]


@final
class QuantumEncryption:
    """A key pair for which anyone who knows `public` can seal bytes. The secret stays native."""

    __slots__ = ("_secret",)

    def __init__(self, secret: _native.EnvelopeKey) -> None:
        self._secret = secret

    @classmethod
    def generate(cls) -> QuantumEncryption:
        """A new pair from the operating system's random bytes."""
        return cls(_native.EnvelopeKey.generate())

    @classmethod
    def from_secret_bytes(cls, secret: bytes) -> QuantumEncryption:
        """The pair that `secret_bytes` gave; raises `KeyInvalid` for anything else."""
        try:
            return cls(_native.EnvelopeKey.from_bytes(secret))
        except ValueError as error:
            raise KeyInvalid("This is no decapsulation key", why=str(error)) from error

    @property
    def public(self) -> bytes:
        """The encapsulation key, 1568 bytes."""
        return self._secret.public

    def secret_bytes(self) -> bytes:
        """The decapsulation key in the encoding of FIPS 203, 3168 bytes."""
        return self._secret.secret_bytes()

    @staticmethod
    def seal(public: bytes, plaintext: bytes, associated: bytes = b"") -> Envelope:
        """`plaintext` for the holder of `public`; opening needs the same `associated` data.

        Raises `KeyInvalid` where `public` is no encapsulation key, `InvalidInput` above
        `PLAINTEXT_BYTES_MAX` bytes.
        """
        if len(plaintext) > PLAINTEXT_BYTES_MAX:
            raise InvalidInput(
                f"{len(plaintext)} bytes are too much for one envelope",
                why=f"at most {PLAINTEXT_BYTES_MAX} fit",
            )
        try:
            kem, ciphertext = _native.envelope_seal(public, plaintext, associated)
        except ValueError as error:
            raise KeyInvalid("This is no encapsulation key", why=str(error)) from error
        return Envelope(ENVELOPE_V1, kem, ciphertext)

    def open(self, envelope: Envelope, associated: bytes = b"") -> bytes:
        """The plaintext; raises `EnvelopeUnreadable`."""
        if envelope.algorithm != ENVELOPE_V1:
            raise EnvelopeUnreadable(why=f"algorithm {envelope.algorithm} is not known here")
        try:
            return self._secret.open(envelope.kem, envelope.ciphertext, associated)
        except _native.EnvelopeUnreadable as error:
            raise EnvelopeUnreadable(why=str(error)) from None

    def __repr__(self) -> str:
        return f"QuantumEncryption(public={self.public[:8].hex()}...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secret keys are not pickled; store them in a KeyStore")
