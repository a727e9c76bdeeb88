"""DNS as the ACME server asks it: one configured resolver, with a bound on time and answers."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Any, Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from hypermesh.trustchain.acme.caa import CaaRecord
from hypermesh.trustchain.acme.policy import Address
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind

TRY_S = 2.0
LIFETIME_S = 6.0
RECORDS_MAX = 64
CACHED_MAX = 4096


class Resolver(Protocol):
    """Raises `AcmeRefusal` (`dns`) where there is no answer, which is not an empty one."""

    async def addresses(self, name: str) -> Sequence[Address]:
        """IPv6 first."""
        ...

    async def texts(self, name: str) -> Sequence[bytes]:
        """The TXT records, each with its strings joined."""
        ...

    async def caa(self, name: str) -> Sequence[CaaRecord]:
        """Those of this very name. An answer may be as old as its TTL."""
        ...


class DnsResolver:
    """A `Resolver` over the server at `address`."""

    def __init__(self, address: str, port: int) -> None:
        self._fresh = _resolver(address, port)
        # What was published a moment ago must be seen, so the cache is for CAA alone.
        self._cached = _resolver(address, port)
        self._cached.cache = dns.resolver.LRUCache(CACHED_MAX)

    async def addresses(self, name: str) -> Sequence[Address]:
        answers = await asyncio.gather(
            *(self._ask(self._fresh, name, kind) for kind in ("AAAA", "A"))
        )
        found = [ipaddress.ip_address(each.address) for answer in answers for each in answer]
        if not found:
            raise _failed(f"{name} has no address")
        return found

    async def texts(self, name: str) -> Sequence[bytes]:
        return [b"".join(each.strings) for each in await self._ask(self._fresh, name, "TXT")]

    async def caa(self, name: str) -> Sequence[CaaRecord]:
        return [
            CaaRecord(each.flags, each.tag.decode("latin-1"), each.value.decode("latin-1"))
            for each in await self._ask(self._cached, name, "CAA")
        ]

    async def _ask(self, resolver: dns.asyncresolver.Resolver, name: str, kind: str) -> list[Any]:
        try:
            answer = await resolver.resolve(
                dns.name.from_text(name), kind, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise _failed(f"{name} {kind} cannot be looked up ({type(error).__name__})") from error
        return list(answer)[:RECORDS_MAX] if answer.rrset is not None else []


def _resolver(address: str, port: int) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [address]
    resolver.port = port
    resolver.timeout = TRY_S
    resolver.lifetime = LIFETIME_S
    resolver.use_edns(0, 0, 1232)
    return resolver


def _failed(detail: str) -> AcmeRefusal:
    return AcmeRefusal(Kind.DNS, detail)
