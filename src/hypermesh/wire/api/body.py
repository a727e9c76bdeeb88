"""What all request bodies share, and identifiers as text."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Hex32 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Hex16 = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of request bodies: an unknown member is an error, not a silent no-op."""
