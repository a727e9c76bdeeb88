"""FALCON-1024 by itself, for what has another classical signature beside it: certificates.

Round 3, signatures padded to 1280 bytes. Everything else signs with `signature.sign`.
"""

from __future__ import annotations

from typing import NoReturn, final

from hypermesh import _native
from hypermesh.crypto.keys import KeyInvalid

PUBLIC_BYTES = 1793
SECRET_BYTES = 2305
SIGNATURE_BYTES = 1280


@final
class FalconKey:
    """A FALCON-1024 signing key. The secret stays in native memory."""

    __slots__ = ("_secret",)

    def __init__(self, secret: _native.FalconKey) -> None:
        self._secret = secret

    @classmethod
    def generate(cls) -> FalconKey:
        """A new key from the operating system's random bytes."""
        return cls(_native.FalconKey.generate())

    @classmethod
    def from_secret_bytes(cls, secret: bytes) -> FalconKey:
        """The key that `secret_bytes` gave; raises `KeyInvalid` for anything else."""
        try:
            return cls(_native.FalconKey.from_bytes(secret))
        except ValueError as error:
            raise KeyInvalid("This is no FALCON-1024 key", why=str(error)) from error

    @property
    def public(self) -> bytes:
        """The public key, 1793 bytes."""
        return self._secret.public

    def secret_bytes(self) -> bytes:
        """The secret key, 2305 bytes; the public key follows from it."""
        return self._secret.secret_bytes()

    def sign(self, message: bytes) -> bytes:
        """A signature over `message`, 1280 bytes; another one each time."""
        return self._secret.sign(message)

    def __repr__(self) -> str:
        return f"FalconKey(public={self.public[:8].hex()}...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secret keys are not pickled; store them in a KeyStore")


def holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` verifies; bytes of any length may be given."""
    return _native.falcon_verify(public, message, signature)
