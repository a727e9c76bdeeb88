"""What a node keeps in SQLite: a damaged file is named, with what to do."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hypermesh.node.api.answers import Answers, KeysNotKept
from hypermesh.node.jobs_kept import JobsNotKept, KeptJobs
from hypermesh.node.parcels_kept import KeptParcels, ParcelsNotKept
from hypermesh.node.transfers_kept import KeptTransfers, TransfersNotKept
from hypermesh.wire.errors import HyperMeshError

KEPT: tuple[tuple[Callable[[Path], object], type[HyperMeshError]], ...] = (
    (Answers, KeysNotKept),
    (KeptJobs, JobsNotKept),
    (KeptTransfers, TransfersNotKept),
    (lambda file: KeptParcels(file, bytes(32)), ParcelsNotKept),
)


@pytest.mark.parametrize(("kept", "error"), KEPT)
def test_a_damaged_file_is_named(
    kept: Callable[[Path], object], error: type[HyperMeshError], tmp_path: Path
) -> None:
    file = tmp_path / "kept.sqlite"
    file.write_bytes(b"no database at all " * 100)
    with pytest.raises(error, match=r"kept\.sqlite cannot be used"):
        kept(file)


@pytest.mark.parametrize(("kept", "error"), KEPT)
def test_a_new_file_is_its_owners_alone(
    kept: Callable[[Path], object], error: type[HyperMeshError], tmp_path: Path
) -> None:
    file = tmp_path / "kept.sqlite"
    assert kept(file) is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
