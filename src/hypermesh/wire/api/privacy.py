"""Who may see and lease an asset, as the API takes and shows it."""

from __future__ import annotations

import msgspec

from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.asset import AssetKind, PrivacyLevel


class PrivacyChange(Body, frozen=True):
    """`PUT /privacy/level`."""

    asset: Hex16
    level: PrivacyLevel
    nodes: list[Hex32] = []
    networks: list[Hex32] = []


class PrivacyView(msgspec.Struct, frozen=True):
    """`GET /privacy/settings`: one asset's level and audience."""

    asset: Hex16
    kind: AssetKind
    level: PrivacyLevel
    nodes: list[Hex32]
    networks: list[Hex32]
