"""What a hosting node knows of its assets and the chain does not: descriptor, salts, audience,
price. Kept in one file, replaced as a whole.

Write the record before the registration is submitted: a descriptor without its salt can never be
shown to fit its commitment again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.assets.privacy import Identity
from hypermesh.crypto.files import replace
from hypermesh.wire.asset import Audience, Descriptor, Price, PrivacyLevel
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError
from hypermesh.wire.ids import AssetId, OwnerId

HOSTED_MAX = 1024
"""Assets that one node keeps records of."""

FILE_BYTES_MAX = 64 * 1024 * 1024
"""More than `HOSTED_MAX` of the largest records."""

Salt = Annotated[bytes, Meta(min_length=16, max_length=16)]


class HostingDamaged(HyperMeshError):
    """The file with the records of the hosted assets is not what was written."""

    code = "HM-ASSET-0005"
    exit_code = 9
    title = "The records of the hosted assets are damaged"
    remedy = "Restore the file from a backup; without it, assets below FullPublic cannot be leased"


class HostingFull(HyperMeshError):
    """The node hosts as many assets as it keeps records of."""

    code = "HM-ASSET-0006"
    status = 409
    exit_code = 8
    title = "This node cannot host another asset"


class Hosted(msgspec.Struct, frozen=True, array_like=True):
    """One hosted asset. `level`, `audience` and `price` are what the owner last decided here; the
    ledger has the last word on the level. `salt` opens the commitment to the descriptor,
    `audience_salt` that to the audience."""

    asset: AssetId
    owner: OwnerId
    id_nonce: Salt
    descriptor: Descriptor
    salt: Salt
    level: PrivacyLevel
    audience: Audience
    audience_salt: Salt
    identity: Identity
    price: Price
    concurrent_max: Annotated[int, Meta(ge=1, le=1024)]
    duration_ms_max: Annotated[int, Meta(ge=1, le=2**53)]


class HostedAssets:
    """The records, in memory and in `path`. Durable when `put` returns; one process at a time."""

    def __init__(self, path: Path) -> None:
        """Reads `path`, which may not exist yet. Raises `HostingDamaged`."""
        self._path = path
        self._records: dict[AssetId, Hosted] = {}
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return
        try:
            records = decode(list[Hosted], data, size_max=FILE_BYTES_MAX)
        except HyperMeshError as error:
            raise HostingDamaged(why=f"{path}: {error}") from error
        self._records = {record.asset: record for record in records}

    def __iter__(self) -> Iterator[Hosted]:
        """By ascending asset id."""
        return iter([self._records[asset] for asset in sorted(self._records)])

    def __len__(self) -> int:
        return len(self._records)

    def get(self, asset: AssetId) -> Hosted | None:
        """The record of an asset, or None for one that is not hosted here."""
        return self._records.get(asset)

    def put(self, record: Hosted) -> None:
        """Write a new or changed record. Raises `HostingFull`, `InvalidInput` for a record that
        could not be read again, `OSError` where the disk fails; the records are then as before."""
        decode(Hosted, encode(record))
        if record.asset not in self._records and len(self._records) >= HOSTED_MAX:
            raise HostingFull(why=f"it keeps records of {HOSTED_MAX}")
        after = {**self._records, record.asset: record}
        replace(self._path, encode([after[asset] for asset in sorted(after)]))
        self._records = after
