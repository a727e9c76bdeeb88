"""The states of orders, authorizations and challenges: all that can happen, and nothing else."""

from __future__ import annotations

import itertools

import pytest

from hypermesh.trustchain.acme import order as states
from hypermesh.trustchain.acme.identifier import Identifier, IdentifierKind
from hypermesh.trustchain.acme.order import (
    AUTHORIZATION,
    CHALLENGE,
    ORDER,
    AuthorizationEvent,
    AuthorizationStatus,
    ChallengeEvent,
    ChallengeKind,
    ChallengeStatus,
    ImpossibleTransition,
    Order,
    OrderEvent,
    OrderStatus,
)
from hypermesh.trustchain.acme.problem import AcmeProblem, AcmeRefusal, Kind
from hypermesh.wire.codec import decode, encode

NOW_S = 1_000
END_S = 2_000
PROBLEM = AcmeProblem(Kind.CONNECTION, "nobody answers")


def names(*values: str) -> tuple[Identifier, ...]:
    return tuple(Identifier(IdentifierKind.DNS, each) for each in values)


def made(*values: str, status: OrderStatus = OrderStatus.PENDING):
    ids = tuple(f"z{number}" for number in range(len(values)))
    order = Order("o", "a", status, NOW_S, END_S, names(*values), "classic", ids)
    return order, states.opened(order, [f"t{each}" for each in ids])


def processing(value: str = "a.example"):
    _, (authorization,) = made(value)
    return states.accepted(authorization, authorization.challenges[0].kind)


TABLES = [
    (ORDER, OrderStatus, OrderEvent, {OrderStatus.VALID, OrderStatus.INVALID}),
    (
        AUTHORIZATION,
        AuthorizationStatus,
        AuthorizationEvent,
        {AuthorizationStatus.INVALID, AuthorizationStatus.DEACTIVATED, AuthorizationStatus.EXPIRED},
    ),
    (CHALLENGE, ChallengeStatus, ChallengeEvent, {ChallengeStatus.VALID, ChallengeStatus.INVALID}),
]


@pytest.mark.parametrize(("table", "statuses", "events", "final"), TABLES)
def test_tables_end_where_rfc_8555_ends_and_reach_everything(
    table, statuses, events, final
) -> None:
    begun = {status for status, _ in table}
    assert begun == set(statuses) - final
    reached = {statuses("pending")}
    for _ in statuses:
        reached |= {after for (before, _), after in table.items() if before in reached}
    assert reached == set(statuses)
    assert {event for _, event in table} == set(events)


@pytest.mark.parametrize(("table", "statuses", "events", "final"), TABLES)
def test_what_the_table_does_not_have_cannot_happen(table, statuses, events, final) -> None:
    for status, event in itertools.product(statuses, events):
        if (status, event) in table:
            assert states._after(table, status, event) is table[status, event]
        else:
            with pytest.raises(ImpossibleTransition):
                states._after(table, status, event)


def test_challenges_offered() -> None:
    everything = set(ChallengeKind)
    assert set(states.offered(Identifier(IdentifierKind.DNS, "a.example"))) == everything
    assert states.offered(Identifier(IdentifierKind.DNS, "*.a.example")) == (ChallengeKind.DNS,)
    address = states.offered(Identifier(IdentifierKind.IP, "10.0.0.1"))
    assert set(address) == everything - {ChallengeKind.DNS}


def test_an_order_is_ready_when_the_last_authorization_is_valid() -> None:
    order, authorizations = made("a.example", "b.example")
    for number in range(2):
        assert states.settled(order, authorizations, NOW_S).status is OrderStatus.PENDING
        accepted = states.accepted(authorizations[number], ChallengeKind.HTTP)
        authorizations[number] = states.validated(accepted, NOW_S, 500)
    ready = states.settled(order, authorizations, NOW_S)
    assert ready.status is OrderStatus.READY
    assert states.settled(ready, authorizations, NOW_S) is ready
    assert states.settled(ready, authorizations, NOW_S + 500).status is OrderStatus.READY
    late = states.settled(ready, authorizations, NOW_S + 501)
    assert (late.status, late.error.kind) == (OrderStatus.INVALID, Kind.UNAUTHORIZED)


@pytest.mark.parametrize("now_s", [END_S, END_S + 1])
def test_an_order_ends_after_its_time(now_s: int) -> None:
    order, authorizations = made("a.example")
    expected = OrderStatus.PENDING if now_s == END_S else OrderStatus.INVALID
    assert states.settled(order, authorizations, now_s).status is expected
    waiting = states.finalized(made("a.example", status=OrderStatus.READY)[0], b"csr")
    assert states.settled(waiting, authorizations, now_s) is waiting, "it waits for its certificate"


def test_a_challenge_is_tried_as_often_as_said() -> None:
    authorization = processing()
    for attempt in range(1, 4):
        authorization = states.missed(authorization, PROBLEM, 3)
        challenge = authorization.challenges[0]
        assert (challenge.attempts, challenge.error) == (attempt, PROBLEM)
        is_over = attempt == 3
        assert (authorization.answered is None) is is_over
        assert (authorization.status is AuthorizationStatus.INVALID) is is_over
    with pytest.raises(ImpossibleTransition):
        states.missed(authorization, PROBLEM, 3)
    with pytest.raises(ImpossibleTransition):
        states.validated(authorization, NOW_S, 1)


def test_one_challenge_at_a_time() -> None:
    with pytest.raises(AcmeRefusal):
        states.accepted(processing(), ChallengeKind.DNS)
    with pytest.raises(ImpossibleTransition):
        states.accepted(made("*.a.example")[1][0], ChallengeKind.HTTP)


def test_what_was_given_up_stays_given_up() -> None:
    order, (authorization,) = made("a.example")
    given_up = states.deactivated(authorization)
    assert states.settled(order, [given_up], NOW_S).status is OrderStatus.INVALID
    with pytest.raises(AcmeRefusal):
        states.deactivated(given_up)
    assert states.aged(given_up, END_S + 1) is given_up


def test_an_order_is_finalized_once() -> None:
    ready, _ = made("a.example", status=OrderStatus.READY)
    waiting = states.finalized(ready, b"csr")
    assert (waiting.status, waiting.csr) == (OrderStatus.PROCESSING, b"csr")
    assert states.issued(waiting).status is OrderStatus.VALID
    assert states.refused(waiting, PROBLEM).error is PROBLEM
    for status in set(OrderStatus) - {OrderStatus.READY}:
        with pytest.raises(AcmeRefusal) as refusal:
            states.finalized(made("a.example", status=status)[0], b"csr")
        assert refusal.value.kind is Kind.ORDER_NOT_READY


def test_values_are_kept_whole() -> None:
    authorization = states.missed(processing(), PROBLEM, 3)
    assert decode(states.Authorization, encode(authorization)) == authorization
    order = states.refused(
        states.finalized(made("a.x", status=OrderStatus.READY)[0], b"c"), PROBLEM
    )
    assert decode(Order, encode(order)) == order
