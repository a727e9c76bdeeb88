"""What a running server is made of: the one place that builds the objects and joins them."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cryptography import x509

from hypermesh.standalone.trust.founding import Directory
from hypermesh.standalone.trust.granting import Granting
from hypermesh.standalone.trust.metrics import Metrics
from hypermesh.standalone.trust.recording import POLICY_AGAIN_S, policy_entry
from hypermesh.standalone.trust.settings import Settings, require_changeable
from hypermesh.standalone.trust.stores import stores_of
from hypermesh.standalone.trust.tls import ServerCertificate
from hypermesh.standalone.trust.tokens import Tokens
from hypermesh.standalone.trust.witnesses import Witnesses, known_logs, opened_witness
from hypermesh.trustchain.ca.audit import Entry
from hypermesh.trustchain.ca.ceremony import ROOT_LIST_FILE
from hypermesh.trustchain.ca.content import Issuer
from hypermesh.trustchain.ca.issuing import IssuingAuthority, open_issuing
from hypermesh.trustchain.ca.lists import RevocationLists
from hypermesh.trustchain.ca.ocsp import Responder
from hypermesh.trustchain.ca.profile import profile_of
from hypermesh.trustchain.ca.signer import Signer
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.ct.rfc6962 import Rfc6962

if TYPE_CHECKING:
    from hypermesh.standalone.trust.naming import Naming


@runtime_checkable
class Closing(Protocol):
    """A signer that holds something open: a session with a token."""

    def close(self) -> None: ...


class Parts:
    """The parts over one data directory, open until `close`."""

    def __init__(self, directory: Directory, settings: Settings) -> None:
        """Opens everything, and completes what a crash left half done. Raises `NotFounded` and what
        the parts raise."""
        directory.require_founded()
        self.directory = directory
        self.settings = settings
        self.stores = stores_of(directory, settings)
        self.metrics = Metrics()
        self.tokens = Tokens(directory.tokens)
        self.granting = Granting(settings, self.tokens)
        self.root = directory.root_certificate()
        with contextlib.ExitStack() as opened:
            opened.enter_context(directory.claimed())
            self.logs = TransparencyLogs(
                directory.log, directory.keys, settings.origin, store=self.stores.log
            )
            opened.callback(self.logs.close)
            self.certificates = CertificateRecorder(self.logs)
            self.acts = ActRecorder(self.logs)
            self.witnesses = self._witnesses(settings)
            self.witness = opened_witness(directory, settings)
            opened.callback(self._close_witness)
            self.rfc6962 = Rfc6962(self.logs.certificates, self.certificates, [self.root])
            self._serve(*self._opened())
            opened.callback(lambda: self.authority.close())
            self.authority.complete_all(now_s())
            self.authority.tell()
            self.tls = ServerCertificate(
                self.authority, self.root, settings, directory.keys, now_s()
            )
            self._say_policy(settings)
            self.naming: Naming | None = None
            if settings.dns_place is not None:
                from hypermesh.standalone.trust.naming import Naming

                self.naming = Naming(
                    directory,
                    settings,
                    self.acts,
                    self.tls.certificate,
                    self.root,
                    self.is_good,
                )
                opened.callback(self.naming.close)
            self._opened_parts = opened.pop_all()

    def change(self, settings: Settings) -> None:
        """Obey other settings. Raises `SettingsFixed` where they need a restart, and what the parts
        raise; then the ones before stay."""
        before = self.settings
        require_changeable(before, settings)
        witnesses = self._witnesses(settings)
        known = known_logs(settings)
        self.granting.change(settings)
        try:
            self._say_policy(settings)
            is_due = self.tls.is_due(now_s(), settings)
            shown = self.tls.made(now_s(), settings) if is_due else None
            if self.naming is not None:
                self.naming.change(settings)
        except BaseException:
            self.granting.change(before)
            self._say_policy(before)
            raise
        if shown is not None:
            self.tls.show(shown)
            self._present()
        self.settings = settings
        if settings.witness != before.witness:
            self.witnesses.close()
            self.witnesses = witnesses
        if self.witness is not None:
            self.witness.know(known)

    def reopen(self) -> None:
        """Take up the issuing CA that is installed now, after a rotation; TLS follows."""
        before = self.authority
        fresh, signer = self._opened()
        if fresh.issuer.key_id == before.issuer.key_id:
            _end(fresh, signer)
            return
        try:
            self.tls.renew(now_s(), fresh)
        except BaseException:
            _end(fresh, signer)
            raise
        self._serve(fresh, signer)
        self._present()
        before.close()

    def is_good(self, certificate: bytes) -> bool:
        """Whether `certificate` (DER) is one of this authority's and not revoked."""
        kept = self.authority.find(certificate)
        return kept is not None and kept.revoked_s is None

    def serial_of(self, certificate: bytes) -> int:
        """The serial number in `certificate`, DER."""
        return x509.load_der_x509_certificate(certificate).serial_number

    def note(self, actor: str, kind: str, subject: str, document: bytes = b"") -> None:
        """Put an act of an operator into the audit log, durably."""
        self.authority.store.append(Entry(now_s(), actor, kind, subject, document))

    def root_list(self) -> bytes:
        """The root's revocation list as it was carried here, DER."""
        return (self.directory.ca / ROOT_LIST_FILE).read_bytes()

    def tend(self) -> None:
        """What is due from time to time: the TLS certificate, acts that the log did not take, the
        policy of the day."""
        try:
            if self.tls.is_due(now_s()):
                self.tls.renew(now_s())
                self._present()
        finally:
            self.authority.tell()
            if now_s() - self._policy_said_s >= POLICY_AGAIN_S:
                self._say_policy(self.settings)

    def _say_policy(self, settings: Settings) -> None:
        at_s = now_s()
        self.authority.store.append(policy_entry(settings, at_s))
        self._policy_said_s = at_s

    def _witnesses(self, settings: Settings) -> Witnesses:
        return Witnesses(settings, self.logs.certificates, self.logs.acts, self.metrics)

    def _close_witness(self) -> None:
        if self.witness is not None:
            self.witness.close()

    def _present(self) -> None:
        if self.naming is not None:
            self.naming.present(self.tls.certificate)

    def close(self) -> None:
        self._opened_parts.close()

    def _opened(self) -> tuple[IssuingAuthority, Signer]:
        profile = profile_of(self.settings.profile)
        signer, second = self.directory.issuing_keys(profile, self.settings.pkcs11)
        authority = open_issuing(
            self.directory.ca,
            self.root,
            signer,
            second,
            self.certificates,
            self.granting,
            self.acts,
            self.stores.certificates(),
            self.metrics,
        )
        return authority, signer

    def _serve(self, authority: IssuingAuthority, signer: Signer) -> None:
        self.authority = authority
        self.lists = RevocationLists(authority.store, authority.issuer, signer)
        self.responder = Responder(authority.store, authority.issuer, signer)
        self.root_issuer = Issuer.of(self.root)


def _end(authority: IssuingAuthority, signer: Signer) -> None:
    authority.close()
    if isinstance(signer, Closing):
        signer.close()


def now_s() -> int:
    """Seconds since 1970."""
    return int(time.time())


def data_directory(given: Path | None, environment: str | None) -> Directory:
    """Where the server's data are: as given, else under the service manager's."""
    from hypermesh.wire.errors import InvalidInput

    place = given or (Path(environment) if environment else None)
    if place is None:
        raise InvalidInput(
            "It is not said where the data are",
            fix="Give --data, or set StateDirectory= in the unit",
        )
    return Directory(place.expanduser().absolute())
