"""Callers that share work: who is carried with whom, who carries next, and who is refused."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from hypermesh.trustchain.ca.group import Group

WAIT_S = 60


class Carrier:
    """Carries jobs when it is let, and knows which went together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.let = threading.Semaphore(0)
        self.error: type[BaseException] | None = None

    def __call__(self, jobs: Sequence[int]) -> None:
        self.batches.append(list(jobs))
        self.begun.release()
        assert self.let.acquire(timeout=WAIT_S)
        if self.error is not None:
            raise self.error


class Callers:
    """Threads that ask, and what they were answered."""

    def __init__(self, group: Group[int]) -> None:
        self._group = group
        self._threads: list[threading.Thread] = []
        self.answers: dict[int, bool] = {}

    def ask(self, job: int) -> None:
        def run() -> None:
            self.answers[job] = self._group.carried(job)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()


def waiting(group: Group[int], count: int) -> None:
    """Wait until `count` callers sleep."""
    event = threading.Event()
    for _ in range(WAIT_S * 100):
        if len(group._waiting) == count:
            return
        event.wait(0.01)
    raise AssertionError(f"{len(group._waiting)} callers wait, not {count}")


def begun(carrier: Carrier) -> None:
    assert carrier.begun.acquire(timeout=WAIT_S)


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


def test_a_lone_caller_carries_itself(carrier: Carrier) -> None:
    carrier.let.release()
    assert Group(carrier, 4, 4, 1).carried(7)
    assert carrier.batches == [[7]]


def test_those_who_come_meanwhile_go_together_and_the_first_of_the_rest_is_next(
    carrier: Carrier,
) -> None:
    group = Group(carrier, 3, 10, 1)
    callers = Callers(group)
    callers.ask(0)
    begun(carrier)
    for job in range(1, 6):
        callers.ask(job)
        waiting(group, job)
    for _ in range(3):
        carrier.let.release()
    callers.join()
    # Not one by one: a caller whose job is done stands in nobody's way.
    assert carrier.batches == [[0], [1, 2, 3], [4, 5]]
    assert callers.answers == dict.fromkeys(range(6), True)
    # The place is free again.
    carrier.let.release()
    assert group.carried(9)
    assert carrier.batches[-1] == [9]


def test_as_many_carry_at_once_as_may(carrier: Carrier) -> None:
    group = Group(carrier, 4, 10, 2)
    callers = Callers(group)
    for job in range(2):
        callers.ask(job)
        begun(carrier)
    callers.ask(2)
    waiting(group, 1)
    callers.ask(3)
    waiting(group, 2)
    carrier.let.release()
    begun(carrier)
    assert carrier.batches == [[0], [1], [2, 3]]
    for _ in range(2):
        carrier.let.release()
    callers.join()


def test_who_comes_to_a_full_house_is_told_at_once(carrier: Carrier) -> None:
    group = Group(carrier, 4, 2, 1)
    callers = Callers(group)
    callers.ask(0)
    begun(carrier)
    for job in (1, 2):
        callers.ask(job)
        waiting(group, job)
    assert group.carried(3) is False
    for _ in range(2):
        carrier.let.release()
    callers.join()
    assert carrier.batches == [[0], [1, 2]]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_carrier_that_is_ended_holds_nobody_up(carrier: Carrier) -> None:
    group = Group(carrier, 2, 10, 1)
    callers = Callers(group)
    callers.ask(0)
    begun(carrier)
    for job in range(1, 4):
        callers.ask(job)
        waiting(group, job)
    carrier.error = KeyboardInterrupt
    carrier.let.release()
    begun(carrier)
    carrier.let.release()
    begun(carrier)
    carrier.error = None
    carrier.let.release()
    callers.join()
    assert carrier.batches == [[0], [1, 2], [3]]
    # Each that led was ended; the one that was only carried is woken, and finds nothing done.
    assert callers.answers == {2: True, 3: True}


def test_a_place_that_is_not_left_is_found_out(carrier: Carrier) -> None:
    """What these tests wait for would never come, were the place not given on."""
    group = Group(carrier, 4, 4, 1)
    group._leave = lambda: None  # type: ignore[method-assign]
    callers = Callers(group)
    callers.ask(0)
    begun(carrier)
    callers.ask(1)
    waiting(group, 1)
    carrier.let.release()
    callers._threads[0].join(WAIT_S)
    assert len(group._waiting) == 1
    assert callers._threads[1].is_alive()
    # So that the thread ends.
    Group._leave(group)
    carrier.let.release()
    callers.join()
