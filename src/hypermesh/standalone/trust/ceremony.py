"""The ceremony in steps, for a root whose key is never on the machine that serves.

    offline                                 online
    -------                                 ------
    root       the root's key and
               certificate
                                            request    settings, log and issuing key here;
                                                       the request in ca/issuing.csr
    certify    <- the request
               the chain, the list    ->    install    the first operator's token

`certify` is also how a list is made anew. Nothing secret is carried. Both sides read one settings
file; what they differ in is found at `install`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.crypto import files
from hypermesh.crypto.files import make_directory
from hypermesh.crypto.keystore import KeyStore
from hypermesh.standalone.trust.errors import AlreadyFounded
from hypermesh.standalone.trust.founding import (
    Directory,
    Founded,
    begun_log,
    completed,
    opened_root,
)
from hypermesh.standalone.trust.settings import Settings, read_settings, written
from hypermesh.standalone.trust.stores import stores_of
from hypermesh.trustchain.ca.ceremony import (
    REQUEST_FILE,
    ROOT_FILE,
    ROOT_LIST_FILE,
    CeremonyRefused,
    found_root,
    install,
    read_pem,
    read_pem_request,
    request_issuing,
)
from hypermesh.trustchain.ca.content import Issuer, Places
from hypermesh.trustchain.ca.names import constraints_of
from hypermesh.trustchain.ca.profile import profile_of
from hypermesh.wire.errors import InvalidInput

CARRIED_BYTES_MAX = 1 << 20


def make_root(root_directory: Path, settings: Settings, passphrase: str | None, now_s: int) -> Path:
    """Make the root in `root_directory`, its key sealed by `passphrase` where there is one; its
    certificate's file. What is there stays."""
    keys = KeyStore(root_directory / "keys", passphrase)
    places = Places(settings.reads_url)
    profile = profile_of(settings.profile)
    found_root(root_directory, keys, settings.name, profile, places, now_s).close()
    return root_directory / ROOT_FILE


def make_request(directory: Directory, settings: Settings) -> Path:
    """Make all that the server keeps but what the root gives; the file with the request. Raises
    `AlreadyFounded`, `DirectoryBusy`."""
    if directory.founded.exists():
        raise AlreadyFounded(f"{directory.path} already holds an authority")
    make_directory(directory.path, 0o700)
    with directory.claimed():
        files.replace(directory.settings, written(settings).encode())
        begun_log(directory, settings)
        signer, second = directory.issuing_keys(profile_of(settings.profile), settings.pkcs11)
        request_issuing(directory.ca, signer, second, settings.name)
    return directory.ca / REQUEST_FILE


def certify(
    root_directory: Path, request: Path, settings: Settings, passphrase: str | None, now_s: int
) -> tuple[Path, Path]:
    """Sign the issuing CA whose request was carried here; the files with its chain and with the
    root's revocation list. Raises `CeremonyRefused` and what reading a request raises."""
    with contextlib.closing(opened_root(root_directory, passphrase)) as root:
        constraints = constraints_of(settings.constraints) if settings.constraints else None
        made = root.certify_issuing(read_pem_request(_carried(request)), now_s, constraints)
        root.revocation_list(now_s, settings.root_list_s)
        serial = x509.load_der_x509_certificate(made).serial_number
    return root_directory / f"issuing-{serial:x}.pem", root_directory / ROOT_LIST_FILE


def install_carried(directory: Directory, chain: Path, root_list: Path, now_s: int) -> Founded:
    """Take up the chain and the list that were carried back, and complete the ceremony. Raises
    `CeremonyRefused` where they are not what was asked for."""
    if directory.founded.exists():
        raise AlreadyFounded(f"{directory.path} already holds an authority")
    settings = read_settings(directory.settings)
    profile = profile_of(settings.profile)
    certificates = read_pem(_carried(chain))
    if len(certificates) != 2:
        raise CeremonyRefused(why="the chain is an issuing CA's certificate and its root's")
    certificate, root = certificates
    listed = _carried(root_list)
    _require_list(listed, root)
    with directory.claimed():
        signer, _ = directory.issuing_keys(profile, settings.pkcs11)
        if Issuer.of(certificate).key_info != signer.public_key:
            raise CeremonyRefused(why="it certifies another key than the one that is here")
        places = Places(settings.reads_url)
        identity = begun_log(directory, settings)
        with contextlib.closing(stores_of(directory, settings).certificates()) as store:
            install(directory.ca, certificate, root, profile, places, now_s, store=store)
        files.replace(directory.ca / ROOT_LIST_FILE, listed)
        root_file = directory.ca / ROOT_FILE
        pem = x509.load_der_x509_certificate(root).public_bytes(Encoding.PEM)
        files.replace(root_file, pem)
        token = completed(directory, settings, now_s)
    return Founded(root, root_file, identity, token)


def _require_list(listed: bytes, root: bytes) -> None:
    try:
        read = x509.load_der_x509_crl(listed)
        key = x509.load_der_x509_certificate(root).public_key()
        is_sound = read.is_signature_valid(key)  # type: ignore[arg-type]  # refused below
    except (ValueError, TypeError) as error:
        raise CeremonyRefused(why=f"the revocation list cannot be read: {error}") from error
    if not is_sound:
        raise CeremonyRefused(why="the revocation list is of another root")


def _carried(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(CARRIED_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read", why=str(error)) from error
    if len(data) > CARRIED_BYTES_MAX:
        raise InvalidInput(f"{file} has more than {CARRIED_BYTES_MAX} bytes")
    return data
