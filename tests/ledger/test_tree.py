"""The state tree against a naive model, and its proofs against forgery."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypermesh.crypto.digest import digest
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.state import MemoryBase
from hypermesh.ledger.tree import BUCKETS, DEPTH, Tree, bucket_of, changes, check_proof, prove
from hypermesh.wire.block import BucketProof
from hypermesh.wire.codec import encode
from hypermesh.wire.ids import Hash

ROWS = {f"row/{number}".encode(): f"value {number}".encode() for number in range(40)}


def naive_root(rows: Mapping[bytes, bytes]) -> Hash:
    """The definition in the tree's docstring, computed the slow way over the non-empty part."""
    entries: dict[int, list[tuple[bytes, bytes]]] = {}
    for key in sorted(rows):
        number = int.from_bytes(digest("state-key", key)[:2], "big")
        entries.setdefault(number, []).append((key, digest("state-value", rows[key])))
    level = {number: digest("state-bucket", encode(each)) for number, each in entries.items()}
    empty = digest("state-bucket", encode([]))
    for _ in range(DEPTH):
        level = {
            parent: digest(
                "state-node", level.get(2 * parent, empty) + level.get(2 * parent + 1, empty)
            )
            for parent in {index // 2 for index in level}
        }
        empty = digest("state-node", empty + empty)
    return level.get(0, empty)


def base_of(rows: Mapping[bytes, bytes]) -> MemoryBase:
    base = MemoryBase()
    base.take(changes(base, rows))
    return base


def clash() -> tuple[bytes, bytes]:
    """Two keys of one bucket."""
    seen: dict[int, bytes] = {}
    for number in range(BUCKETS):
        key = f"clash/{number}".encode()
        other = seen.setdefault(bucket_of(key), key)
        if other != key:
            return other, key
    raise AssertionError("no two keys share a bucket")


KEYS = st.sampled_from([f"k/{number}".encode() for number in range(12)] + list(clash()))
WRITES = st.dictionaries(KEYS, st.none() | st.binary(max_size=4), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(WRITES, max_size=6))
def test_any_history_leads_to_the_root_of_its_content(history: list[dict[bytes, bytes]]) -> None:
    base, model = MemoryBase(), {}
    for writes in history:
        base.take(changes(base, writes))
        model.update(writes)
        model = {key: value for key, value in model.items() if value is not None}
        assert base.tree.root == naive_root(model)
        assert dict(base.scan(b"")) == model


def test_an_empty_tree_has_the_root_of_no_rows() -> None:
    assert Tree().root == naive_root({})


def test_rows_that_share_a_bucket_are_all_covered() -> None:
    one, two = clash()
    assert bucket_of(one) == bucket_of(two)
    base = base_of({one: b"1", two: b"2"})
    assert base.tree.root == naive_root({one: b"1", two: b"2"})
    for key, value in ((one, b"1"), (two, b"2")):
        check_proof(base.tree.root, prove(base, key), value)


def test_the_tree_rebuilt_from_bucket_hashes_is_the_same() -> None:
    base = base_of(ROWS)
    step = changes(MemoryBase(), ROWS).buckets
    again = Tree.of({number: bucket.hash for number, bucket in step.items()})
    assert again.root == base.tree.root
    assert again.path(bucket_of(b"row/1")) == base.tree.path(bucket_of(b"row/1"))


def test_changes_leave_the_base_alone_until_they_are_taken() -> None:
    base = base_of(ROWS)
    before = base.tree.root
    pending = changes(base, {b"row/1": b"other", b"row/2": None, b"new": b"new"})
    assert base.tree.root == before
    assert base.get(b"row/1") == ROWS[b"row/1"]
    base.take(pending)
    assert base.tree.root == pending.step.root != before


def test_writing_what_is_there_changes_nothing() -> None:
    base = base_of(ROWS)
    nothing = changes(base, {**ROWS, b"never there": None})
    assert (dict(nothing.rows), dict(nothing.buckets)) == ({}, {})
    assert nothing.step.root == base.tree.root


def test_a_proof_shows_presence_and_absence() -> None:
    base = base_of(ROWS)
    for key, value in ROWS.items():
        check_proof(base.tree.root, prove(base, key), value)
    for key in (b"row/40", b"", b"anything"):
        check_proof(base.tree.root, prove(base, key), None)


def test_absence_is_provable_in_a_bucket_with_neighbours() -> None:
    present, absent = clash()
    base = base_of({present: b"here"})
    proof = prove(base, absent)
    assert proof.entries
    check_proof(base.tree.root, proof, None)


def forged(proof: BucketProof) -> dict[str, tuple[BucketProof, bytes | None]]:
    """Each way to lie about `row/7`, with the value that the lie is to show."""
    key, value = b"row/7", ROWS[b"row/7"]
    replace = msgspec.structs.replace
    other = digest("state-value", b"forged")
    return {
        "another value": (proof, b"forged"),
        "absence of what is there": (proof, None),
        "an entry replaced": (replace(proof, entries=[(key, other)]), b"forged"),
        "the entry left out": (replace(proof, entries=[]), None),
        "an entry added": (replace(proof, entries=[*proof.entries, (b"z", other)]), value),
        "an entry twice": (replace(proof, entries=[*proof.entries, *proof.entries]), value),
        "another key's proof": (replace(proof, key=b"row/8"), None),
        "a sibling altered": (
            replace(proof, siblings=[*proof.siblings[:-1], bytes(32)]),
            value,
        ),
        "a sibling too few": (replace(proof, siblings=proof.siblings[:-1]), value),
        "a sibling too many": (replace(proof, siblings=[*proof.siblings, bytes(32)]), value),
    }


@pytest.mark.parametrize("lie", sorted(forged(BucketProof(b"", [(b"", b"")], [bytes(32)]))))
def test_a_forged_proof_is_refused(lie: str) -> None:
    base = base_of(ROWS)
    proof, value = forged(prove(base, b"row/7"))[lie]
    with pytest.raises(ProofInvalid):
        check_proof(base.tree.root, proof, value)


def test_a_proof_is_of_one_root_only() -> None:
    base = base_of(ROWS)
    proof, before = prove(base, b"row/7"), base.tree.root
    base.take(changes(base, {b"row/8": b"changed"}))
    check_proof(before, proof, ROWS[b"row/7"])
    with pytest.raises(ProofInvalid, match="another root"):
        check_proof(base.tree.root, proof, ROWS[b"row/7"])
