"""A certificate of another authority that the server shows, from files of the operator's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from hypermesh.standalone.trust.errors import CertificateUnusable
from hypermesh.standalone.trust.private_file import read_private
from hypermesh.standalone.trust.settings import TlsFiles
from hypermesh.trustchain.ca.algorithm import UNREADABLE, KeyKind, KeyRefused, kind_of
from hypermesh.trustchain.dns.server import Certificate

FILE_BYTES_MAX = 256 * 1024
CHAIN_MAX = 16
SIGNING = frozenset({KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA})
"""Keys by which every TLS library here signs. OpenSSL 3.0 and rustls sign by no ML-DSA."""

State = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Given:
    """`certificate` is good from `not_before_s` to `not_after_s`, seconds since 1970. `state` is
    that of the files before they were read."""

    certificate: Certificate
    not_before_s: int
    not_after_s: int
    state: State


def state_of(files: TlsFiles) -> State:
    """What tells whether the files are others than before. Raises `CertificateUnusable`."""
    return tuple(_states(files))


def read_given(files: TlsFiles, now_s: int) -> Given:
    """The certificate that `files` hold. Raises `CertificateUnusable`."""
    state = state_of(files)
    chain = _chain(Path(files.certificate))
    key = _key(Path(files.key))
    leaf = chain[0]
    try:
        public = leaf.public_key()
        kind = kind_of(public)
    except (*UNREADABLE, KeyRefused) as error:
        raise CertificateUnusable(
            f"The key in {files.certificate} is not taken", why=str(error)
        ) from error
    if kind not in SIGNING:
        raise CertificateUnusable(
            f"{files.certificate} has a {kind} key",
            why="the TLS libraries here do not sign by it",
            fix=f"Have one with a key of {', '.join(sorted(SIGNING))}",
        )
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*spki) != key.public_key().public_bytes(*spki):
        raise CertificateUnusable(
            f"The key in {files.key} is not that of the first certificate in {files.certificate}"
        )
    begin_s = int(leaf.not_valid_before_utc.timestamp())
    end_s = int(leaf.not_valid_after_utc.timestamp())
    if not begin_s <= now_s <= end_s:
        when = "has ended" if now_s > end_s else "is not good yet"
        raise CertificateUnusable(
            f"The certificate in {files.certificate} {when}",
            why=f"it is good from {leaf.not_valid_before_utc} to {leaf.not_valid_after_utc}",
        )
    encoded = tuple(each.public_bytes(Encoding.DER) for each in chain)
    pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Given(Certificate(encoded, pkcs8), begin_s, end_s, state)


def _states(files: TlsFiles) -> Iterator[tuple[int, int, int]]:
    for name in (files.certificate, files.key):
        try:
            status = Path(name).stat()
        except OSError as error:
            raise CertificateUnusable(f"{name} cannot be read", why=str(error)) from error
        yield status.st_ino, status.st_ctime_ns, status.st_size


def _chain(file: Path) -> list[x509.Certificate]:
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX)
    except OSError as error:
        raise CertificateUnusable(f"{file} cannot be read", why=str(error)) from error
    try:
        chain = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CertificateUnusable(f"{file} holds no certificates (PEM)", why=str(error)) from error
    if len(chain) > CHAIN_MAX:
        raise CertificateUnusable(f"{file} holds more than {CHAIN_MAX} certificates")
    return chain


def _key(file: Path) -> PrivateKeyTypes:
    data = read_private(file, FILE_BYTES_MAX, CertificateUnusable)
    try:
        return load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateUnusable(
            f"{file} holds no key (PEM) that can be used", why=str(error)
        ) from error
