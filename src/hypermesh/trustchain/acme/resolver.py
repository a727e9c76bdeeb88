"""DNS as the ACME server asks it: one configured resolver, with a bound on time and answers."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from hypermesh.trustchain.acme.caa import CaaRecord
from hypermesh.trustchain.acme.policy import Address
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind
from hypermesh.trustchain.acme.stub import NotAnswered, Stub

RECORDS_MAX = 64
CACHED_MAX = 4096
CACHED_S_MAX = 60 * 60

A, TXT, AAAA, CAA = 1, 16, 28, 257
"""Types of records (RFC 1035, RFC 3596, RFC 8659)."""

Records = Sequence[CaaRecord]


class Resolver(Protocol):
    """Raises `AcmeRefusal` (`dns`) where there is no answer, which is not an empty one."""

    async def addresses(self, name: str) -> Sequence[Address]:
        """IPv6 first."""
        ...

    async def texts(self, name: str) -> Sequence[bytes]:
        """The TXT records, each with its strings joined."""
        ...

    async def caa(self, name: str) -> Records:
        """Those of this very name. An answer may be as old as its TTL."""
        ...


class DnsResolver:
    """A `Resolver` over the server at `address`, in one event loop. `now_s`: seconds of a clock
    that does not go back."""

    def __init__(
        self, address: str, port: int, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._stub = Stub(address, port)
        self._now_s = now_s
        # What was published a moment ago must be seen, so CAA alone is kept.
        self._kept: OrderedDict[str, tuple[float, Records]] = OrderedDict()

    async def addresses(self, name: str) -> Sequence[Address]:
        answers = await asyncio.gather(self._data(name, AAAA), self._data(name, A))
        found = [_address(each) for data in answers for each in data]
        if not found:
            raise _failed(f"{name} has no address")
        return found

    async def texts(self, name: str) -> Sequence[bytes]:
        return [b"".join(_strings(each)) for each in await self._data(name, TXT)]

    async def caa(self, name: str) -> Records:
        kept = self._kept.get(name)
        if kept is not None:
            if self._now_s() < kept[0]:
                self._kept.move_to_end(name)
                return kept[1]
            del self._kept[name]
        data, ttl_s = await self._asked(name, CAA)
        records = [_caa(each) for each in data]
        if ttl_s:
            self._kept[name] = (self._now_s() + min(ttl_s, CACHED_S_MAX), records)
            if len(self._kept) > CACHED_MAX:
                self._kept.popitem(last=False)
        return records

    async def _data(self, name: str, kind: int) -> Sequence[bytes]:
        return (await self._asked(name, kind))[0]

    async def _asked(self, name: str, kind: int) -> tuple[Sequence[bytes], int | None]:
        try:
            found = await self._stub.ask(name, kind)
        except (NotAnswered, OSError) as error:
            why = str(error) or type(error).__name__
            raise _failed(f"{name} cannot be looked up, type {kind}: {why}") from error
        return found.data[:RECORDS_MAX], found.ttl_s


def _address(data: bytes) -> Address:
    try:
        return ipaddress.ip_address(data)
    except ValueError as error:
        raise _malformed("an address") from error


def _strings(data: bytes) -> Sequence[bytes]:
    """The strings of a TXT record (RFC 1035 section 3.3.14)."""
    found = []
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        found.append(data[at + 1 : end])
        at = end
    if at != len(data) or not found:
        raise _malformed("a text")
    return found


def _caa(data: bytes) -> CaaRecord:
    """RFC 8659 section 4.1."""
    size = data[1] if len(data) > 1 else 0
    tag, value = data[2 : 2 + size], data[2 + size :]
    if not tag or len(tag) != size or not tag.isalnum():
        raise _malformed("a CAA record")
    return CaaRecord(data[0], tag.decode("ascii"), value.decode("latin-1"))


def _malformed(what: str) -> AcmeRefusal:
    return _failed(f"The resolver's answer has {what} that is none")


def _failed(detail: str) -> AcmeRefusal:
    return AcmeRefusal(Kind.DNS, detail)
