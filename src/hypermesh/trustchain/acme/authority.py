"""The company's issuing authority as the ACME server's `Issuer`.

An ACME profile is an offer: which authority issues, what kind of certificate, how long it lives.
The requester that the authority's policy and audit log know is the account: `acme:` and its id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from hypermesh.trustchain.acme.issuer import (
    CertificateId,
    CertificateRequest,
    IssuedCertificate,
    RenewalWindow,
)
from hypermesh.trustchain.acme.problem import AcmeRefusal
from hypermesh.trustchain.acme.problem import Kind as Problem
from hypermesh.trustchain.ca.issuing import CertificateUnknown, IssuingAuthority, Order
from hypermesh.trustchain.ca.names import Name, Permission, checked
from hypermesh.trustchain.ca.names import NameKind as Naming
from hypermesh.trustchain.ca.policy import Policy
from hypermesh.trustchain.ca.profile import Kind
from hypermesh.trustchain.ca.store import Kept, Reason

REQUESTER = "acme:"
HOLDER = "holder"
"""In the audit log: who has the key of the certificate that is revoked."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What an ACME profile gives. `lifetime_s` is that of the kind, where none is said."""

    authority: IssuingAuthority
    description: str
    kind: Kind = Kind.SERVICE
    lifetime_s: int | None = None


@final
class AccountsMay:
    """A policy for authorities that ACME accounts use: they may have `kinds` for names that
    `permission` allows, on top of what they have shown to control. Of all others `others` judges.
    """

    def __init__(self, permission: Permission, kinds: frozenset[Kind], others: Policy) -> None:
        self._permission = permission
        self._kinds = kinds
        self._others = others

    def require(self, requester: str, kind: Kind, names: Sequence[Name]) -> None:
        if requester.startswith(REQUESTER) and kind in self._kinds:
            self._permission.require(names)
        else:
            self._others.require(requester, kind, names)


@final
class AuthorityIssuer:
    """An `Issuer` by the `offers`, of which the first is that of who asks for none."""

    def __init__(self, offers: Mapping[str, Offer]) -> None:
        self._offers = dict(offers)

    def change(self, offers: Mapping[str, Offer]) -> None:
        """Issue by other offers from now on: after a rotation, say."""
        self._offers = dict(offers)

    @property
    def profiles(self) -> Mapping[str, str]:
        return {name: offer.description for name, offer in self._offers.items()}

    def issue(self, request: CertificateRequest, now_s: int) -> Sequence[bytes]:
        offer = self._offers.get(request.profile)
        if offer is None:
            # The offers were changed since it was ordered.
            raise AcmeRefusal(Problem.INVALID_PROFILE, "The profile of the order is gone")
        names = tuple(checked(Naming(each.kind), each.value) for each in request.identifiers)
        order = Order(
            request.csr,
            offer.kind,
            REQUESTER + request.account,
            names,
            request.order.encode("ascii"),
            offer.lifetime_s,
        )
        # The root is of no use to a client that does not have it already.
        return offer.authority.issue(order, now_s).chain[:-1]

    def find(self, certificate: CertificateId) -> IssuedCertificate | None:
        found = self._kept(certificate)
        if found is None or found[1].recording is None:
            return None
        kept = found[1]
        account = kept.requester.removeprefix(REQUESTER)
        return IssuedCertificate(
            found[1].recording.certificate,
            account if account != kept.requester else None,
            kept.revoked_s is not None,
        )

    def revoke(
        self, certificate: CertificateId, account: str | None, reason: int, now_s: int
    ) -> None:
        found = self._kept(certificate)
        if found is None:
            raise CertificateUnknown
        actor = HOLDER if account is None else f"{REQUESTER}{account}"
        found[0].revoke(certificate.serial, Reason(reason), now_s, actor)

    def renewal_window(self, certificate: CertificateId, now_s: int) -> RenewalWindow | None:
        found = self._kept(certificate)
        if found is None:
            return None
        window = found[0].renewal(certificate.serial, now_s)
        return RenewalWindow(window.start_s, window.end_s)

    def _kept(self, certificate: CertificateId) -> tuple[IssuingAuthority, Kept] | None:
        # Several offers are commonly of one authority.
        for authority in dict.fromkeys(offer.authority for offer in self._offers.values()):
            kept = authority.store.by_serial(certificate.serial)
            if kept is not None and kept.issuer == certificate.authority:
                return authority, kept
        return None
