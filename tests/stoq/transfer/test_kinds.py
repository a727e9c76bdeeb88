"""Files are cut by their kind where that pays."""

from __future__ import annotations

from pathlib import Path

import pytest
from benches.peers.tensors import DISGUISE, beyond

KEY = bytes(range(32))
SEED = 4


@pytest.mark.parametrize(
    ("front", "kind"), [(b"", "safetensors"), (DISGUISE, "content")], ids=["known", "disguised"]
)
def test_of_tensors_those_that_changed_are_sent_and_nothing_else(
    front: bytes, kind: str, tmp_path: Path
) -> None:
    """Where the file hides its kind, chunks that reach over an edge are sent as well."""
    found, percent = beyond(tmp_path, KEY, SEED, front)
    assert found == kind
    if kind == "safetensors":
        assert percent == 0
    else:
        assert percent > 1
