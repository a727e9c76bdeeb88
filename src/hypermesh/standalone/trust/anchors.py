"""Putting a root where programs look for those they trust, and taking it away again.

A bundle is a text file of certificates in PEM; what is put in stands between two lines that name
the root by its SHA-256. The system's store is a directory of such files, and a program that makes
the bundle from them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotFound

BUNDLE_BYTES_MAX = 64 << 20
UPDATE_S = 120


class StoreUnwritable(HyperMeshError):
    """The place of trusted roots cannot be changed, or there is none that is known."""

    code = "HM-TRUST-0213"
    exit_code = 4
    title = "The trusted roots cannot be changed"


@dataclass(frozen=True, slots=True)
class System:
    """Where a distribution keeps local roots, and what makes its bundle from them."""

    directory: Path
    update: tuple[str, ...]


SYSTEMS = (
    System(Path("/usr/local/share/ca-certificates"), ("update-ca-certificates",)),
    System(Path("/etc/pki/ca-trust/source/anchors"), ("update-ca-trust", "extract")),
)


def read_root(file: Path) -> bytes:
    """The root in `file` (PEM), DER. Raises `InvalidInput` where it is no certificate of a CA that
    signed itself."""
    try:
        root = ssl.PEM_cert_to_DER_cert(file.read_text())
        parsed = x509.load_der_x509_certificate(root)
        basic = parsed.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise InvalidInput(f"{file} is no certificate of a root", why=str(error)) from error
    if not basic.ca or parsed.issuer != parsed.subject:
        raise InvalidInput(f"{file} is no certificate of a root")
    return root


def digest(root: bytes) -> str:
    """The SHA-256 by which people know it, hexadecimal."""
    return hashlib.sha256(root).hexdigest()


def added(bundle: str, root: bytes) -> str:
    """`bundle` with `root` at its end, once. Pure."""
    begin, end = _marks(digest(root))
    if begin in bundle:
        return bundle
    line = "" if not bundle or bundle.endswith("\n") else "\n"
    return f"{bundle}{line}{begin}{ssl.DER_cert_to_PEM_cert(root)}{end}"


def removed(bundle: str, sha256: str) -> str:
    """`bundle` without the root that `added` put there. Raises `NotFound`. Pure."""
    begin, end = _marks(sha256)
    before, found, rest = bundle.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise NotFound(f"{sha256[:16]}... was not put here")
    return before + after


def system() -> System:
    """That of this machine. Raises `StoreUnwritable`."""
    for each in SYSTEMS:
        if each.directory.parent.is_dir() and shutil.which(each.update[0]):
            return each
    raise StoreUnwritable(
        "It is not known where this system keeps its roots", fix="Name a file: --bundle FILE"
    )


def change_bundle(file: Path, text: str) -> None:
    """Give the bundle `file` the content `text`, with the rights that it has."""
    fresh = file.with_name(f"{file.name}.hm-new")
    try:
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
        fresh.write_text(text)
        fresh.chmod(mode)
        with fresh.open("rb") as opened:
            os.fsync(opened.fileno())
        fresh.replace(file)
    except OSError as error:
        raise StoreUnwritable(f"{file} cannot be written", why=error.strerror or "") from error


def change_system(place: System, root: bytes | None, sha256: str) -> None:
    """Put `root` into the system's store, or (None) take the one with this digest away."""
    file = place.directory / f"hypermesh-{sha256[:16]}.crt"
    try:
        if root is None:
            if not file.exists():
                raise NotFound(f"{file} is not there")
            file.unlink()
        else:
            place.directory.mkdir(exist_ok=True)
            file.write_text(ssl.DER_cert_to_PEM_cert(root))
        subprocess.run(place.update, check=True, capture_output=True, timeout=UPDATE_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreUnwritable(f"{place.directory} cannot be changed", why=str(error)) from error


def _marks(sha256: str) -> tuple[str, str]:
    return f"# hypermesh root {sha256}\n", f"# end of hypermesh root {sha256[:16]}\n"
