"""The emergency: an issuing CA is compromised, and another takes its place.

The root must be at hand, for nothing else can revoke an issuing CA. Every step is durable and can
be repeated, so a rotation that was cut off is run again with the same new key and completes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from hypermesh.crypto import files
from hypermesh.crypto.falcon import FalconKey
from hypermesh.trustchain.ca.audit import Entry
from hypermesh.trustchain.ca.ceremony import ROOT_LIST_FILE, Root, install, request_issuing
from hypermesh.trustchain.ca.content import key_identifier
from hypermesh.trustchain.ca.issuing import IssuerMissing, Settings
from hypermesh.trustchain.ca.lists import ROOT_VALIDITY_S
from hypermesh.trustchain.ca.signer import Signer
from hypermesh.trustchain.ca.sqlite_store import SqliteStore
from hypermesh.trustchain.ca.store import CertificateStore, Reason
from hypermesh.wire.codec import decode


@dataclass(frozen=True, slots=True)
class Rotation:
    """The new issuing certificate and the root's revocation list, both DER."""

    certificate: bytes
    revocation_list: bytes


def rotate(
    root: Root,
    directory: Path,
    signer: Signer,
    second: FalconKey | None,
    now_s: int,
    actor: str,
    list_validity_s: int = ROOT_VALIDITY_S,
    store: CertificateStore | None = None,
) -> Rotation:
    """Replace the issuing CA of `directory` by one with the key `signer` (and `second`).

    First nothing more is believed: the root revokes the old CA (reason CA_COMPROMISE), and its list
    lies in `directory` to be served. Then the new one is installed, with the old one's settings and
    name constraints, and all that the old one issued is to be renewed at once (`renewal` of the
    authority). `store` is what keeps it, where that is not a file in `directory`. Raises
    `IssuerMissing`.
    """
    kept = store or SqliteStore(directory)
    try:
        fresh = key_identifier(signer.public_key)
        old = next((each for each in kept.authorities() if each.key_id != fresh), None)
        if old is None:
            raise IssuerMissing(why="there is none to replace")
        parsed = x509.load_der_x509_certificate(old.certificate)
        root.revoke(parsed.serial_number, Reason.CA_COMPROMISE, now_s)
        revocation_list = root.revocation_list(now_s, list_validity_s)
        files.replace(directory / ROOT_LIST_FILE, revocation_list)
        kept.retire(
            old.key_id,
            now_s,
            is_compromised=True,
            entry=Entry(now_s, actor, "ca.retire", old.key_id.hex(), b"compromised"),
        )
    finally:
        if store is None:
            kept.close()
    settings = decode(Settings, old.settings)
    constraints = next(
        (
            extension.value
            for extension in parsed.extensions
            if isinstance(extension.value, x509.NameConstraints)
        ),
        None,
    )
    request = request_issuing(directory, signer, second, root.organization)
    certificate = root.certify_issuing(request, now_s, constraints)
    install(
        directory,
        certificate,
        root.certificate,
        root.profile,
        settings.places,
        now_s,
        settings.shards,
        actor,
        store,
    )
    return Rotation(certificate, revocation_list)
