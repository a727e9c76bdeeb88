"""The data directory, and the ceremony that fills it.

    trustchain.toml     the settings
    founded             that the ceremony is complete, and of which version it is
    keys/               the issuing CA's key, the logs', the zones', that of the server's own TLS
    ca/                 the issuing CA: its store, its certificate, the root's revocation list
    log/                the two transparency logs
    dns/, acme/         zones; orders
    witness/            what this server cosigned of others' logs, and its key for that
    tokens              who may use the API
    root/               the root CA, unless the ceremony is told another directory

A ceremony that was cut off is held again and completes; what is there is used, not replaced.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.crypto import files
from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.files import make_directory
from hypermesh.crypto.keystore import KeyStore
from hypermesh.standalone.trust.errors import (
    AlreadyFounded,
    DirectoryBusy,
    NotFounded,
    SettingsInvalid,
)
from hypermesh.standalone.trust.pin import read_pin
from hypermesh.standalone.trust.settings import FILE, Pkcs11, Settings, written
from hypermesh.standalone.trust.stores import stores_of
from hypermesh.standalone.trust.tokens import LIFETIME_S_DEFAULT, Role, Tokens
from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.audit import Entry
from hypermesh.trustchain.ca.ceremony import (
    ISSUING_FILE,
    ROOT_FILE,
    ROOT_LIST_FILE,
    Root,
    found_root,
    install,
    open_root,
    request_issuing,
)
from hypermesh.trustchain.ca.content import Places
from hypermesh.trustchain.ca.names import constraints_of
from hypermesh.trustchain.ca.profile import Profile, profile_of
from hypermesh.trustchain.ca.signer import Signer, stored_alternative, stored_signer
from hypermesh.trustchain.ca.store import CertificateStore
from hypermesh.trustchain.ct.checkpoint import LogIdentity
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import Forbidden
from hypermesh.wire.ids import Hash

VERSION = b"1\n"
ISSUING_SECRET = "issuing"
LOCK_FILE = "server.lock"


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the parts of a server lie below `path`."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / FILE

    @property
    def founded(self) -> Path:
        return self.path / "founded"

    @property
    def keys(self) -> KeyStore:
        return KeyStore(self.path / "keys")

    @property
    def ca(self) -> Path:
        return self.path / "ca"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def dns(self) -> Path:
        return self.path / "dns"

    @property
    def acme(self) -> Path:
        return self.path / "acme"

    @property
    def witness(self) -> Path:
        return self.path / "witness"

    @property
    def tokens(self) -> Path:
        return self.path / "tokens"

    @property
    def root(self) -> Path:
        return self.path / "root"

    def require_founded(self) -> None:
        """Raise `NotFounded` where no ceremony was completed here."""
        if not self.founded.exists():
            raise NotFounded(f"There is no authority in {self.path}")

    def issuing_certificate(self) -> x509.Certificate:
        """That of the issuing CA that is installed. Raises `NotFounded`."""
        return self._chain()[0]

    def root_certificate(self) -> bytes:
        """The root that this server trusts, DER. Raises `NotFounded`."""
        return self._chain()[-1].public_bytes(Encoding.DER)

    def _chain(self) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates((self.ca / ISSUING_FILE).read_bytes())
        except (OSError, ValueError) as error:
            raise NotFounded(f"{self.ca / ISSUING_FILE} cannot be used", why=str(error)) from error

    def issuing_keys(
        self, profile: Profile, pkcs11: Pkcs11, name: str | None = None
    ) -> tuple[Signer, FalconKey | None]:
        """The keys of the issuing CA that is installed now, or those called `name`: in the token
        that the settings name, else in the key store; new ones where there are none yet. Raises
        `SignerUnusable`, `SettingsInvalid`."""
        name = name or self.issuing_secret()
        if not pkcs11.module:
            return stored_signer(self.keys, name, profile.issuing, is_hybrid=profile.is_hybrid)
        from hypermesh.trustchain.ca.token import TokenSigner

        if profile.issuing is not KeyKind.P256:
            raise SettingsInvalid(f"A token holds no {profile.issuing} key here")
        label = pkcs11.key + name.removeprefix(ISSUING_SECRET)
        signer = TokenSigner.open(pkcs11.module, pkcs11.token, read_pin(pkcs11), label)
        return signer, stored_alternative(self.keys, name) if profile.is_hybrid else None

    def issuing_secret(self) -> str:
        """What the present issuing key is called: each rotation begins another name."""
        named = self.path / "issuing-key"
        return named.read_text().strip() if named.exists() else ISSUING_SECRET

    def name_issuing_secret(self, name: str) -> None:
        """Call the issuing key `name` from now on, durably."""
        files.replace(self.path / "issuing-key", f"{name}\n".encode())

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the directory for this process. Raises `DirectoryBusy`."""
        claim = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DirectoryBusy(f"Another process uses {self.path}") from error
            yield
        finally:
            os.close(claim)


