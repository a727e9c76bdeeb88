"""One request to a node, as a value: what a noun's functions make and what `Rest` runs.

    Call(StatusView, "GET", "/v1/network")

The same call runs through `Rest` and `AsyncRest`, so the twins of a noun cannot differ in what
they ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec

T_co = TypeVar("T_co", covariant=True)

TIMEOUT_S = 30.0


class Call(msgspec.Struct, Generic[T_co], frozen=True):
    """A request whose answer is a `kind`, within `timeout_s` seconds.

    Reads may be asked again when a connection breaks. A write may be only where it is `once`: it is
    sent under a fresh Idempotency-Key, by which the node does it once however often it is asked.
    """

    kind: type[T_co]
    method: str
    path: str
    body: Any = None
    query: Mapping[str, str] = {}
    timeout_s: float = TIMEOUT_S
    once: bool = False

    @property
    def target(self) -> str:
        """Path and query, as they stand in the request line."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    @property
    def content(self) -> bytes | None:
        """The encoded body."""
        return None if self.body is None else msgspec.json.encode(self.body)

    @property
    def is_repeatable(self) -> bool:
        """Whether the same request sent twice does no more than sent once."""
        return self.method == "GET" or self.once

    def headers(self, key: str) -> dict[str, str]:
        """The headers of its own; `key` is the Idempotency-Key of this run of it."""
        headers = {} if self.body is None else {"content-type": "application/json"}
        return {**headers, "idempotency-key": key} if self.once else headers


def given(**members: object) -> dict[str, str]:
    """A query of those members that are not None."""
    return {name: str(value) for name, value in members.items() if value is not None}
