"""Partners: another organization's CA, believed by those who believe this root, for the names that
are permitted to it and no others (RFC 5280 section 4.2.1.10).

    partner                                 here, with the root at hand
    -------                                 ---------------------------
    introduction    a request by its
                    issuing CA's key   ->   federate
                                       <-   the certificate, for whoever checks

Readers here put that certificate beside the partner's chain (`openssl verify -untrusted`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.standalone.trust.founding import Directory
from hypermesh.standalone.trust.settings import CONSTRAINTS_MAX, Settings
from hypermesh.trustchain.ca.ceremony import FEDERATION, Root, read_pem_request
from hypermesh.trustchain.ca.names import NOWHERE, constraints_of
from hypermesh.trustchain.ca.profile import FEDERATION_LIFETIME_S, profile_of
from hypermesh.trustchain.ca.request import write_request
from hypermesh.trustchain.ca.store import Reason
from hypermesh.wire.errors import InvalidInput

FILE_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Partner:
    """A partner's CA. `permitted` are subtrees as certificates show them."""

    serial: int
    subject: str
    permitted: tuple[str, ...]
    not_after_s: int
    is_revoked: bool
    file: Path


def introduction(directory: Directory, settings: Settings) -> bytes:
    """The request (PEM) by which another root certifies the issuing CA of `directory`, under the
    name that stands in all it issues."""
    signer, second = directory.issuing_keys(profile_of(settings.profile), settings.pkcs11)
    request = write_request(signer, directory.issuing_certificate().subject, (), second)
    return x509.load_der_x509_csr(request).public_bytes(Encoding.PEM)


def federate(
    root: Root,
    request: Path,
    permitted: Sequence[str],
    now_s: int,
    lifetime_s: int = FEDERATION_LIFETIME_S,
) -> Partner:
    """Certify the CA whose `introduction` is in the file `request`, for names below `permitted`.
    Raises `CeremonyRefused`, `NameRefused` and what reading a request raises."""
    if not 1 <= len(permitted) <= CONSTRAINTS_MAX:
        raise InvalidInput(
            "Say what the partner may certify", fix="--permit dns:partner.example.org"
        )
    if not 1 <= lifetime_s <= FEDERATION_LIFETIME_S:
        raise InvalidInput(f"A partner is certified for 1 to {FEDERATION_LIFETIME_S} seconds")
    try:
        with request.open("rb") as opened:
            text = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(f"{request} cannot be read", why=str(error)) from error
    constraints = constraints_of(permitted)
    made = root.certify_federation(read_pem_request(text), now_s, constraints, lifetime_s)
    return _partner(root, x509.load_der_x509_certificate(made))


def partners(root: Root) -> list[Partner]:
    """All that this root certified, by their ends."""
    found = [
        _partner(root, x509.load_pem_x509_certificates(file.read_bytes())[0])
        for file in root.directory.glob(f"{FEDERATION}-*.pem")
    ]
    return sorted(found, key=lambda each: (each.not_after_s, each.serial))


def drop(root: Root, serial: int, now_s: int) -> None:
    """Believe a partner no more: it stands in the root's next list. Raises `CertificateUnknown`,
    `InvalidInput` where the serial number is no partner's."""
    if serial not in {each.serial for each in partners(root)}:
        raise InvalidInput(f"{serial:x} is no partner of this root", fix="root partners")
    root.revoke(serial, Reason.CESSATION_OF_OPERATION, now_s)


def _partner(root: Root, certificate: x509.Certificate) -> Partner:
    kept = root.store.by_serial(certificate.serial_number)
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    permitted = constraints.permitted_subtrees or ()
    return Partner(
        certificate.serial_number,
        certificate.subject.rfc4514_string(),
        tuple(str(each.value) for each in permitted if each.value != NOWHERE),
        int(certificate.not_valid_after_utc.timestamp()),
        kept is not None and kept.revoked_s is not None,
        root.directory / f"{FEDERATION}-{certificate.serial_number:x}.pem",
    )
