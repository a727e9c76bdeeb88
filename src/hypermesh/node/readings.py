"""What meters read of leases that are over, as the provider told it: the ground of the evidence in
their receipts. A receipt holds without it; with it, the evidence can be computed again.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from hypermesh.crypto.digest import digest_of
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import Hash, LeaseId
from hypermesh.wire.reading import MeterReading

READINGS_MAX = 10_000
"""Readings that are kept; the oldest go first."""
READING_BYTES_MAX = 64 * 1024


class Readings:
    """One small file for each lease, in `directory`. Not synced: nothing was promised with them."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._lock = threading.Lock()
        found = sorted(directory.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        self._names = [file.name for file in found]

    def put(self, lease: LeaseId, reading: MeterReading) -> None:
        """Keep a reading; where the disk takes none, nobody is the worse for it."""
        name = lease.hex()
        with self._lock, contextlib.suppress(OSError):
            fresh = self._directory / f"{name}.new"
            fresh.write_bytes(encode(reading))
            fresh.replace(self._directory / name)
            if name not in self._names:
                self._names.append(name)
            while len(self._names) > READINGS_MAX:
                (self._directory / self._names.pop(0)).unlink(missing_ok=True)

    def get(self, lease: LeaseId, evidence: Hash) -> bytes | None:
        """The encoded reading whose digest is `evidence`, or None: not kept here, or damaged."""
        try:
            file = self._directory / lease.hex()
            if file.stat().st_size > READING_BYTES_MAX:
                return None
            data = file.read_bytes()
            reading = decode(MeterReading, data)
        except (OSError, InvalidInput):
            return None
        return data if digest_of("meter", reading) == evidence else None
