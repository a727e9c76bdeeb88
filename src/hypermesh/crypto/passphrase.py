"""Keys from passphrases: Argon2id (RFC 9106)."""

from __future__ import annotations

import secrets
import unicodedata
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from msgspec import Meta

from hypermesh.wire.errors import HyperMeshError

# The second recommended option of RFC 9106 section 4; the first wants 2 GiB.
ARGON2_ITERATIONS = 3
ARGON2_LANES = 4
ARGON2_MEMORY_KIB = 64 * 1024

_SALT_BYTES = 16


class PassphraseWrong(HyperMeshError):
    """The file is whole, and this passphrase does not open it."""

    code = "HM-CRYPTO-0009"
    status = 401
    exit_code = 4
    title = "The passphrase is wrong"
    remedy = "Try again with the one that was given when it was sealed; there is no other way in"


class Seal(msgspec.Struct, frozen=True, array_like=True):
    """How Argon2id makes keys from a passphrase. The salt is fresh for each file."""

    salt: Annotated[bytes, Meta(min_length=_SALT_BYTES, max_length=_SALT_BYTES)]
    iterations: Annotated[int, Meta(ge=1, le=16)]
    lanes: Annotated[int, Meta(ge=1, le=16)]
    memory_kib: Annotated[int, Meta(ge=128, le=1 << 20)]

    @classmethod
    def fresh(cls) -> Seal:
        """A new salt, and today's costs."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(salt, ARGON2_ITERATIONS, ARGON2_LANES, ARGON2_MEMORY_KIB)


def derived(seal: Seal, passphrase: str, length: int) -> bytes:
    """`length` bytes of key material. One text has one passphrase, however the keyboard composes
    its accents (NFC)."""
    return Argon2id(
        salt=seal.salt,
        length=length,
        iterations=seal.iterations,
        lanes=seal.lanes,
        memory_cost=seal.memory_kib,
    ).derive(unicodedata.normalize("NFC", passphrase).encode())
