"""A ledger that was made before the terms and the titles of assets executes to the same states."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from hypermesh.assets import registry
from hypermesh.ledger.kernel import decode_entry
from hypermesh.ledger.module import Call, Context
from hypermesh.ledger.state import MemoryBase
from hypermesh.node.rules import kernel
from hypermesh.wire.asset import AssetTerms
from hypermesh.wire.block import BlockInput, Genesis
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.tx import AssetRegister, BlockOpening, SignedTransaction, tag_of

FILE = Path(__file__).parents[2] / "vectors" / "ledger" / "first.msgpack"

Step = tuple[int, bytes, str, bytes]


@pytest.fixture(scope="module")
def frozen() -> tuple[Genesis, list[Step]]:
    return decode(tuple[Genesis, list[Step]], FILE.read_bytes())  # type: ignore[arg-type]


def replay(genesis: Genesis, steps: list[Step]) -> int:
    """How many blocks execute as they did, from the first on."""
    rules, base = kernel(genesis), MemoryBase()
    base.take(rules.begin(base))
    for height, (time_ms, entry, code, app_hash) in enumerate(steps, 1):
        entries = [encode(BlockOpening(time_ms, None)), *([entry] if entry else [])]
        execution = rules.execute(BlockInput(height, time_ms, entries, []), base)
        base.take(execution.changes)
        codes = [result.code for result in execution.results[1:]]
        if codes != ([code] if entry else []) or execution.app_hash != app_hash:
            return height - 1
    return len(steps)


def test_every_block_leads_to_the_state_it_led_to(frozen: tuple[Genesis, list[Step]]) -> None:
    genesis, steps = frozen
    assert replay(genesis, steps) == len(steps)


def test_it_has_every_type_of_transaction_of_its_time(
    frozen: tuple[Genesis, list[Step]],
) -> None:
    done = set()
    for _, entry, code, _ in frozen[1]:
        if code == "ok":
            signed = decode_entry(entry)
            assert isinstance(signed, SignedTransaction)
            done.add(tag_of(signed.transaction.body))
    assert done == {
        "identity.own", "identity.enrol", "identity.revoke",
        "bank.faucet", "bank.transfer", "stake.bond", "stake.unbond", "consensus.attest",
        "asset.register", "asset.set_state", "asset.set_privacy",
        "lease.open", "lease.activate", "lease.settle",
    }  # fmt: skip


def test_a_rule_that_writes_one_row_more_is_noticed(
    frozen: tuple[Genesis, list[Step]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a registration that writes a row of terms."""
    real = registry.Registry._register

    def lavish(self: registry.Registry, context: Context, call: Call, body: AssetRegister) -> None:
        real(self, context, call, body)
        registry.TERMS.put(context.state, body.asset, AssetTerms(bytes(32), 1, ""))

    monkeypatch.setattr(registry.Registry, "_register", lavish)
    genesis, steps = frozen
    assert replay(genesis, steps) < len(steps)


def test_one_field_more_in_a_struct_would_refuse_what_was_written_before() -> None:
    """Why the terms have a transaction and rows of their own: array-like structs write defaults."""

    class Before(msgspec.Struct, frozen=True, array_like=True):
        amount: int

    class After(msgspec.Struct, frozen=True, array_like=True):
        amount: int
        least: Annotated[int, Meta(ge=0)] = 0

    with pytest.raises(Undecodable):
        decode(After, encode(Before(5)))
