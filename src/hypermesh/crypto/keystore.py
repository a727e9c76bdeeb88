"""A directory of named secrets.

Each secret is one file, mode 0600, in a directory of mode 0700, and is written once: to a temporary
file, synced, then linked to its name, so that a name either is absent or holds a whole secret. With
a passphrase the secret is sealed by AES-256-GCM under an Argon2id key (RFC 9106); without one it
lies in the clear and `protected` says so.

    file = encode(SecretFile) || digest "keystore" of what stands before

The trailing digest tells a damaged file from a wrong passphrase; it protects nothing by itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta

from hypermesh.crypto.digest import digest
from hypermesh.crypto.files import make_directory, sync
from hypermesh.crypto.passphrase import PassphraseWrong, Seal, derived
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.errors import Conflict, Forbidden, HyperMeshError, InvalidInput, NotFound

SECRET_BYTES_MAX = 64 * 1024
FILE_BYTES_MAX = SECRET_BYTES_MAX + 4096

_SUFFIX = ".key"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KEY_BYTES = 32
_NONCE_BYTES = 12
_DIGEST_BYTES = 32


class SecretMissing(NotFound):
    """The key store has no secret of this name."""

    code = "HM-CRYPTO-0004"
    title = "There is no such secret"


class SecretExists(Conflict):
    """A secret of this name is stored already; a secret is never overwritten."""

    code = "HM-CRYPTO-0005"
    title = "There is a secret of this name already"


class SecretExposed(Forbidden):
    """Other users of this machine may read or replace the secret."""

    code = "HM-CRYPTO-0006"
    title = "The secret is open to other users"


class SecretDamaged(HyperMeshError):
    """The file is torn, altered, too large, or is no secret."""

    code = "HM-CRYPTO-0007"
    exit_code = 9
    title = "The secret is damaged"
    remedy = "Restore the file from a backup"


class PassphraseNeeded(HyperMeshError):
    """The secret is sealed and no passphrase was given."""

    code = "HM-CRYPTO-0008"
    status = 401
    exit_code = 4
    title = "The secret needs a passphrase"


class SecretUnprotected(HyperMeshError):
    """A passphrase was given, and the file lies in the clear: it may have been replaced."""

    code = "HM-CRYPTO-0010"
    exit_code = 9
    title = "The secret is not sealed by the passphrase"


class KeyStoreUnavailable(HyperMeshError):
    """The operating system refuses to read or write the key store."""

    code = "HM-CRYPTO-0011"
    exit_code = 3
    title = "The key store cannot be used"


class SecretFile(msgspec.Struct, frozen=True, array_like=True):
    """What a file holds. `body` is the secret, or its ciphertext where there is a `seal`."""

    version: Annotated[int, Meta(ge=1, le=1)]
    name: str
    seal: Seal | None
    body: Annotated[bytes, Meta(max_length=SECRET_BYTES_MAX + 16)]


@final
class KeyStore:
    """Named secrets in the directory `path`, all under one `passphrase` or none.

    Names are 1 to 64 of `a-z 0-9 - _`. Every method that touches a file raises `SecretExposed`
    where other users could reach it and `KeyStoreUnavailable` where the system refuses.
    """

    def __init__(self, path: Path, passphrase: str | None = None) -> None:
        if passphrase == "":
            raise InvalidInput("A passphrase has at least one character")
        self._path = path
        self._passphrase = passphrase

    def __repr__(self) -> str:
        return f"KeyStore({str(self._path)!r})"

    @property
    def protected(self) -> bool:
        """Whether all secrets here are sealed at rest; of an empty store, whether they would be."""
        names = self.names()
        if not names:
            return self._passphrase is not None
        return all(self._read(name).seal is not None for name in names)

    def names(self) -> list[str]:
        """The names of all secrets, sorted."""
        with _system("read", self._path):
            if not self._path.exists():
                return []
            files = (file.name for file in self._path.iterdir() if file.suffix == _SUFFIX)
            stems = (name.removesuffix(_SUFFIX) for name in files)
            return sorted(name for name in stems if _NAME.fullmatch(name))

    def __contains__(self, name: str) -> bool:
        return self._file(name).is_file()

    def get(self, name: str) -> bytes:
        """The secret `name`.

        Raises `SecretMissing`, `SecretDamaged`, `PassphraseNeeded`, `PassphraseWrong` or, where a
        passphrase was given and the file does not need one, `SecretUnprotected`.
        """
        stored = self._read(name)
        if stored.seal is None:
            if self._passphrase is not None:
                raise SecretUnprotected(
                    f"The secret {name!r} is not sealed by the passphrase",
                    why="the file lies in the clear",
                    fix="If you stored it without a passphrase, open the key store without one",
                )
            return stored.body
        if self._passphrase is None:
            raise PassphraseNeeded(f"The secret {name!r} needs a passphrase")
        key, nonce = _derived(stored.seal, self._passphrase)
        try:
            return AESGCM(key).decrypt(nonce, stored.body, _associated(name, stored.seal))
        except InvalidTag:
            raise PassphraseWrong(f"The passphrase does not open the secret {name!r}") from None

    def put(self, name: str, secret: bytes) -> None:
        """Store `secret`; when this returns it is on the disk. Raises `SecretExists`."""
        if not 1 <= len(secret) <= SECRET_BYTES_MAX:
            raise InvalidInput(
                f"A secret of {len(secret)} bytes cannot be stored",
                why=f"1 to {SECRET_BYTES_MAX} bytes fit",
            )
        target = self._file(name)
        head = encode(self._sealed(name, secret))
        with _system("write", self._path):
            make_directory(self._path, 0o700)
            _require_private(self._path, self._path.stat())
            try:
                _create(target, head + digest("keystore", head))
            except FileExistsError:
                raise SecretExists(
                    f"There is a secret {name!r} already",
                    why="a secret is never overwritten",
                    fix=f"Move {target} away first if you no longer need it",
                ) from None

    def _sealed(self, name: str, secret: bytes) -> SecretFile:
        if self._passphrase is None:
            return SecretFile(1, name, None, secret)
        seal = Seal.fresh()
        key, nonce = _derived(seal, self._passphrase)
        body = AESGCM(key).encrypt(nonce, secret, _associated(name, seal))
        return SecretFile(1, name, seal, body)

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"{name[:80]!r} is no name of a secret", why="names are 1 to 64 of a-z 0-9 - _"
            )
        return self._path / f"{name}{_SUFFIX}"

    def _read(self, name: str) -> SecretFile:
        file = self._file(name)
        with _system("read", file):
            try:
                _require_private(self._path, self._path.stat())
                # What is checked is what is read: one descriptor, and never through a link.
                descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                with os.fdopen(descriptor, "rb") as opened:
                    _require_private(file, os.fstat(opened.fileno()))
                    data = opened.read(FILE_BYTES_MAX + 1)
            except FileNotFoundError:
                raise SecretMissing(f"There is no secret {name!r} in {self._path}") from None
        if len(data) > FILE_BYTES_MAX:
            raise SecretDamaged(f"{file} is damaged", why=f"longer than {FILE_BYTES_MAX} bytes")
        head, trailer = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        if digest("keystore", head) != trailer:
            raise SecretDamaged(f"{file} is damaged", why="its digest does not match")
        try:
            stored = decode(SecretFile, head)
        except Undecodable as error:
            raise SecretDamaged(f"{file} is damaged", why=error.why) from error
        if stored.name != name:
            raise SecretDamaged(f"{file} is damaged", why=f"it holds the secret {stored.name!r}")
        return stored


def _derived(seal: Seal, passphrase: str) -> tuple[bytes, bytes]:
    """Key and nonce: the salt is fresh for each file, so each key seals one message and the nonce
    can be derived with it."""
    material = derived(seal, passphrase, _KEY_BYTES + _NONCE_BYTES)
    return material[:_KEY_BYTES], material[_KEY_BYTES:]


def _associated(name: str, seal: Seal) -> bytes:
    return encode((1, name, seal))


def _require_private(path: Path, status: os.stat_result) -> None:
    if status.st_mode & 0o077:
        wanted = "700" if stat.S_ISDIR(status.st_mode) else "600"
        raise SecretExposed(
            f"{path} is open to other users",
            why=f"its mode is {stat.S_IMODE(status.st_mode):04o}",
            fix=f"chmod {wanted} {path}, and make new keys if others may have read it",
        )
    if status.st_uid != os.geteuid():
        raise SecretExposed(
            f"{path} belongs to another user",
            why=f"its owner is {status.st_uid}, this process runs as {os.geteuid()}",
        )


def _create(target: Path, data: bytes) -> None:
    """Make `target` with `data` durably, or raise `FileExistsError` and change nothing."""
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        # Linking refuses an existing name; renaming would replace it.
        os.link(temporary, target)
    finally:
        Path(temporary).unlink()
    sync(target.parent)


@contextlib.contextmanager
def _system(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SecretExposed(f"{path} is a symbolic link") from error
        raise KeyStoreUnavailable(f"Could not {verb} {path}", why=str(error)) from error
