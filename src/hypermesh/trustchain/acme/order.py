"""Orders, authorizations and challenges: their states, and every way from one to another.

Pure: values in, values out; `now_s` is seconds since 1970. The states are those of RFC 8555 section
7.1.6; the tables below are all that can happen to them.

    order          pending -> ready -> processing -> valid;   any of the first three -> invalid
    authorization  pending -> valid | invalid;   pending or valid -> deactivated | expired
    challenge      pending -> processing -> valid | invalid

An authorization belongs to one order and is not used again for another, so an order depends on
rows that nothing else changes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from hypermesh.trustchain.acme.identifier import Identifier, IdentifierKind
from hypermesh.trustchain.acme.problem import AcmeProblem, AcmeRefusal, Kind

S = TypeVar("S")
E = TypeVar("E")


class OrderStatus(enum.StrEnum):
    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class OrderEvent(enum.StrEnum):
    AUTHORIZED = "authorized"
    REFUSED = "refused"
    EXPIRED = "expired"
    FINALIZED = "finalized"
    ISSUED = "issued"


class AuthorizationStatus(enum.StrEnum):
    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"


class AuthorizationEvent(enum.StrEnum):
    VALIDATED = "validated"
    FAILED = "failed"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"


class ChallengeKind(enum.StrEnum):
    HTTP = "http-01"
    DNS = "dns-01"
    TLS_ALPN = "tls-alpn-01"


class ChallengeStatus(enum.StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class ChallengeEvent(enum.StrEnum):
    ACCEPTED = "accepted"
    VALIDATED = "validated"
    FAILED = "failed"


ORDER: Mapping[tuple[OrderStatus, OrderEvent], OrderStatus] = {
    (OrderStatus.PENDING, OrderEvent.AUTHORIZED): OrderStatus.READY,
    (OrderStatus.PENDING, OrderEvent.REFUSED): OrderStatus.INVALID,
    (OrderStatus.PENDING, OrderEvent.EXPIRED): OrderStatus.INVALID,
    (OrderStatus.READY, OrderEvent.REFUSED): OrderStatus.INVALID,
    (OrderStatus.READY, OrderEvent.EXPIRED): OrderStatus.INVALID,
    (OrderStatus.READY, OrderEvent.FINALIZED): OrderStatus.PROCESSING,
    (OrderStatus.PROCESSING, OrderEvent.ISSUED): OrderStatus.VALID,
    (OrderStatus.PROCESSING, OrderEvent.REFUSED): OrderStatus.INVALID,
}

AUTHORIZATION: Mapping[tuple[AuthorizationStatus, AuthorizationEvent], AuthorizationStatus] = {
    (AuthorizationStatus.PENDING, AuthorizationEvent.VALIDATED): AuthorizationStatus.VALID,
    (AuthorizationStatus.PENDING, AuthorizationEvent.FAILED): AuthorizationStatus.INVALID,
    (AuthorizationStatus.PENDING, AuthorizationEvent.DEACTIVATED): AuthorizationStatus.DEACTIVATED,
    (AuthorizationStatus.PENDING, AuthorizationEvent.EXPIRED): AuthorizationStatus.EXPIRED,
    (AuthorizationStatus.VALID, AuthorizationEvent.DEACTIVATED): AuthorizationStatus.DEACTIVATED,
    (AuthorizationStatus.VALID, AuthorizationEvent.EXPIRED): AuthorizationStatus.EXPIRED,
}

CHALLENGE: Mapping[tuple[ChallengeStatus, ChallengeEvent], ChallengeStatus] = {
    (ChallengeStatus.PENDING, ChallengeEvent.ACCEPTED): ChallengeStatus.PROCESSING,
    (ChallengeStatus.PROCESSING, ChallengeEvent.VALIDATED): ChallengeStatus.VALID,
    (ChallengeStatus.PROCESSING, ChallengeEvent.FAILED): ChallengeStatus.INVALID,
}


class Challenge(msgspec.Struct, frozen=True, array_like=True):
    """One way to show control; `attempts` counts the validations that failed so far."""

    kind: ChallengeKind
    token: str
    status: ChallengeStatus = ChallengeStatus.PENDING
    validated_s: int | None = None
    attempts: int = 0
    error: AcmeProblem | None = None


class Authorization(msgspec.Struct, frozen=True, array_like=True):
    """That an account controls `identifier`, which is no wildcard; `is_wildcard` says that the
    order's is."""

    id: str
    account: str
    order: str
    identifier: Identifier
    is_wildcard: bool
    status: AuthorizationStatus
    expires_s: int
    challenges: tuple[Challenge, ...]

    def challenge(self, kind: str) -> Challenge | None:
        """Its challenge of `kind`; None where it offers none."""
        return next((each for each in self.challenges if each.kind == kind), None)

    @property
    def answered(self) -> Challenge | None:
        """The challenge that is being validated."""
        waiting = (each for each in self.challenges if each.status is ChallengeStatus.PROCESSING)
        return next(waiting, None)


