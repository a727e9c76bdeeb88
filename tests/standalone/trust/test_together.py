"""Requests that come together: each has its own answer, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography import x509

from hypermesh.standalone.trust import certificates
from hypermesh.standalone.trust.access import Principal
from hypermesh.standalone.trust.call import Answer, Call
from hypermesh.standalone.trust.together import TOGETHER_MAX, WORKERS, Together
from hypermesh.wire.errors import InvalidInput

from .conftest import WAIT_S, Server, requested


def call(name: str) -> Call:
    return Call(Principal("token:x"), {"name": name}, {}, b"", "", "")


class Carrier:
    """Answers each request with its name; `first` calls wait for `go`."""

    def __init__(self, first: int = WORKERS) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.carried: list[list[str]] = []
        self._held = first

    def __call__(self, calls: Sequence[Call]) -> list[Answer | Exception]:
        names = [each.path["name"] for each in calls]
        self.carried.append(names)
        self.begun.release()
        if len(self.carried) <= self._held:
            assert self.go.wait(WAIT_S)
        return [
            InvalidInput("It is bad") if name.startswith("bad") else Answer(name.encode())
            for name in names
        ]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(WAIT_S):
            await test()

    asyncio.run(whole())


def test_those_who_come_meanwhile_go_next_and_together() -> None:
    carrier = Carrier()

    async def whole() -> None:
        with ThreadPoolExecutor(8) as pool:
            together = Together(carrier, pool)
            early = []
            for number in range(WORKERS):
                early.append(asyncio.create_task(together.answer(call(f"e{number}"))))
                await asyncio.to_thread(carrier.begun.acquire)
            names = [f"{'bad' if n % 3 == 0 else 'good'}{n}" for n in range(TOGETHER_MAX + 5)]
            late = [asyncio.create_task(together.answer(call(name))) for name in names]
            gone = asyncio.create_task(together.answer(call("gone")))
            await asyncio.sleep(0)
            gone.cancel()
            carrier.go.set()
            answers = await asyncio.gather(*early, *late, return_exceptions=True)
            for name, answer in zip(
                [f"e{n}" for n in range(WORKERS)] + names, answers, strict=True
            ):
                if name.startswith("bad"):
                    assert isinstance(answer, InvalidInput), name
                else:
                    assert answer == Answer(name.encode())
            assert max(map(len, carrier.carried)) == TOGETHER_MAX
            assert sum(map(len, carrier.carried)) == WORKERS + len(names) + 1
            # Nobody is left behind where all were answered.
            assert await together.answer(call("after")) == Answer(b"after")

    run(whole)


def test_a_carrier_that_fails_is_told_to_all_and_the_next_goes_on() -> None:
    def failing(calls: Sequence[Call]) -> list[Answer | Exception]:
        if any(each.path["name"] == "planted" for each in calls):
            raise ZeroDivisionError
        return [Answer(b"good") for _ in calls]

    async def whole() -> None:
        with ThreadPoolExecutor(2) as pool:
            together = Together(failing, pool)
            with pytest.raises(ZeroDivisionError):
                await together.answer(call("planted"))
            assert await together.answer(call("well")) == Answer(b"good")

    run(whole)


def test_orders_at_once_have_each_its_own_answer(server: Server) -> None:
    good = [requested(f"n{number}.example.internal").der for number in range(20)]
    bad = [b"no request", requested("far.elsewhere.test").der, good[0][:-1] + b"\0"]

    def asked(place: int) -> tuple[int, bytes]:
        request = [*good, *bad][place]
        with server.client() as client:
            answer = client.post(
                "/v1/certificates",
                content=request,
                headers={"accept": "application/pem-certificate-chain"},
            )
            return answer.status_code, answer.content

    places = [place for place in range(len(good) + len(bad)) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(asked, places))
    serials: dict[int, set[int]] = {}
    for place, (status, content) in zip(places, answers, strict=True):
        if place >= len(good):
            assert status in (400, 403), content
            continue
        assert status == 201, content
        leaf = x509.load_pem_x509_certificates(content)[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [f"n{place}.example.internal"]
        serials.setdefault(place, set()).add(leaf.serial_number)
    assert all(len(each) == 1 for each in serials.values()), "one order is one certificate"
    assert len(set.union(*serials.values())) == len(good)


def test_nobodys_order_fails_by_anothers() -> None:
    class Authority:
        """Has a fault that a planted order meets."""

        def issue_all(self, orders: Sequence[object], _now_s: int) -> list[object]:
            return [self.issue(each, 0) for each in orders]

        def issue(self, order: object, _now_s: int) -> object:
            if getattr(order, "request", b"") == b"planted":
                raise ZeroDivisionError
            raise InvalidInput("The answer of its own")

    class Parts:
        authority = Authority()

    calls = [Call(Principal("token:x"), {}, {}, body, "", "") for body in (b"a", b"planted", b"b")]
    answers = certificates.issue_all(Parts(), calls)  # type: ignore[arg-type]
    assert [type(each) for each in answers] == [InvalidInput, ZeroDivisionError, InvalidInput]