@dataclass(frozen=True, slots=True)
class Founded:
    """What the ceremony made. `token` is an operator's, shown this once."""

    root: bytes
    root_file: Path
    log: LogIdentity
    token: str

    @property
    def pin(self) -> Hash:
        return fingerprint(self.root)


def found(
    directory: Directory,
    settings: Settings,
    root_directory: Path,
    passphrase: str | None,
    now_s: int,
) -> Founded:
    """Hold the ceremony. The root's key goes to `root_directory`, sealed by `passphrase` where
    there is one. Raises `AlreadyFounded`, `DirectoryBusy`."""
    if directory.founded.exists():
        raise AlreadyFounded(f"{directory.path} already holds an authority")
    make_directory(directory.path, 0o700)
    with directory.claimed():
        files.replace(directory.settings, written(settings).encode())
        profile = profile_of(settings.profile)
        places = Places(settings.reads_url)
        keys = KeyStore(root_directory / "keys", passphrase)
        root = found_root(root_directory, keys, settings.name, profile, places, now_s)
        stores = stores_of(directory, settings)
        try:
            identity = begun_log(directory, settings)
            with contextlib.closing(stores.certificates()) as store:
                _below(directory, root, settings, places, store, now_s)
            certificate = root.certificate
        finally:
            root.close()
        token = completed(directory, settings, now_s)
    return Founded(certificate, root_directory / ROOT_FILE, identity, token)


def begun_log(directory: Directory, settings: Settings) -> LogIdentity:
    """Whose log it is: made where it is not there yet. The first step, for it refuses a database
    that holds another authority's."""
    store = stores_of(directory, settings).log
    logs = TransparencyLogs(directory.log, directory.keys, settings.origin, store=store)
    identity = logs.certificates.identity
    logs.close()
    return identity


def completed(directory: Directory, settings: Settings, now_s: int) -> str:
    """The last step: the first operator's token, and the mark that all is there."""
    token, kept = Tokens(directory.tokens).create(
        "first operator", Role.OPERATOR, (), now_s, LIFETIME_S_DEFAULT
    )
    with contextlib.closing(stores_of(directory, settings).certificates()) as store:
        store.append(Entry(now_s, "ceremony", "token.create", kept.id, encode(kept.label)))
    files.replace(directory.founded, VERSION)
    return token


def opened_root(root_directory: Path, passphrase: str | None) -> Root:
    """The root that the ceremony left in `root_directory`."""
    return open_root(root_directory, KeyStore(root_directory / "keys", passphrase))


def carry_root_list(directory: Directory, root: Root, settings: Settings, now_s: int) -> None:
    """Make the root's revocation list anew and put it where the server serves it."""
    if root.certificate != directory.root_certificate():
        raise Forbidden("This is the root of another authority")
    files.replace(directory.ca / ROOT_LIST_FILE, root.revocation_list(now_s, settings.root_list_s))


def _below(
    directory: Directory,
    root: Root,
    settings: Settings,
    places: Places,
    store: CertificateStore,
    now_s: int,
) -> None:
    signer, second = directory.issuing_keys(root.profile, settings.pkcs11)
    request = request_issuing(directory.ca, signer, second, settings.name)
    constraints = constraints_of(settings.constraints) if settings.constraints else None
    certificate = root.certify_issuing(request, now_s, constraints)
    install(directory.ca, certificate, root.certificate, root.profile, places, now_s, store=store)
    files.replace(directory.ca / ROOT_LIST_FILE, root.revocation_list(now_s, settings.root_list_s))
