"""The root, offline, and what is carried between it and the issuing CA.

    offline directory                         online directory
    -----------------                         ----------------
    found_root       root.pem, sealed key
                                              request_issuing   issuing.csr, its key here or
                                                                in a token
    Root.certify_issuing     <- issuing.csr
                             issuing.pem ->   install           open_issuing

Nothing secret is carried. The root keeps what it signed, what it revoked and its audit log in a
store of its own, and signs each issuing key once: the same request again has the same certificate.
A partner's is signed again for other names, and when its certificate is due or revoked.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.crypto import files
from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain import alternative
from hypermesh.trustchain.ca import content
from hypermesh.trustchain.ca.algorithm import KeyRefused
from hypermesh.trustchain.ca.audit import Entry
from hypermesh.trustchain.ca.authority import CLOCK_SKEW_S, AuthorityMissing
from hypermesh.trustchain.ca.content import Issuer, Places
from hypermesh.trustchain.ca.issuing import CertificateUnknown, Settings
from hypermesh.trustchain.ca.lint import Expected, require_clean
from hypermesh.trustchain.ca.lists import ROOT_VALIDITY_S, RevocationLists
from hypermesh.trustchain.ca.profile import (
    FEDERATION_LIFETIME_S,
    ISSUING_LIFETIME_S,
    ROOT_LIFETIME_S,
    Profile,
    profile_of,
)
from hypermesh.trustchain.ca.renewal import renewal_window
from hypermesh.trustchain.ca.request import Request, read_request, write_request
from hypermesh.trustchain.ca.signer import Signer, stored_signer
from hypermesh.trustchain.ca.sqlite_store import FILE, SqliteStore
from hypermesh.trustchain.ca.store import CertificateStore, Installed, Kept, Reason, Recording
from hypermesh.trustchain.certificate import (
    SERIAL_ENTROPY_BYTES,
    Validity,
    authority_name,
    serial_number,
)
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import Forbidden, InvalidInput
from hypermesh.wire.ids import Hash

ROOT_FILE = "root.pem"
ROOT_LIST_FILE = "root.crl"
REQUEST_FILE = "issuing.csr"
ISSUING_FILE = "issuing.pem"

FEDERATION = "federation"
"""What certificates of partners' CAs are called, in the store and in files."""
_ROOT_SECRET = "root"
_ACTOR = "ceremony"


class CeremonyRefused(Forbidden):
    """What was carried here is not what the ceremony needs."""

    code = "HM-TRUST-0113"
    exit_code = 9
    title = "The ceremony cannot go on with this file"


def found_root(
    directory: Path,
    keys: KeyStore,
    organization: str,
    profile: Profile,
    places: Places,
    now_s: int,
    lifetime_s: int = ROOT_LIFETIME_S,
) -> Root:
    """A new root CA for `organization` in `directory`: its key in `keys` (sealed by their
    passphrase), its certificate in the file `root.pem`, its records. Repeating it completes what a
    crash left half done, and changes nothing that is complete."""
    places.require_sound()
    if not 1 <= len(organization) <= 64:
        raise InvalidInput("The organization has a name of 1 to 64 characters")
    signer, second = stored_signer(keys, _ROOT_SECRET, profile.root, is_hybrid=profile.is_hybrid)
    store = SqliteStore(directory)
    try:
        if not store.authorities():
            validity = Validity(now_s - CLOCK_SKEW_S, now_s + lifetime_s)
            name = authority_name(organization, "Root CA").public_bytes()
            body = content.tbs(
                serial=_serial(),
                algorithm=signer.algorithm.identifier,
                issuer=name,
                validity=validity,
                subject=name,
                key_info=signer.public_key,
                extensions=content.authority_extensions(
                    None,
                    signer.public_key,
                    1,
                    None,
                    None if second is None else second.public,
                ),
            )
            if second is not None:
                body = content.with_alternative(body, second)
            require_clean(
                body,
                Expected(
                    profile,
                    None,
                    signer.algorithm.identifier,
                    None,
                    lifetime_s + CLOCK_SKEW_S,
                    path_length=1,
                ),
            )
            certificate = content.signed(body, signer)
            key_id = content.key_identifier(signer.public_key)
            settings = encode(Settings(profile.name, certificate, places, 1))
            store.install(
                Installed(key_id, certificate, settings, now_s),
                Entry(now_s, _ACTOR, "ca.found", organization, fingerprint(certificate)),
            )
        files.replace(directory / ROOT_FILE, _pem([store.authorities()[-1].certificate]))
    except BaseException:
        store.close()
        raise
    return Root(directory, store, store.authorities()[-1], signer, second)


