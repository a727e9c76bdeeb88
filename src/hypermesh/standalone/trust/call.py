"""A request as a route sees it, and what a route answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from hypermesh.http.problem import BodyTooLarge
from hypermesh.standalone.trust.access import Principal
from hypermesh.wire.errors import InvalidInput

T = TypeVar("T")

PAGE_DEFAULT = 100
PAGE_MAX = 1000
_NUMBER = re.compile("[0-9]{1,15}")
_SERIAL = re.compile("[0-9a-f]{1,40}")


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` goes out as `media`."""

    body: bytes = b""
    media: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(value: object, status: int = 200, **headers: str) -> Answer:
    """`value` as JSON; bytes in it become base64."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(msgspec.json.encode(value), "application/json", status, named)


@dataclass(frozen=True, slots=True)
class Call:
    """`path` holds the parts of the path that the template names, `query` the last of each name."""

    principal: Principal
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    media: str
    accept: str

    def json(self, kind: type[T], size_max: int = 64 * 1024) -> T:
        """The body as JSON of `kind`. Raises `InvalidInput`."""
        self.require_size(size_max)
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidInput("The body does not fit", why=str(error)) from error

    def require_size(self, size_max: int) -> None:
        """Raise `BodyTooLarge` for a longer body."""
        if len(self.body) > size_max:
            raise BodyTooLarge(why=f"{len(self.body)} bytes; at most {size_max} are taken")

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number in the query. Raises `InvalidInput`."""
        text = self.query.get(name)
        if text is None and default is not None:
            return default
        if text is None or not _NUMBER.fullmatch(text):
            raise InvalidInput(f"{name} is a whole number", why=f"given: {(text or '')[:40]!r}")
        return int(text)

    def limit(self) -> int:
        """How many items a page has at most. Raises `InvalidInput`."""
        limit = self.number("limit", PAGE_DEFAULT)
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidInput(f"limit is 1 to {PAGE_MAX}")
        return limit

    def serial(self) -> int:
        """The serial number in the path, hexadecimal. Raises `InvalidInput`."""
        return parse_serial(self.path["serial"])


def parse_serial(text: str) -> int:
    """A serial number as `openssl x509 -serial` has it, colons or not. Raises `InvalidInput`."""
    plain = text.replace(":", "").lower()
    if not _SERIAL.fullmatch(plain):
        raise InvalidInput(f"{text[:80]!r} is no serial number", why="expected hexadecimal digits")
    return int(plain, 16)
