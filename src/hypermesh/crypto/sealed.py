"""A file sealed by a passphrase, written and read as a stream in bounded memory.

    file  = magic | length u16 | encoded Header | digest "sealed" of these | chunk ... | last chunk
    chunk = AES-256-GCM of up to 1 MiB, with its tag; associated data: the digest before it
    nonce = 7 bytes derived with the key | number of the chunk u32 | 1 for the last chunk, else 0

The nonces are those of STREAM (Hoang, Reyhanitabar, Rogaway, Vizar, "Online
Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015): a chunk that was
altered, moved, left out or cut off, and anything after the last, is refused. Every byte read has
been authenticated.
"""

from __future__ import annotations

import hmac
import io
from typing import Annotated, BinaryIO, final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta

from hypermesh.crypto.digest import digest
from hypermesh.crypto.passphrase import PassphraseWrong, Seal, derived
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.errors import HyperMeshError, InvalidInput

CHUNK_BYTES = 1 << 20
CHUNKS_MAX = 1 << 32
PASSPHRASE_CHARACTERS_MIN = 8

_MAGIC = b"hm-sealed\n"
_LENGTH_BYTES = 2
_DIGEST_BYTES = 32
_KEY_BYTES = 32
_PREFIX_BYTES = 7
_CHECK_BYTES = 16
_TAG_BYTES = 16


class SealedDamaged(HyperMeshError):
    """The file is no sealed file, was cut short, or was altered."""

    code = "HM-CRYPTO-0020"
    exit_code = 9
    title = "The sealed file is damaged"
    remedy = "Use another copy of it"


class Header(msgspec.Struct, frozen=True, array_like=True):
    """How the key comes from the passphrase. `check` is derived beside the key and tells a wrong
    passphrase from damage."""

    version: Annotated[int, Meta(ge=1, le=1)]
    seal: Seal
    check: Annotated[bytes, Meta(min_length=_CHECK_BYTES, max_length=_CHECK_BYTES)]


@final
class Sealer:
    """Seals what is written into `target`. The file is whole only when `close` has returned."""

    def __init__(self, target: BinaryIO, passphrase: str) -> None:
        """Raises `InvalidInput` for a passphrase that is too short."""
        require_passphrase(passphrase)
        seal = Seal.fresh()
        key, prefix, check = _keys(seal, passphrase)
        head = encode(Header(1, seal, check))
        start = _MAGIC + len(head).to_bytes(_LENGTH_BYTES, "big") + head
        self._bound = digest("sealed", start)
        target.write(start + self._bound)
        self._target = target
        self._cipher = AESGCM(key)
        self._prefix = prefix
        self._number = 0
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:
            self._put(bytes(self._waiting[:CHUNK_BYTES]), is_last=False)
            del self._waiting[:CHUNK_BYTES]

    def close(self) -> None:
        """Write the last chunk."""
        self._put(bytes(self._waiting), is_last=True)
        self._waiting.clear()

    def _put(self, chunk: bytes, *, is_last: bool) -> None:
        nonce = _nonce(self._prefix, self._number, is_last=is_last)
        self._target.write(self._cipher.encrypt(nonce, chunk, self._bound))
        self._number += 1


@final
class Unsealer:
    """Reads what was sealed. `read` returns authenticated bytes only."""

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        """Raises `SealedDamaged` or `PassphraseWrong`."""
        start = source.read(len(_MAGIC) + _LENGTH_BYTES)
        if not start.startswith(_MAGIC) or len(start) < len(_MAGIC) + _LENGTH_BYTES:
            raise SealedDamaged("This is not a sealed file", fix="Give the file of `hm backup`")
        head = source.read(int.from_bytes(start[len(_MAGIC) :], "big"))
        self._bound = source.read(_DIGEST_BYTES)
        if digest("sealed", start + head) != self._bound:
            raise SealedDamaged(why="its header is not what was written")
        try:
            header = decode(Header, head)
        except Undecodable as error:
            raise SealedDamaged(
                "The sealed file is from another version of HyperMesh", why=error.why
            ) from error
        key, self._prefix, check = _keys(header.seal, passphrase)
        if not hmac.compare_digest(check, header.check):
            raise PassphraseWrong("The passphrase does not open this file")
        self._source = source
        self._cipher = AESGCM(key)
        self._number = 0
        self._ahead = source.read(CHUNK_BYTES + _TAG_BYTES)
        self._open = io.BytesIO()
        self._ended = False

    def read(self, length: int) -> bytes:
        """Exactly `length` bytes; fewer at the end alone. Raises `SealedDamaged`."""
        parts: list[bytes] = []
        while length > 0:
            part = self._open.read(length)
            if not part:
                if self._ended:
                    break
                self._open = io.BytesIO(self._next())
                continue
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _next(self) -> bytes:
        chunk, self._ahead = self._ahead, self._source.read(CHUNK_BYTES + _TAG_BYTES)
        self._ended = not self._ahead
        nonce = _nonce(self._prefix, self._number, is_last=self._ended)
        try:
            opened = self._cipher.decrypt(nonce, chunk, self._bound)
        except InvalidTag:
            raise SealedDamaged(
                why=f"its part {self._number + 1} was altered, or the rest is missing"
            ) from None
        self._number += 1
        return opened


def require_passphrase(passphrase: str) -> None:
    """Raises `InvalidInput` where `passphrase` is too short to protect anything."""
    if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        raise InvalidInput(
            "The passphrase is too short",
            why=f"it has {len(passphrase)} characters; at least {PASSPHRASE_CHARACTERS_MIN} count",
            fix="Use several words that you can remember",
        )


def _keys(seal: Seal, passphrase: str) -> tuple[bytes, bytes, bytes]:
    material = derived(seal, passphrase, _KEY_BYTES + _PREFIX_BYTES + _CHECK_BYTES)
    prefix_end = _KEY_BYTES + _PREFIX_BYTES
    return material[:_KEY_BYTES], material[_KEY_BYTES:prefix_end], material[prefix_end:]


def _nonce(prefix: bytes, number: int, *, is_last: bool) -> bytes:
    if number >= CHUNKS_MAX:
        raise InvalidInput("A sealed file cannot have more than 4 PiB")
    return prefix + number.to_bytes(4, "big") + bytes([is_last])