def open_root(directory: Path, keys: KeyStore) -> Root:
    """The root founded in `directory`; raises `AuthorityMissing` and what `KeyStore.get` raises."""
    if not (directory / FILE).exists() or _ROOT_SECRET not in keys:
        raise AuthorityMissing(f"There is no root CA in {directory}")
    store = SqliteStore(directory)
    installed = store.authorities()
    if not installed:
        store.close()
        raise AuthorityMissing(f"The root CA in {directory} is half made")
    profile = profile_of(decode(Settings, installed[-1].settings).profile)
    signer, second = stored_signer(keys, _ROOT_SECRET, profile.root, is_hybrid=profile.is_hybrid)
    return Root(directory, store, installed[-1], signer, second)


@final
class Root:
    """A root CA whose key is at hand. Open one with `found_root` or `open_root`."""

    def __init__(
        self,
        directory: Path,
        store: SqliteStore,
        installed: Installed,
        signer: Signer,
        second: FalconKey | None,
    ) -> None:
        settings = decode(Settings, installed.settings)
        self._directory = directory
        self._store = store
        self._profile = profile_of(settings.profile)
        self._issuer = Issuer.of(installed.certificate, settings.places)
        self._signer = signer
        self._second = second
        parsed = x509.load_der_x509_certificate(installed.certificate)
        organization = parsed.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        self._organization = str(organization[0].value)

    @property
    def certificate(self) -> bytes:
        """DER."""
        return self._issuer.certificate

    @property
    def directory(self) -> Path:
        """Where its records are, and the file of each CA that it certified: KIND-SERIAL.pem."""
        return self._directory

    @property
    def profile(self) -> Profile:
        return self._profile

    @property
    def organization(self) -> str:
        return self._organization

    @property
    def store(self) -> SqliteStore:
        """What the root signed and revoked, with its audit log."""
        return self._store

    def certify_issuing(
        self,
        request: bytes,
        now_s: int,
        constraints: x509.NameConstraints | None = None,
        lifetime_s: int = ISSUING_LIFETIME_S,
    ) -> bytes:
        """The certificate (DER) of the issuing CA whose request (DER) was carried here.

        The root names it, after its key. Raises the refusals of `read_request` and `KeyRefused`.
        """
        asked = read_request(request)
        number = content.key_identifier(asked.public_key)[:4].hex()
        name = authority_name(self._organization, f"Issuing CA {number}").public_bytes()
        return self._certified("issuing", asked, name, now_s, constraints, lifetime_s)

    def certify_federation(
        self,
        request: bytes,
        now_s: int,
        constraints: x509.NameConstraints,
        lifetime_s: int = FEDERATION_LIFETIME_S,
    ) -> bytes:
        """The certificate (DER) by which those who trust this root trust another organization's
        CA, for the names that `constraints` permit and no further CA.

        Its subject is that of the partner's request. Raises as `certify_issuing`, and
        `CeremonyRefused` where it would be trusted for every name.
        """
        if not constraints.permitted_subtrees:
            raise CeremonyRefused("A partner is trusted for the names that are permitted to it")
        asked = read_request(request)
        subject = x509.load_der_x509_csr(request).subject
        if not list(subject):
            raise CeremonyRefused("The partner's request has no subject")
        name = subject.public_bytes()
        if name == self._issuer.name:
            raise CeremonyRefused("The partner's request has the name of this root")
        return self._certified(FEDERATION, asked, name, now_s, constraints, lifetime_s)

    def revoke(self, serial: int, reason: Reason, now_s: int) -> None:
        """Revoke a CA that this root certified, durably. Raises `CertificateUnknown`."""
        if self._store.by_serial(serial) is None:
            raise CertificateUnknown
        entry = Entry(now_s, _ACTOR, "ca.revoke", f"{serial:x}", encode((int(reason),)))
        self._store.revoke(serial, self._issuer.shard_of(serial), now_s, reason, entry)

    def revocation_list(self, now_s: int, validity_s: int = ROOT_VALIDITY_S) -> bytes:
        """The list (DER) of the CAs that this root revoked, for the issuing side to serve; in the
        file `root.crl` as well. A reader may use it for `validity_s` seconds, and where it keeps
        what it fetched it learns of a revocation as late as that."""
        lists = RevocationLists(
            self._store, self._issuer, self._signer, is_root=True, validity_s=validity_s
        )
        made = lists.complete(0, now_s)
        files.replace(self._directory / ROOT_LIST_FILE, made)
        return made

    def close(self) -> None:
        """Release the files. Nothing is lost without it."""
        self._store.close()

    def _certified(
        self,
        kind: str,
        asked: Request,
        name: bytes,
        now_s: int,
        constraints: x509.NameConstraints | None,
        lifetime_s: int,
    ) -> bytes:
        allowed = {self._profile.issuing, self._profile.root}
        if asked.kind not in allowed:
            raise KeyRefused(why=f"a CA of the profile {self._profile.name} has another key")
        if self._profile.is_hybrid != (asked.falcon_key is not None):
            raise KeyRefused(why="a CA has a FALCON-1024 key in the hybrid profile alone")
        if asked.public_key == self._issuer.key_info:
            raise KeyRefused(why="it is the key of the root")
        # One key, one certificate: signatures of requests differ each time, so they do not count.
        digest = digest_of("ca-certification", (kind, asked.public_key))
        if kind == FEDERATION and constraints is not None:
            digest = self._federation(digest, name, constraints, now_s)
        kept = self._store.find([digest]).get(digest)
        if kept is None:
            kept = self._decided(kind, digest, asked, name, now_s, constraints, lifetime_s)
        if kept.recording is None:
            # A CA's certificate is in no log by itself; it stands in the chain of each entry.
            recording = Recording(kept.draft, -1, now_s * 1000, b"")
            self._store.complete([(kept.serial, recording)], now_s)
        files.replace(
            self._directory / f"{kind}-{kept.serial:x}.pem", _pem([kept.draft, self.certificate])
        )
        return kept.draft

    def _federation(
        self, key: Hash, name: bytes, constraints: x509.NameConstraints, now_s: int
    ) -> Hash:
        """What makes a partner's request the same one again: key, name and constraints, until the
        certificate is to be renewed or was revoked."""
        renewals = 0
        while True:
            wanted = (key, name, constraints.public_bytes(), renewals)
            digest = digest_of("ca-certification", wanted)
            kept = self._store.find([digest]).get(digest)
            if kept is None:
                return digest
            window = renewal_window(
                kept.not_before_s, kept.not_after_s, now_s=now_s, replace_since_s=kept.revoked_s
            )
            if window.start_s > now_s:
                return digest
            renewals += 1

    def _decided(
        self,
        kind: str,
        digest: bytes,
        asked: Request,
        name: bytes,
        now_s: int,
        constraints: x509.NameConstraints | None,
        lifetime_s: int,
    ) -> Kept:
        serial = _serial()
        validity = Validity(now_s - CLOCK_SKEW_S, now_s + lifetime_s)
        algorithm = self._signer.algorithm.identifier
        body = content.tbs(
            serial=serial,
            algorithm=algorithm,
            issuer=self._issuer.name,
            validity=validity,
            subject=name,
            key_info=asked.public_key,
            extensions=content.authority_extensions(
                self._issuer, asked.public_key, 0, constraints, asked.falcon_key
            ),
        )
        if self._second is not None:
            body = content.with_alternative(body, self._second)
        require_clean(
            body,
            Expected(self._profile, self._issuer, algorithm, None, lifetime_s + CLOCK_SKEW_S),
        )
        draft = Kept(
            digest,
            serial,
            self._issuer.key_id,
            kind,
            _ACTOR,
            fingerprint(asked.public_key),
            (),
            now_s,
            validity.not_before_s,
            validity.not_after_s,
            content.signed(body, self._signer),
        )
        return self._store.decide([draft])[0]


