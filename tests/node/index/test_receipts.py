"""A receipt needs nothing but itself to be verified, and no member of it can be changed, left out
or brought from elsewhere without being noticed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from hypermesh.assets import receipt_check
from hypermesh.assets.origin import origins
from hypermesh.assets.receipt import ReceiptInvalid, read
from hypermesh.assets.receipt_check import Verdict, verify_receipt
from hypermesh.crypto.digest import digest
from hypermesh.wire.api.receipt import ReceiptDocument

from .conftest import PROGRAM, Written

KINDS = ("settled", "claimed", "job")
Path = tuple[str | int, ...]


def plain(document: ReceiptDocument) -> Any:
    return json.loads(msgspec.json.encode(document))


def verdict(document: Any, pinned: bytes | None = None) -> Verdict | None:
    """What the verification of a JSON value finds; None where it is no receipt at all."""
    try:
        return verify_receipt(read(json.dumps(document).encode()), pinned)
    except ReceiptInvalid:
        return None


def is_caught(document: Any) -> bool:
    found = verdict(document)
    return found is None or not found.ok


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value in a JSON value that holds no other."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from leaves(each, (*path, index))
    else:
        yield path, value


def put(document: Any, path: Path, value: Any) -> Any:
    """A copy with another value at `path`."""
    changed = copy.deepcopy(document)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed


def lies(value: Any) -> Iterator[Any]:
    """Other values than `value`, near to it."""
    if isinstance(value, str):
        for place in sorted({0, len(value) // 3, len(value) // 2, max(0, len(value) - 1)}):
            if value:
                other = "1" if value[place] != "1" else "2"
                yield value[:place] + other + value[place + 1 :]
        yield value + "00"
        yield value.upper() if value != value.upper() else value + "A"
        yield ""
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, -value - 1, 0 if value else 7)
    else:
        yield from ("00" * 32, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_receipt_holds_with_nothing_but_itself(written: Written, kind: str) -> None:
    document = written.receipts[kind]
    found = verify_receipt(document)
    assert found.ok, [check for check in found.checks if not check.ok]
    assert found.trust == "as stated in the document"
    genesis = bytes.fromhex(document.genesis.id)
    pinned = verify_receipt(document, genesis)
    assert pinned.ok
    assert "pinned by you" in pinned.trust
    assert len(pinned.checks) == len(found.checks) + 1


def test_another_network_than_the_pinned_one_is_refused(written: Written) -> None:
    found = verify_receipt(written.receipts["settled"], bytes(32))
    assert [check.what for check in found.checks if not check.ok] == ["network"]


@pytest.mark.parametrize("kind", KINDS)
def test_any_changed_member_is_caught(written: Written, kind: str) -> None:
    document = plain(written.receipts[kind])
    tried, missed = 0, []
    for path, value in leaves(document):
        for lie in lies(value):
            tried += 1
            if not is_caught(put(document, path, lie)):
                missed.append((path, lie))
    assert missed == []
    assert tried > 400


def test_the_search_above_finds_a_member_that_nobody_checks(written: Written) -> None:
    """It can fail: with the final comparison gone, a figure for people could be anything."""
    document = plain(written.receipts["settled"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receipt_check, "_compare", lambda *_: None)
        assert not is_caught(put(document, ("terms", "amount"), 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_left_out_or_added_is_caught(written: Written, kind: str) -> None:
    document = plain(written.receipts[kind])
    for path in {path[:-1] for path, _ in leaves(document)}:
        inner = document
        for step in path:
            inner = inner[step]
        for name in list(inner) if isinstance(inner, dict) else range(len(inner)):
            changed = copy.deepcopy(document)
            shorter = changed
            for step in path:
                shorter = shorter[step]
            del shorter[name]
            assert is_caught(changed), (path, name)
        if isinstance(inner, dict):
            assert is_caught(put(document, (*path, "note"), "paid in full")), path


def test_the_steps_of_two_leases_do_not_make_a_receipt(written: Written) -> None:
    one, other = (plain(written.receipts[kind]) for kind in ("settled", "job"))
    for step in range(3):
        mixed = copy.deepcopy(one)
        mixed["proofs"][step] = other["proofs"][step]
        assert is_caught(mixed)
    for order in ((1, 0, 2), (0, 2, 1), (0, 1), (0, 1, 2, 2)):
        mixed = copy.deepcopy(one)
        mixed["proofs"] = [one["proofs"][number] for number in order]
        assert is_caught(mixed)


def test_what_it_may_be_shown_without(written: Written) -> None:
    """The row and the reading are further evidence. Without them a receipt says less, and nothing
    else."""
    document = plain(written.receipts["settled"])
    document["row"] = document["figures"]["payee"] = document["use"]["reading"] = None
    less = verdict(document)
    assert less is not None
    assert less.ok
    assert len(less.checks) < len(verify_receipt(written.receipts["settled"]).checks)


def test_the_figures_are_those_of_the_ledger(written: Written) -> None:
    for kind in KINDS:
        document = written.receipts[kind]
        figures, terms = document.figures, document.terms
        assert figures.paid + figures.fee + figures.refund == figures.escrow == terms.escrow
        price = terms.price
        exact = price.amount * terms.amount * figures.charged_ms
        assert figures.paid * price.per_units * price.per_ms >= exact
        assert (figures.paid - 1) * price.per_units * price.per_ms < exact
        assert figures.payee == terms.provider_owner
        assert terms.consumer != terms.provider_owner
    assert [proof.step for proof in written.receipts["claimed"].proofs][2] == "claim"


def test_the_evidence_binds_what_the_job_did(written: Written) -> None:
    document = written.receipts["job"]
    (job,) = document.jobs
    assert (job.exit_code, job.reason) == (0, "exited")
    assert job.program == digest("job/program", PROGRAM.encode()).hex()
    assert job.stdout == digest("job/stdout", b"499500\n").hex()
    assert job.isolation == written.job.isolation
    assert document.use.cpu_us == job.cpu_us > 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_has_an_origin(written: Written, kind: str) -> None:
    document = written.receipts[kind]
    found = {each.figure: each for each in origins(document)}
    assert found["paid"].value == found["cost"].value
    assert document.terms.provider[:12] in found["held"].by
    opened = document.proofs[0].transaction
    for name in ("price", "amount", "duration", "escrow"):
        assert f"block {opened.height}, transaction {opened.tx[:12]}" in found[name].where
    assert all(each.by and each.where for each in found.values())


def test_a_member_that_comes_twice_is_refused(written: Written) -> None:
    text = json.dumps(plain(written.receipts["settled"]))
    assert read(text.encode())
    with pytest.raises(ReceiptInvalid, match="twice"):
        read(text.replace('"figures": {', '"figures": {"paid": 1, ', 1).encode())


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"\xff\xfe", b'{"schema_version": 2}', b"[" * 100_000]
)
def test_what_is_no_receipt_is_refused(text: bytes) -> None:
    with pytest.raises(ReceiptInvalid):
        read(text)