class Order(msgspec.Struct, frozen=True, array_like=True):
    """What an account asked for. `csr` is there from finalization on; `replaces` is a certificate
    identifier of RFC 9773 section 4.1."""

    id: str
    account: str
    status: OrderStatus
    created_s: int
    expires_s: int
    identifiers: tuple[Identifier, ...]
    profile: str
    authorizations: tuple[str, ...]
    replaces: str | None = None
    asked_profile: bool = False
    csr: bytes | None = None
    error: AcmeProblem | None = None


class ImpossibleTransition(Exception):
    """A transition that the tables do not have: a bug of the caller."""


def offered(identifier: Identifier) -> tuple[ChallengeKind, ...]:
    """The kinds of challenges for `identifier`: a wildcard by DNS alone (RFC 8555 section 8.4), an
    address by anything else (RFC 8738 section 7)."""
    if identifier.is_wildcard:
        return (ChallengeKind.DNS,)
    if identifier.kind is IdentifierKind.IP:
        return (ChallengeKind.HTTP, ChallengeKind.TLS_ALPN)
    return tuple(ChallengeKind)


def opened(order: Order, tokens: Sequence[str]) -> list[Authorization]:
    """The authorizations of the new `order`, one for each of its identifiers. The tokens of one
    authorization's challenges are the same; there is one in `tokens` for each identifier."""
    return [
        Authorization(
            id_,
            order.account,
            order.id,
            identifier.base,
            identifier.is_wildcard,
            AuthorizationStatus.PENDING,
            order.expires_s,
            tuple(Challenge(kind, token) for kind in offered(identifier)),
        )
        for id_, identifier, token in zip(
            order.authorizations, order.identifiers, tokens, strict=True
        )
    ]


def accepted(authorization: Authorization, kind: ChallengeKind) -> Authorization:
    """The client says that it has answered the challenge of `kind`. Raises `AcmeRefusal` where
    another is being validated."""
    if authorization.answered is not None:
        raise AcmeRefusal(Kind.MALFORMED, "Another challenge of it is being validated")
    return _with_challenge(authorization, kind, ChallengeEvent.ACCEPTED)


def validated(authorization: Authorization, now_s: int, lifetime_s: int) -> Authorization:
    """The challenge that was being validated is met; the authorization is good for `lifetime_s`."""
    challenge = _answered(authorization)
    moved = _with_challenge(
        authorization, challenge.kind, ChallengeEvent.VALIDATED, validated_s=now_s, error=None
    )
    status = _after(AUTHORIZATION, authorization.status, AuthorizationEvent.VALIDATED)
    return msgspec.structs.replace(moved, status=status, expires_s=now_s + lifetime_s)


def missed(authorization: Authorization, problem: AcmeProblem, attempts_max: int) -> Authorization:
    """A validation has failed. The challenge goes on being validated, with the problem beside it
    (RFC 8555 section 8.2), until it has failed `attempts_max` times."""
    challenge = _answered(authorization)
    attempts = challenge.attempts + 1
    if attempts < attempts_max:
        return _changed(authorization, challenge.kind, attempts=attempts, error=problem)
    moved = _with_challenge(
        authorization, challenge.kind, ChallengeEvent.FAILED, attempts=attempts, error=problem
    )
    status = _after(AUTHORIZATION, authorization.status, AuthorizationEvent.FAILED)
    return msgspec.structs.replace(moved, status=status)