def request_issuing(
    directory: Path, signer: Signer, second: FalconKey | None, organization: str
) -> bytes:
    """The request (DER) that is carried to the root, in the file `issuing.csr` as well."""
    name = authority_name(organization, "Issuing CA")
    request = write_request(signer, name, (), second)
    files.make_directory(directory, 0o700)
    pem = x509.load_der_x509_csr(request).public_bytes(Encoding.PEM)
    files.replace(directory / REQUEST_FILE, pem)
    return request


def install(
    directory: Path,
    certificate: bytes,
    root: bytes,
    profile: Profile,
    places: Places,
    now_s: int,
    shards: int = 16,
    actor: str = _ACTOR,
    store: CertificateStore | None = None,
) -> None:
    """Make `certificate` (DER), which `root` (DER) signed, the issuing CA of `directory`; the one
    before it is retired and what it issued stays good. `shards` is of how many parts its revocation
    list has, `store` what keeps it, where that is not a file in `directory`. Raises
    `CeremonyRefused`."""
    places.require_sound()
    issuer = Issuer.of(certificate, places, shards)
    _require_below(certificate, root, profile)
    kept = store or SqliteStore(directory)
    try:
        kept.install(
            Installed(
                issuer.key_id,
                certificate,
                encode(Settings(profile.name, root, places, shards)),
                now_s,
            ),
            Entry(now_s, actor, "ca.install", issuer.key_id.hex(), fingerprint(certificate)),
        )
    finally:
        if store is None:
            kept.close()
    files.replace(directory / ISSUING_FILE, _pem([certificate, root]))


