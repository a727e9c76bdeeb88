"""What every server refuses before a route is looked at: a body of no or too large a length, and
whoever asks too often. Who asks is for each server to say; else it is an address.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import time

from litestar.types import HTTPScope

from hypermesh.http.problem import BodyTooLarge
from hypermesh.http.rate import SECOND_NS, Buckets, Limit
from hypermesh.wire.errors import HyperMeshError, InvalidInput

BUCKETS_MAX = 4096
NETWORKS_KNOWN_MAX = 1024
OWN_NETWORK_BITS = 64
"""One host commonly has a whole /64 of IPv6 (RFC 4291 section 2.5.1), so that is one stranger."""

_LENGTH = re.compile("[0-9]{1,18}")

Headers = dict[bytes, bytes]


class LengthMissing(InvalidInput):
    """A body that does not say how long it is."""

    code = "HM-API-0004"
    status = 411
    title = "A request body needs a Content-Length here"


class TooManyRequests(HyperMeshError):
    """The principal asks more often than its bucket fills."""

    code = "HM-API-0009"
    status = 429
    exit_code = 8
    title = "Too many requests"
    retry_after_s = 1


def require_turn(buckets: Buckets, principal: str, limit: Limit) -> None:
    """Count a request of `principal`. Raises `TooManyRequests`."""
    wait_ns = buckets.take(principal, time.monotonic_ns(), limit)
    if wait_ns:
        refusal = TooManyRequests(
            why=f"{limit.per_s} a second are taken, {limit.burst} at once",
            fix="Ask less often; Retry-After says when again",
        )
        refusal.retry_after_s = -(-wait_ns // SECOND_NS)
        raise refusal


def require_length(headers: Headers, bytes_max: int) -> None:
    """Raise `LengthMissing`, `InvalidInput` or `BodyTooLarge` unless the body, where there is one,
    says a length of at most `bytes_max`."""
    if b"transfer-encoding" in headers:
        raise LengthMissing
    given = headers.get(b"content-length")
    if given is None:
        return
    length = given.decode("latin-1")
    if not _LENGTH.fullmatch(length):
        raise InvalidInput(f"{length[:40]!r} is not a Content-Length")
    if int(length) > bytes_max:
        raise BodyTooLarge(why=f"{length} bytes; at most {bytes_max} are taken")


def bearer(headers: Headers, missing: type[HyperMeshError]) -> str | None:
    """The token in `Authorization: Bearer ...` (RFC 6750 section 2.1); None without the header.
    Raises `missing` for another one."""
    given = headers.get(b"authorization")
    if given is None:
        return None
    scheme, _, token = given.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise missing(why="the Authorization header is not `Bearer` and a token")
    return token.strip()


def network_of(scope: HTTPScope) -> str:
    """The one stranger that the client's address stands for."""
    client = scope["client"]
    return _network(client[0] if client else "")


@functools.lru_cache(NETWORKS_KNOWN_MAX)
def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, OWN_NETWORK_BITS), strict=False))
