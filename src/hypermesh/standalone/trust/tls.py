"""The certificate that the server shows: over TLS 1.3 of the API, DNS over TLS and QUIC.

It is the server's own authority's, renewed in the middle of its life, unless the settings name the
files of another's (`given`), which are read again when they change. Each handshake gets the one of
that moment, so open connections go on and nothing listens anew. Client certificates are asked for,
not demanded; what was revoked is refused when a request comes (`guard`).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from cryptography import x509

from hypermesh.crypto.keystore import KeyStore
from hypermesh.http.tls import context_of, listening
from hypermesh.standalone.trust.errors import CertificateUnusable
from hypermesh.standalone.trust.given import State, read_given, state_of
from hypermesh.standalone.trust.granting import SERVER
from hypermesh.standalone.trust.settings import Settings
from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.issuing import IssuingAuthority, Order
from hypermesh.trustchain.ca.profile import Kind
from hypermesh.trustchain.ca.request import write_request
from hypermesh.trustchain.ca.signer import KeySigner, stored_signer
from hypermesh.trustchain.dns.server import Certificate

SECRET = "tls"


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that can be shown, as the settings `told` ask for it: from when to when it is
    good, in seconds since 1970, and in what state its files were, where it is from files."""

    told: Settings
    certificate: Certificate
    not_before_s: int
    not_after_s: int
    context: ssl.SSLContext
    state: State | None = None

    def is_due(self, now_s: int) -> bool:
        """Whether half of its life is over; of one from files, whether they are others now."""
        if self.state is None:
            return now_s >= (self.not_before_s + self.not_after_s) // 2
        try:
            return state_of(self.told.tls) != self.state
        except CertificateUnusable:
            return True


class ServerCertificate:
    """What the server shows at present, and the context to listen with."""

    def __init__(
        self,
        authority: IssuingAuthority,
        root: bytes,
        settings: Settings,
        keys: KeyStore,
        now_s: int,
    ) -> None:
        """`authority` must be able to issue, below `root` (DER). Raises as `made`."""
        self._authority = authority
        self._root = root
        self._keys = keys
        self._present = self.made(now_s, settings)
        # The first one's own context listens: nothing is shown by it once a client has said hello.
        self.context = listening(self._context(self._present.certificate), self._choose)

    @property
    def certificate(self) -> Certificate:
        """Chain and key, for the name server."""
        return self._present.certificate

    @property
    def not_after_s(self) -> int:
        """When the present certificate ends, seconds since 1970."""
        return self._present.not_after_s

    def is_due(self, now_s: int, settings: Settings | None = None) -> bool:
        """Whether another one is to be shown, as the present settings or these ask."""
        told = self._present.told
        wanted = settings or told
        is_other = (wanted.hosts, wanted.tls) != (told.hosts, told.tls)
        return is_other or self._present.is_due(now_s)

    def renew(self, now_s: int, authority: IssuingAuthority | None = None) -> None:
        """Show another one, of another authority where one is given. Raises as `made`."""
        before = self._authority
        self._authority = authority or before
        try:
            self.show(self.made(now_s, self._present.told))
        except BaseException:
            self._authority = before
            raise

    def made(self, now_s: int, settings: Settings) -> Shown:
        """One as `settings` ask for it. Raises as `IssuingAuthority.issue`, and
        `CertificateUnusable`."""
        if settings.tls.certificate:
            given = read_given(settings.tls, now_s)
            return Shown(
                settings,
                given.certificate,
                given.not_before_s,
                given.not_after_s,
                self._context(given.certificate),
                given.state,
            )
        signer: KeySigner
        signer, _ = stored_signer(self._keys, SECRET, KeyKind.P256, is_hybrid=False)
        request = write_request(signer, x509.Name([]), settings.own_names)
        # The time is the reference: each renewal is an order of its own.
        order = Order(request, Kind.SERVICE, SERVER, reference=now_s.to_bytes(8, "big"))
        issued = self._authority.issue(order, now_s)
        certificate = Certificate(issued.chain[:-1], signer.pkcs8())
        return Shown(
            settings,
            certificate,
            issued.not_before_s,
            issued.not_after_s,
            self._context(certificate),
        )

    def show(self, shown: Shown) -> None:
        """Show it to those who connect from now on."""
        self._present = shown

    def _context(self, certificate: Certificate) -> ssl.SSLContext:
        """A context that shows `certificate`, and asks for clients' of this authority. Raises
        `CertificateUnusable`."""
        try:
            context = context_of(certificate.chain, certificate.key)
        except ssl.SSLError as error:
            raise CertificateUnusable(why=str(error)) from error
        context.verify_mode = ssl.CERT_OPTIONAL
        # A client may send its leaf alone: this authority's issuer is an anchor of its own.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=self._authority.issuer.certificate + self._root)
        return context

    def _choose(self, name: str | None) -> ssl.SSLContext:
        del name
        return self._present.context
