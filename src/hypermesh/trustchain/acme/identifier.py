"""What a certificate can be ordered for: DNS names, wildcards among them, and IP addresses.

Names are kept in lower case and as A-labels; an address in the one text form that RFC 8738 section
3 allows.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind, malformed

NAME_CHARACTERS_MAX = 253
WILDCARD = "*."

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class IdentifierKind(enum.StrEnum):
    DNS = "dns"
    IP = "ip"


class Identifier(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One name or address; of a wildcard, `value` begins with `*.`."""

    kind: IdentifierKind
    value: str

    @property
    def is_wildcard(self) -> bool:
        return self.value.startswith(WILDCARD)

    @property
    def base(self) -> Identifier:
        """What is authorised for it: the name without the wildcard (RFC 8555 section 7.1.3)."""
        return Identifier(self.kind, self.value.removeprefix(WILDCARD))

    def document(self) -> dict[str, Any]:
        """Its form in JSON."""
        return {"type": str(self.kind), "value": self.value}


def parse(kind: str, value: str) -> Identifier:
    """The identifier that a client wrote. Raises `AcmeRefusal`: `unsupportedIdentifier` or
    `malformed`."""
    if kind == IdentifierKind.DNS:
        return Identifier(IdentifierKind.DNS, _name(value))
    if kind == IdentifierKind.IP:
        return Identifier(IdentifierKind.IP, _address(value))
    raise AcmeRefusal(
        Kind.UNSUPPORTED_IDENTIFIER, f"Identifiers of type {kind[:40]!r} are not known here"
    )


def is_below(name: str, suffixes: Sequence[str]) -> bool:
    """Whether the DNS name `name` is one of `suffixes` or below one."""
    return any(name == suffix or name.endswith(f".{suffix}") for suffix in suffixes)


def _name(value: str) -> str:
    name = value.lower()
    base = name.removeprefix(WILDCARD)
    labels = base.split(".")
    if (
        len(name) > NAME_CHARACTERS_MAX
        or not all(_LABEL.fullmatch(label) for label in labels)
        # A last label of digits is read as an address by URL parsers (RFC 1123 section 2.1).
        or labels[-1].isdigit()
        or (base != name and len(labels) < 2)
    ):
        raise malformed(f"{value[:80]!r} is not a DNS name that a certificate can have")
    return name


def _address(value: str) -> str:
    try:
        address = str(ipaddress.ip_address(value))
    except ValueError as error:
        raise malformed(f"{value[:80]!r} is not an IP address") from error
    if address != value:
        raise malformed(f"{value[:80]!r} is to be written {address}")
    return address
