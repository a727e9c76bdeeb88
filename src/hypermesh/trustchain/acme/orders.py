"""Orders from the first request to the certificate (RFC 8555 sections 7.4 and 7.5)."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from cryptography import x509

from hypermesh.trustchain.acme import caa, csr, jws
from hypermesh.trustchain.acme import identifier as identifiers
from hypermesh.trustchain.acme.encoding import base64url, from_base64url
from hypermesh.trustchain.acme.identifier import Identifier, IdentifierKind
from hypermesh.trustchain.acme.issuance import Issuance
from hypermesh.trustchain.acme.issuer import CertificateId, Issuer
from hypermesh.trustchain.acme.order import (
    Authorization,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    Order,
    OrderStatus,
    accepted,
    aged,
    deactivated,
    finalized,
    opened,
    settled,
)
from hypermesh.trustchain.acme.places import Places, new_id
from hypermesh.trustchain.acme.policy import HOUR_S, Policy
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind, malformed
from hypermesh.trustchain.acme.resolver import Resolver
from hypermesh.trustchain.acme.store import Account, Certificate, Store, Tables
from hypermesh.trustchain.acme.validations import Validations, settle

TOKEN_BYTES = 32
ISSUE_WAIT_S = 10.0
"""How long a finalization waits for its certificate before it answers `processing`."""
CAA_TOGETHER = 8
PAGE = 100


class _Identifier(msgspec.Struct):
    type: str
    value: str


class _NewOrder(msgspec.Struct, rename="camel"):
    identifiers: list[_Identifier]
    not_before: str | None = None
    not_after: str | None = None
    replaces: str | None = None
    profile: str | None = None


class _Finalization(msgspec.Struct):
    csr: str


class _Deactivation(msgspec.Struct):
    status: Literal["deactivated"]


class Orders:
    """The orders of one server."""

    def __init__(
        self,
        store: Store,
        issuer: Issuer,
        resolver: Resolver,
        validations: Validations,
        issuance: Issuance,
        policy: Policy,
        places: Places,
        clock: Callable[[], int],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._resolver = resolver
        self._validations = validations
        self._issuance = issuance
        self._policy = policy
        self._places = places
        self._now_s = clock
        self._pool = pool

    async def new(self, account: Account, payload: bytes) -> tuple[Order, list[Authorization]]:
        """A new order, durable, with its authorizations."""
        asked = jws.decode(_NewOrder, payload, "The order is not complete")
        if asked.not_before is not None or asked.not_after is not None:
            raise malformed("The profile says from when until when a certificate is good")
        ordered = self._identifiers(asked.identifiers)
        profiles = self._issuer.profiles
        profile = next(iter(profiles)) if asked.profile is None else asked.profile
        if profile not in profiles:
            known = ", ".join(profiles)
            raise AcmeRefusal(
                Kind.INVALID_PROFILE, f"There is no profile {profile[:40]!r}; there are {known}"
            )
        if asked.replaces is not None:
            await self._check_replaces(account, asked.replaces, ordered)
        now_s = self._now_s()
        order = Order(
            new_id(),
            account.id,
            OrderStatus.PENDING,
            now_s,
            now_s + self._policy.order_lifetime_s,
            ordered,
            profile,
            tuple(new_id() for _ in ordered),
            asked.replaces,
            asked.profile is not None,
        )
        tokens = [base64url(secrets.token_bytes(TOKEN_BYTES)) for _ in ordered]
        authorizations = opened(order, tokens)
        await self._store.write(lambda tables: self._put(tables, order, authorizations))
        return order, authorizations

    def order(self, account: Account, id_: str) -> Order:
        """The order as it is now. Raises `AcmeRefusal` where it is not this account's."""
        return self._store.read(lambda tables: self._present(tables, account, id_))

    def list(self, account: Account, after: str) -> tuple[Sequence[str], str]:
        """Ids of an account's orders, and the one to go on after; empty at the end."""
        found = self._store.read(lambda tables: tables.orders_of(account.id, after, PAGE + 1))
        return found[:PAGE], found[PAGE - 1] if len(found) > PAGE else ""

    async def finalize(self, account: Account, id_: str, payload: bytes) -> Order:
        """The order with its CSR, durable; valid where its certificate comes soon. Repeated with
        the same CSR it answers with the order as it is."""
        asked = jws.decode(_Finalization, payload, "The finalization is not complete")
        request = from_base64url(asked.csr)
        order = self.order(account, id_)
        if order.csr != request:
            if order.status is not OrderStatus.READY:
                raise AcmeRefusal(Kind.ORDER_NOT_READY, f"The order is {order.status}")
            self._check_csr(request, order)
            await self._check_caa(account, order)
            with self._issuance.room():
                await self._store.write(
                    lambda tables: tables.put_order(
                        finalized(self._present(tables, account, id_), request)
                    )
                )
                task = self._issuance.take(id_)
        elif order.status is OrderStatus.PROCESSING:
            task = self._issuance.take(id_)
        else:
            return order
        await asyncio.wait([task], timeout=ISSUE_WAIT_S)
        return self.order(account, id_)

    def certificate(self, account: Account, id_: str) -> Certificate:
        """The certificate of the order `id`."""
        found = self._store.read(lambda tables: tables.certificate(id_))
        if found is None or found.account != account.id:
            raise _not_yours("certificate")
        return found

    def authorization(self, account: Account, id_: str) -> Authorization:
        return self._store.read(lambda tables: self._own(tables, account, id_))

    async def deactivate(self, account: Account, id_: str, payload: bytes) -> Authorization:
        """The authorization, given up."""
        jws.decode(_Deactivation, payload, "An authorization can be deactivated, nothing else")

        def put(tables: Tables) -> Authorization:
            after = deactivated(self._own(tables, account, id_))
            tables.put_authorization(after)
            settle(tables, after.order, self._now_s())
            return after

        return await self._store.write(put)

    async def answer(
        self, account: Account, id_: str, kind: str, payload: bytes
    ) -> tuple[Authorization, Challenge]:
        """The client has answered the challenge `kind`, which is validated from now on. Where that
        is under way, it is looked at again at once; where it is over, nothing changes. The first
        look is waited for, but not long: most clients need not ask again then."""
        jws.decode(dict[str, Any], payload, "The answer to a challenge is an object")
        authorization, challenge = self.challenge(account, id_, kind)
        if authorization.status is not AuthorizationStatus.PENDING:
            return authorization, challenge
        if challenge.status is ChallengeStatus.PROCESSING:
            self._validations.take(id_)
            return authorization, challenge

        def put(tables: Tables) -> Authorization:
            after = self._own(tables, account, id_)
            present = after.challenge(kind)
            states = (after.status, present and present.status)
            if present and states == (AuthorizationStatus.PENDING, ChallengeStatus.PENDING):
                after = accepted(after, present.kind)
                tables.put_authorization(after)
            return after

        with self._validations.room():
            after = await self._store.write(put)
            if after.status is AuthorizationStatus.PENDING:
                self._validations.take(id_)
        await self._validations.seen(id_)
        return self.challenge(account, id_, kind)

    def challenge(self, account: Account, id_: str, kind: str) -> tuple[Authorization, Challenge]:
        authorization = self.authorization(account, id_)
        return authorization, _challenge(authorization, kind)

    def document(self, order: Order) -> dict[str, Any]:
        """The order as clients see it (RFC 8555 section 7.1.3)."""
        found: dict[str, Any] = {
            "status": str(order.status),
            "expires": _time(order.expires_s),
            "identifiers": [each.document() for each in order.identifiers],
            "authorizations": [self._places.authorization(each) for each in order.authorizations],
            "finalize": self._places.finalize(order.id),
        }
        if order.asked_profile:
            found["profile"] = order.profile
        if order.replaces is not None:
            found["replaces"] = order.replaces
        if order.error is not None:
            found["error"] = order.error.document()
        if order.status is OrderStatus.VALID:
            found["certificate"] = self._places.certificate(order.id)
        return found

    def authorization_document(self, authorization: Authorization) -> dict[str, Any]:
        """The authorization as clients see it (RFC 8555 section 7.1.4)."""
        found: dict[str, Any] = {
            "status": str(authorization.status),
            "expires": _time(authorization.expires_s),
            "identifier": authorization.identifier.document(),
            "challenges": [
                self.challenge_document(authorization, each)
                for each in authorization.challenges
                if authorization.status is AuthorizationStatus.PENDING
                or each.status is not ChallengeStatus.PENDING
            ],
        }
        if authorization.is_wildcard:
            found["wildcard"] = True
        return found

    def challenge_document(
        self, authorization: Authorization, challenge: Challenge
    ) -> dict[str, Any]:
        """The challenge as clients see it (RFC 8555 section 8)."""
        found: dict[str, Any] = {
            "type": str(challenge.kind),
            "url": self._places.challenge(authorization.id, challenge.kind),
            "status": str(challenge.status),
            "token": challenge.token,
        }
        if challenge.validated_s is not None:
            found["validated"] = _time(challenge.validated_s)
        if challenge.error is not None:
            found["error"] = challenge.error.document()
        return found

    def _present(self, tables: Tables, account: Account, id_: str) -> Order:
        order = tables.order(id_)
        if order is None or order.account != account.id:
            raise _not_yours("order")
        found = [tables.authorization(each) for each in order.authorizations]
        return settled(order, [each for each in found if each is not None], self._now_s())

    def _own(self, tables: Tables, account: Account, id_: str) -> Authorization:
        found = tables.authorization(id_)
        if found is None or found.account != account.id:
            raise _not_yours("authorization")
        return aged(found, self._now_s())

    def _put(self, tables: Tables, order: Order, authorizations: Sequence[Authorization]) -> None:
        self._check_limits(tables, order)
        if order.replaces is not None:
            other = tables.replaced_by(order.replaces)
            before = None if other is None else tables.order(other)
            if before is not None and before.status is not OrderStatus.INVALID:
                raise AcmeRefusal(Kind.ALREADY_REPLACED, "Another order replaces this certificate")
            tables.put_replacement(order.replaces, order.id, order.created_s)
        tables.put_order(order)
        for each in authorizations:
            tables.put_authorization(each)

    def _check_limits(self, tables: Tables, order: Order) -> None:
        limits = self._policy.limits
        since_s = order.created_s - HOUR_S
        if tables.orders_since(order.account, since_s) >= limits.orders_per_account:
            raise _limited(f"The account made {limits.orders_per_account} orders within an hour")
        if tables.orders() >= limits.orders:
            raise _limited("The server keeps as many orders as it may")
        for each in order.identifiers:
            name = each.base.value
            if tables.failures(order.account, name, since_s) >= limits.failures_per_name:
                raise _limited(
                    f"{limits.failures_per_name} validations of {name} failed within an hour"
                )

    def _identifiers(self, given: Sequence[_Identifier]) -> tuple[Identifier, ...]:
        most = self._policy.limits.identifiers
        if not 0 < len(given) <= most:
            raise malformed(f"An order is for 1 to {most} identifiers, not {len(given)}")
        found = dict.fromkeys(identifiers.parse(each.type, each.value) for each in given)
        rejected = [each for each in found if not self._permits(each)]
        if rejected:
            raise AcmeRefusal(
                Kind.REJECTED_IDENTIFIER,
                f"Nothing is issued for {rejected[0].value}",
                subproblems=[
                    {
                        "type": f"urn:ietf:params:acme:error:{Kind.REJECTED_IDENTIFIER}",
                        "detail": "Nothing is issued for it here",
                        "identifier": each.document(),
                    }
                    for each in rejected
                ],
            )
        return tuple(found)

    def _permits(self, identifier: Identifier) -> bool:
        if identifier.kind is IdentifierKind.IP:
            address = ipaddress.ip_address(identifier.value)
            return any(address in network for network in self._policy.addresses)
        names = self._policy.names
        return not names or identifiers.is_below(identifier.base.value, names)

    async def _check_replaces(
        self, account: Account, replaces: str, ordered: Sequence[Identifier]
    ) -> None:
        """RFC 9773 section 5."""
        certificate = CertificateId.parse(replaces)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pool, self._issuer.find, certificate)
        if found is None or found.account != account.id:
            raise malformed("The certificate to replace is not one of this account")
        named = set(_names(found.certificate))
        if not named & set(ordered):
            raise malformed("The certificate to replace has none of these names")

    def _check_csr(self, request: bytes, order: Order) -> None:
        thumbprint = csr.check(request, order.identifiers)
        if thumbprint is None:
            return
        if self._store.read(lambda tables: tables.account_of(thumbprint)) is not None:
            raise AcmeRefusal(Kind.BAD_CSR, "The key to be certified is that of an account")

    async def _check_caa(self, account: Account, order: Order) -> None:
        """RFC 8659, for every DNS name; the address of an order has no records."""
        identities = frozenset(self._policy.caa_identities)
        if not identities:
            return
        gate = asyncio.Semaphore(CAA_TOGETHER)

        async def refusal(identifier: Identifier, method: str) -> str | None:
            async with gate:
                for name in caa.climbed(identifier.base.value):
                    records = await self._resolver.caa(name)
                    if records:
                        return caa.refusal(
                            records,
                            identities,
                            is_wildcard=identifier.is_wildcard,
                            account=self._places.account(account.id),
                            method=method,
                        )
            return None

        pairs = list(zip(order.identifiers, order.authorizations, strict=True))
        asked = [
            (identifier, refusal(identifier, self._method(account, id_)))
            for identifier, id_ in pairs
            if identifier.kind is IdentifierKind.DNS
        ]
        answers = await asyncio.gather(*(each for _, each in asked))
        for (identifier, _), why in zip(asked, answers, strict=True):
            if why is not None:
                raise AcmeRefusal(Kind.CAA, f"{identifier.value} is not to be issued for: {why}")

    def _method(self, account: Account, id_: str) -> str:
        """The kind of the challenge that was met."""
        for each in self.authorization(account, id_).challenges:
            if each.status is ChallengeStatus.VALID:
                return str(each.kind)
        return ""


def _names(certificate: bytes) -> list[Identifier]:
    loaded = x509.load_der_x509_certificate(certificate)
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = [
        Identifier(IdentifierKind.DNS, each) for each in names.get_values_for_type(x509.DNSName)
    ]
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*found, *(Identifier(IdentifierKind.IP, str(each)) for each in addresses)]


def _challenge(authorization: Authorization, kind: str) -> Challenge:
    challenge = authorization.challenge(kind)
    if challenge is None:
        raise AcmeRefusal(Kind.MALFORMED, f"There is no challenge {kind[:40]!r} of it", status=404)
    return challenge


def _not_yours(what: str) -> AcmeRefusal:
    # The same whether it exists or not, so that ids cannot be tried.
    return AcmeRefusal(Kind.UNAUTHORIZED, f"This account has no such {what}", status=404)


def _limited(detail: str) -> AcmeRefusal:
    return AcmeRefusal(Kind.RATE_LIMITED, detail, retry_after_s=HOUR_S)


def _time(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")
