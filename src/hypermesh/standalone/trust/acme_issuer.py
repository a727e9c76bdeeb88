"""The authority as the ACME server needs it (`trustchain.acme.issuer.Issuer`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

from hypermesh.standalone.trust.granting import ACME
from hypermesh.trustchain.acme.authority import HOLDER
from hypermesh.trustchain.acme.identifier import IdentifierKind
from hypermesh.trustchain.acme.issuer import (
    CertificateId,
    CertificateRequest,
    IssuedCertificate,
    RenewalWindow,
)
from hypermesh.trustchain.ca.issuing import IssuingAuthority, Order
from hypermesh.trustchain.ca.names import Name, NameKind, checked
from hypermesh.trustchain.ca.profile import DAY_S, Kind
from hypermesh.trustchain.ca.store import Kept, Reason

PROFILES: Mapping[str, int] = {"service": 7 * DAY_S, "quarter": 90 * DAY_S, "day": DAY_S}
"""The lifetimes that clients may choose (draft-ietf-acme-profiles), in seconds."""


@final
class AcmeIssuer:
    """Issues for ACME accounts. `authority` gives the one that issues at that moment."""

    def __init__(self, authority: Callable[[], IssuingAuthority]) -> None:
        self._authority = authority

    @property
    def profiles(self) -> Mapping[str, str]:
        return {
            name: f"TLS servers, {lifetime_s // DAY_S} days"
            for name, lifetime_s in PROFILES.items()
        }

    def issue(self, request: CertificateRequest, now_s: int) -> Sequence[bytes]:
        names: list[Name] = [
            checked(NameKind.DNS if each.kind is IdentifierKind.DNS else NameKind.IP, each.value)
            for each in request.identifiers
        ]
        order = Order(
            request.csr,
            Kind.SERVICE,
            f"{ACME}{request.account}",
            tuple(names),
            request.order.encode()[:64],
            PROFILES[request.profile],
        )
        return self._authority().issue(order, now_s).chain[:-1]

    def find(self, certificate: CertificateId) -> IssuedCertificate | None:
        kept = self._kept(certificate)
        if kept is None or kept.recording is None:
            return None
        account = kept.requester.removeprefix(ACME) if kept.requester.startswith(ACME) else None
        return IssuedCertificate(
            kept.recording.certificate, account, is_revoked=kept.revoked_s is not None
        )

    def revoke(
        self, certificate: CertificateId, account: str | None, reason: int, now_s: int
    ) -> None:
        kept = self._kept(certificate)
        if kept is not None:
            actor = HOLDER if account is None else f"{ACME}{account}"
            self._authority().revoke(kept.serial, Reason(reason), now_s, actor)

    def renewal_window(self, certificate: CertificateId, now_s: int) -> RenewalWindow | None:
        kept = self._kept(certificate)
        if kept is None:
            return None
        window = self._authority().renewal(kept.serial, now_s)
        return RenewalWindow(window.start_s, window.end_s)

    def _kept(self, certificate: CertificateId) -> Kept | None:
        kept = self._authority().store.by_serial(certificate.serial)
        return kept if kept is not None and kept.issuer == certificate.authority else None
