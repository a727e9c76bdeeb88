"""When a store has kept its word."""

from __future__ import annotations

import pytest

from .promises import ANY, Promises, Witness


@pytest.fixture
def promises() -> Promises:
    return Promises()


@pytest.fixture
def witness(promises: Promises) -> Witness:
    return Witness(promises.hear)


def test_what_was_acknowledged_must_be_there(promises: Promises, witness: Witness) -> None:
    witness.begin("a", "1")
    assert not promises.check({})
    assert not promises.check({"a": "1"})
    witness.done("a", "1")
    assert not promises.check({"a": "1"})
    assert promises.check({}).lost
    assert promises.check({"a": "0"}).lost


def test_what_is_asked_for_may_be_there_or_not(promises: Promises, witness: Witness) -> None:
    witness.begin("a", "1")
    witness.done("a", "1")
    witness.begin("a", "2")
    assert not promises.check({"a": "1"})
    assert not promises.check({"a": "2"})
    assert promises.check({"a": "3"}).lost
    assert promises.check({}).lost
    witness.done("a", "2")
    assert promises.check({"a": "1"}).lost


def test_what_is_gone_must_not_come_back(promises: Promises, witness: Witness) -> None:
    witness.begin("a", "1")
    witness.done("a", "1")
    witness.begin("a", None)
    assert not promises.check({"a": "1"})
    assert not promises.check({})
    witness.done("a", None)
    assert not promises.check({})
    assert promises.check({"a": "1"}).invented


def test_what_nobody_asked_for_is_invented(promises: Promises, witness: Witness) -> None:
    assert promises.check({"a": "1"}).invented
    witness.begin(ANY)
    assert not promises.check({"a": "1"})
    assert promises.check({"a": "1", "b": "1"}).invented
    witness.done("a", "1")
    assert promises.check({"a": "1", "b": "1"}).invented


def test_a_value_that_the_store_chooses(promises: Promises, witness: Witness) -> None:
    witness.begin("a")
    assert not promises.check({"a": "whatever"})
    witness.done("a", "this")
    assert promises.check({"a": "whatever"}).lost
    witness.begin("a")
    assert not promises.check({"a": "whatever"})
    assert promises.check({}).lost


def test_a_refused_request_leaves_things_as_they_were(promises: Promises, witness: Witness) -> None:
    witness.begin("a", "1")
    witness.refused("a", "1")
    assert promises.check({"a": "1"}).invented
    witness.begin("a", "1")
    witness.done("a", "1")
    witness.begin("a", "2")
    witness.refused("a", "2")
    assert not promises.check({"a": "1"})
    assert promises.check({}).lost
    assert promises.check({"a": "2"}).lost


def test_a_refusal_answers_one_request_and_not_an_earlier_one(
    promises: Promises, witness: Witness
) -> None:
    witness.begin("a")
    witness.begin("a")
    witness.refused("a")
    assert not promises.check({"a": "1"})
    assert not promises.check({})
