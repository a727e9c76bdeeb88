"""The versions of IP."""

from __future__ import annotations

import enum


class Stack(enum.StrEnum):
    """The versions of IP that a socket speaks."""

    IPV6 = "ipv6"
    DUAL = "dual"
    """IPv4 as well, at the same port. IPv4 addresses are shown as `::ffff:192.0.2.1` (RFC 4291
    section 2.5.5.2)."""