def _require_below(certificate: bytes, root: bytes, profile: Profile) -> None:
    """Raise `CeremonyRefused` unless `root` signed `certificate`, with both keys where it has two,
    to issue end entities."""
    below, above = (x509.load_der_x509_certificate(each) for each in (certificate, root))
    basic = below.extensions.get_extension_for_class(x509.BasicConstraints).value
    if basic.path_length != 0:
        raise CeremonyRefused(why="it is no certificate of an issuing CA")
    for signed, by in ((above, above), (below, above)):
        try:
            signed.verify_directly_issued_by(by)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise CeremonyRefused(why="it does not come from the root that is given") from error
        second = alternative.key_in(by)
        if profile.is_hybrid != (second is not None):
            raise CeremonyRefused(why=f"the root is not of the profile {profile.name}")
        if second is not None and not alternative.holds(signed, second):
            raise CeremonyRefused(why="the root's FALCON-1024 signature does not hold")


def read_pem(data: bytes) -> list[bytes]:
    """The certificates (DER) in a file that was carried; raises `CeremonyRefused`."""
    try:
        return [each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(data)]
    except ValueError as error:
        raise CeremonyRefused(why=str(error)) from error


def read_pem_request(data: bytes) -> bytes:
    """The request (DER) in a file that was carried; raises `CeremonyRefused`."""
    try:
        return x509.load_pem_x509_csr(data).public_bytes(Encoding.DER)
    except ValueError as error:
        raise CeremonyRefused(why=str(error)) from error


def _pem(certificates: Sequence[bytes]) -> bytes:
    return b"".join(
        x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in certificates
    )


def _serial() -> int:
    return serial_number(secrets.token_bytes(SERIAL_ENTROPY_BYTES))