def deactivated(authorization: Authorization) -> Authorization:
    """The client gives it up. Raises `AcmeRefusal` where nothing is left to give up."""
    if (authorization.status, AuthorizationEvent.DEACTIVATED) not in AUTHORIZATION:
        raise AcmeRefusal(Kind.MALFORMED, f"The authorization is {authorization.status} already")
    status = _after(AUTHORIZATION, authorization.status, AuthorizationEvent.DEACTIVATED)
    return msgspec.structs.replace(authorization, status=status)


def aged(authorization: Authorization, now_s: int) -> Authorization:
    """The authorization as it is at `now_s`."""
    if now_s <= authorization.expires_s:
        return authorization
    after = AUTHORIZATION.get((authorization.status, AuthorizationEvent.EXPIRED))
    return authorization if after is None else msgspec.structs.replace(authorization, status=after)


def settled(order: Order, authorizations: Sequence[Authorization], now_s: int) -> Order:
    """The order as its authorizations and the time make it; `authorizations` are all of its own."""
    if order.status not in (OrderStatus.PENDING, OrderStatus.READY):
        return order
    states = {each.id: aged(each, now_s) for each in authorizations}
    if now_s > order.expires_s:
        return _failed(order, OrderEvent.EXPIRED, "The order has expired")
    for each in states.values():
        if each.status not in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID):
            name = each.identifier.value
            return _failed(
                order, OrderEvent.REFUSED, f"The authorization of {name} is {each.status}"
            )
    whole = all(each.status is AuthorizationStatus.VALID for each in states.values())
    if order.status is OrderStatus.PENDING and whole:
        status = _after(ORDER, order.status, OrderEvent.AUTHORIZED)
        return msgspec.structs.replace(order, status=status)
    return order


def finalized(order: Order, csr: bytes) -> Order:
    """The order waits for its certificate. Raises `AcmeRefusal`: `orderNotReady`."""
    if order.status is not OrderStatus.READY:
        raise AcmeRefusal(Kind.ORDER_NOT_READY, f"The order is {order.status}")
    status = _after(ORDER, order.status, OrderEvent.FINALIZED)
    return msgspec.structs.replace(order, status=status, csr=csr)


def issued(order: Order) -> Order:
    """The order has its certificate."""
    return msgspec.structs.replace(order, status=_after(ORDER, order.status, OrderEvent.ISSUED))


def refused(order: Order, problem: AcmeProblem) -> Order:
    """There will be no certificate."""
    status = _after(ORDER, order.status, OrderEvent.REFUSED)
    return msgspec.structs.replace(order, status=status, error=problem)


def _failed(order: Order, event: OrderEvent, detail: str) -> Order:
    status = _after(ORDER, order.status, event)
    problem = AcmeProblem(Kind.UNAUTHORIZED, detail)
    return msgspec.structs.replace(order, status=status, error=problem)


def _answered(authorization: Authorization) -> Challenge:
    challenge = authorization.answered
    if challenge is None:
        raise ImpossibleTransition(f"no challenge of {authorization.id} is being validated")
    return challenge


def _with_challenge(
    authorization: Authorization, kind: ChallengeKind, event: ChallengeEvent, **changes: object
) -> Authorization:
    challenge = authorization.challenge(kind)
    if challenge is None:
        raise ImpossibleTransition(f"{authorization.id} offers no {kind}")
    status = _after(CHALLENGE, challenge.status, event)
    return _changed(authorization, kind, status=status, **changes)


def _changed(authorization: Authorization, kind: ChallengeKind, **changes: object) -> Authorization:
    challenges = tuple(
        msgspec.structs.replace(each, **changes) if each.kind is kind else each
        for each in authorization.challenges
    )
    return msgspec.structs.replace(authorization, challenges=challenges)


def _after(table: Mapping[tuple[S, E], S], status: S, event: E) -> S:
    try:
        return table[status, event]
    except KeyError:
        raise ImpossibleTransition(f"{status}: {event}") from None
