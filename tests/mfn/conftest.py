"""Providers by number."""

from __future__ import annotations


def provider(number: int) -> bytes:
    return number.to_bytes(4, "big").ljust(32, b"p")
