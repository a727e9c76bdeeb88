"""The history of an asset, checked offline: planted lies are caught, and what is not shown is said
to be not shown."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hypermesh.assets.history import History, verify_history
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.ledger.shown import RowProof, read_genesis, read_row, read_transaction
from hypermesh.ledger.verify import verify_transaction
from hypermesh.wire.api.ledger import HistoryPage, ProvenTransaction
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.block import SignedHeader, TransactionProof
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.tx import SignedTransaction, TxResult

from .conftest import Written

replace = msgspec.structs.replace
Proofs = list[TransactionProof]


@pytest.fixture(scope="session")
def pages(written: Written) -> list[HistoryPage]:
    return written.histories[AssetKind.MEMORY]


@pytest.fixture
def proofs(pages: list[HistoryPage]) -> Proofs:
    return [read_transaction(entry.proof) for page in pages for entry in page.items]


def check(pages: list[HistoryPage], proofs: Proofs, row: RowProof | None = None) -> History:
    last = pages[-1]
    return verify_history(
        read_genesis(last.genesis), bytes.fromhex(last.asset), row or read_row(last.row), proofs
    )


def test_an_honest_history_holds(pages: list[HistoryPage], proofs: Proofs) -> None:
    history = check(pages, proofs)
    types = [entry.operation.type for page in pages for entry in page.items]
    assert types[0] == "asset.register"
    assert types.count("lease.open") == history.row.epoch == 2
    assert {"lease.activate", "lease.settle", "lease.claim"} <= set(types)
    assert (history.counted, history.uncounted) == (3, len(types) - 3)
    assert all(entry.operation.code == "ok" for page in pages for entry in page.items)


def of(proofs: Proofs, tag: str) -> int:
    for number, proof in enumerate(proofs):
        body = decode_body(proof)
        if str(type(body).__struct_config__.tag) == tag:
            return number
    raise AssertionError(tag)


def decode_body(proof: TransactionProof) -> msgspec.Struct:
    return decode(SignedTransaction, proof.entry).transaction.body


def drop(tag: str) -> Callable[[Proofs], Proofs]:
    def act(proofs: Proofs) -> Proofs:
        place = of(proofs, tag)
        return proofs[:place] + proofs[place + 1 :]

    return act


def altered(number: int, change: Callable[[TransactionProof], TransactionProof]) -> object:
    return lambda proofs: [
        change(each) if place == number else each for place, each in enumerate(proofs)
    ]


def _other_byte(proof: TransactionProof) -> TransactionProof:
    # The last byte is the signature's: not in the id, and in the block all the same.
    return replace(proof, entry=proof.entry[:-1] + bytes([proof.entry[-1] ^ 1]))


def _other_time(proof: TransactionProof) -> TransactionProof:
    header = replace(proof.header.header, time_ms=proof.header.header.time_ms + 1)
    return replace(proof, header=SignedHeader(header, proof.header.signature))


def _result(code: str) -> Callable[[TransactionProof], TransactionProof]:
    def act(proof: TransactionProof) -> TransactionProof:
        results = list(proof.results)
        results[proof.index] = TxResult(results[proof.index].tx, code, [])
        return replace(proof, results=results)

    return act


LIES: dict[str, Callable[[Proofs], Proofs]] = {
    "registration dropped": drop("asset.register"),
    "lease dropped": drop("lease.open"),
    "all dropped": lambda _: [],
    "an entry twice": lambda proofs: [*proofs[:2], *proofs[1:]],
    "another order": lambda proofs: [proofs[1], proofs[0], *proofs[2:]],
    "altered bytes": altered(1, _other_byte),  # type: ignore[dict-item]
    "altered header": altered(1, _other_time),  # type: ignore[dict-item]
    "another result": altered(1, _result("HM-TX-LEASE-0006")),  # type: ignore[dict-item]
    "wrong index": altered(0, lambda proof: replace(proof, index=proof.index + 1)),  # type: ignore[dict-item]
    "index of the opening": altered(0, lambda proof: replace(proof, index=0)),  # type: ignore[dict-item]
    "fewer results": altered(0, lambda proof: replace(proof, results=proof.results[:-1])),  # type: ignore[dict-item]
    "more results": altered(  # type: ignore[dict-item]
        0, lambda proof: replace(proof, results=[*proof.results, proof.results[-1]])
    ),
    "longer path": altered(0, lambda proof: replace(proof, path=[*proof.path, bytes(32)])),  # type: ignore[dict-item]
    "header of another block": lambda proofs: [
        replace(proofs[0], header=proofs[1].header),
        *proofs[1:],
    ],
}


@pytest.mark.parametrize("lie", LIES, ids=lambda name: name.replace(" ", "-"))
def test_a_planted_lie_is_caught(lie: str, pages: list[HistoryPage], proofs: Proofs) -> None:
    with pytest.raises(ProofInvalid):
        check(pages, LIES[lie](proofs))


def test_what_is_not_shown(pages: list[HistoryPage], proofs: Proofs) -> None:
    """The limit that `assets.history` states: a settlement that is left out is not missed."""
    less = drop("lease.settle")(proofs)
    assert check(pages, less).uncounted == check(pages, proofs).uncounted - 1


def test_the_history_of_another_asset_is_refused(
    written: Written, pages: list[HistoryPage], proofs: Proofs
) -> None:
    other = written.histories[AssetKind.CPU]
    with pytest.raises(ProofInvalid, match="another asset"):
        check(pages, proofs, read_row(other[-1].row))
    foreign = [read_transaction(entry.proof) for page in other for entry in page.items]
    with pytest.raises(ProofInvalid, match="not about asset"):
        check(pages, sorted([*proofs, *foreign], key=lambda p: p.header.header.height))


def test_a_row_that_is_forged_or_too_old_is_refused(
    pages: list[HistoryPage], proofs: Proofs
) -> None:
    row = read_row(pages[-1].row)
    assert row.value is not None
    for forged in (
        msgspec.structs.replace(row, value=row.value[:-1] + bytes([row.value[-1] ^ 1])),
        msgspec.structs.replace(row, value=None),
        msgspec.structs.replace(row, header=proofs[0].header),
    ):
        with pytest.raises(ProofInvalid):
            check(pages, proofs, forged)


def test_a_header_of_another_network_is_refused(pages: list[HistoryPage], proofs: Proofs) -> None:
    genesis = read_genesis(pages[-1].genesis)
    last = pages[-1]
    with pytest.raises(ProofInvalid, match="another network"):
        verify_history(
            replace(genesis, name="another"),
            bytes.fromhex(last.asset),
            read_row(last.row),
            proofs,
        )


@pytest.mark.parametrize("member", ProvenTransaction.__struct_fields__)
def test_no_readable_member_differs_from_the_bytes(member: str, pages: list[HistoryPage]) -> None:
    shown = pages[0].items[1].proof
    value = getattr(shown, member)
    other: object
    if isinstance(value, int):
        other = value + 1
    elif isinstance(value, list):
        other = [*value, "00" * 32]
    else:
        other = ("1" if value[0] != "1" else "2") + value[1:]
    genesis = read_genesis(pages[-1].genesis)
    with pytest.raises(ProofInvalid):
        verify_transaction(genesis, read_transaction(replace(shown, **{member: other})))


def test_the_document_survives_its_encoding(pages: list[HistoryPage]) -> None:
    for page in pages:
        assert msgspec.json.decode(msgspec.json.encode(page), type=HistoryPage) == page
        assert decode(type(read_genesis(page.genesis)), bytes.fromhex(page.genesis))
        assert encode(read_row(page.row).header).hex() == page.row.header
