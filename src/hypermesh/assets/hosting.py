"""What a hosting node knows of its assets and the chain does not: descriptor, salts, terms. Kept in
one file, replaced as a whole.

Write the record before the registration is submitted: a descriptor without its salt can never be
shown to fit its commitment again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.crypto.files import replace
from hypermesh.wire.asset import (
    Audience,
    ConsumerIdentity,
    Descriptor,
    Price,
    PrivacyLevel,
    Requirement,
    Sharing,
)
from hypermesh.wire.codec import Undecodable, decode, encode
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
    """One hosted asset. `owner` and `sharing` are what the ledger last said and committed to, as
    far as this node has seen it. `pending` is what the owner is about to put on the ledger: it
    takes the place of `sharing` when the ledger commits to it. `salt` opens the commitment to the
    descriptor."""

    asset: AssetId
    owner: OwnerId
    id_nonce: Salt
    descriptor: Descriptor
    salt: Salt
    sharing: Sharing
    pending: Sharing | None = None


class _Flat(msgspec.Struct, frozen=True, array_like=True):
    """A record as version 0.1.0 first wrote it, without the terms that came later."""

    asset: AssetId
    owner: OwnerId
    id_nonce: Salt
    descriptor: Descriptor
    salt: Salt
    level: PrivacyLevel
    audience: Audience
    audience_salt: Salt
    identity: ConsumerIdentity
    price: Price
    concurrent_max: Annotated[int, Meta(ge=1, le=1024)]
    duration_ms_max: Annotated[int, Meta(ge=1, le=2**53)]

    def record(self) -> Hosted:
        sharing = Sharing(
            level=self.level,
            audience=self.audience,
            identity=self.identity,
            requirement=Requirement(),
            price=self.price,
            share=10_000,
            concurrent_max=self.concurrent_max,
            duration_ms_min=1,
            duration_ms_max=self.duration_ms_max,
            region="",
            salt=self.audience_salt,
        )
        return Hosted(self.asset, self.owner, self.id_nonce, self.descriptor, self.salt, sharing)


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
            records = _records(data)
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


def _records(data: bytes) -> list[Hosted]:
    """The records in a file, of either form; the next `put` writes all in the present one."""
    try:
        return decode(list[Hosted], data, size_max=FILE_BYTES_MAX)
    except Undecodable:
        try:
            flat = decode(list[_Flat], data, size_max=FILE_BYTES_MAX)
        except Undecodable:
            flat = []
        if not flat:
            raise
    return [each.record() for each in flat]
