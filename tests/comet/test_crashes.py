"""Death at every step of a block, of the engine and of our own process: nothing diverges, nothing
acknowledged is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypermesh.ledger.replay import Archive
from hypermesh.wire.block import Block
from hypermesh.wire.codec import decode, encode

from .comparison import decided, first_difference
from .network import Network
from .processes import Validator, drain, missing, send

ENGINE_STEPS = range(12)
"""CometBFT counts the steps of a block at which it can be told to die (libs/fail): one when it
hears its own proposal, five while it decides and stores the block, four while it has us execute
and commit it."""
OUR_STEPS = ("execute", "commit", "committed")

pytestmark = pytest.mark.long


def test_the_engine_may_die_at_any_step_and_so_may_we(
    present: Network, engine: Path, tmp_path: Path
) -> None:
    (tmp_path / "genesis").write_bytes(encode(present.genesis))
    validator = Validator(tmp_path, engine)
    guests = [present.own(f"guest {number}") for number in range(40)]
    died: dict[str, int] = {}
    try:
        for number, step in enumerate([*map(str, ENGINE_STEPS), *OUR_STEPS]):
            variable = "FAIL_TEST_INDEX" if step.isdigit() else "DIE_AT"
            validator.launch(**{variable: step})
            validator.first_line()
            died[step] = validator.ended()
            validator.start()
            send(validator.rpc, missing(validator.rpc, guests[: 2 * number + 2]))
            drain(validator.rpc)
            validator.stop()
        validator.start()
        drain(validator.rpc)
        blocks = decided(validator.rpc)
        validator.stop()
    finally:
        validator.close()

    assert {died[str(step)] for step in ENGINE_STEPS} == {3}, "it said that the engine stopped"
    assert {died[step] for step in OUR_STEPS} == {9}
    assert (tmp_path / "comet" / "engine.log").read_text().count("*** fail-test") == 12
    taken = [entry for block in blocks for entry in block.input.entries[1:]]
    assert sorted(taken) == sorted(guests[:30])
    assert first_difference(present, blocks, tmp_path / "solo") is None
    archive = Archive(tmp_path / "ledger")
    headers = [decode(Block, encoded).header for encoded in archive.blocks()]
    archive.close()
    for header, block in zip(headers, blocks, strict=False):
        assert header.app_hash == block.app_hash
