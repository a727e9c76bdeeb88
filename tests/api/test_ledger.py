"""Blocks, transactions, accounts and leases over the API: decoded, paged, and in agreement."""

from __future__ import annotations

import httpx
import msgspec

from hypermesh.wire.api.account import AccountView, Change, EntryPage, EntryView
from hypermesh.wire.api.lease import LeaseDetail, LeasePage
from hypermesh.wire.api.ledger import BlockPage, BlockView, HistoryPage, TransactionDetail
from hypermesh.wire.asset import AssetKind, LeaseState
from hypermesh.wire.codec import decode
from hypermesh.wire.tx import SignedTransaction

from .nodes import Running, problem


def read(answer: httpx.Response, kind: type) -> object:
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=kind)


def test_blocks_come_newest_first_in_pages(alice: Running) -> None:
    with alice.over_socket() as client:
        seen: list[int] = []
        cursor: str | None = None
        while True:
            query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
            page = read(client.get("/v1/blocks", params=query), BlockPage)
            assert isinstance(page, BlockPage)
            assert len(page.items) <= 3
            seen += [block.height for block in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == list(range(seen[0], 0, -1))
        block = read(client.get(f"/v1/blocks/{seen[0]}"), BlockView)
        assert isinstance(block, BlockView)
        assert len(block.operations) == len(block.entries) == len(block.types)
        assert block.operations[0].type == "system.block"
        problem(client.get(f"/v1/blocks/{10**9}"), 404)
        for cursor in ("x", "-1", "1.5", "9" * 40):
            problem(client.get("/v1/blocks", params={"cursor": cursor}), 400)


def test_a_transaction_by_its_id_or_the_beginning_of_it(alice: Running) -> None:
    with alice.over_socket() as client:
        page = read(client.get("/v1/blocks"), BlockPage)
        assert isinstance(page, BlockPage)
        tx = next(each.tx for block in page.items for each in block.operations if each.tx)
        found = read(client.get(f"/v1/transactions/{tx}"), TransactionDetail)
        assert isinstance(found, TransactionDetail)
        assert found.tx == tx
        assert read(client.get(f"/v1/transactions/{tx[:12]}"), TransactionDetail) == found
        signed = decode(SignedTransaction, bytes.fromhex(found.transaction))
        assert signed.transaction.nonce == found.nonce
        assert found.operation.signer == signed.transaction.signer.hex()
        problem(client.get(f"/v1/transactions/{'00' * 32}"), 404)
        problem(client.get(f"/v1/transactions/{'0' * 8}"), 404)
        for bad in (tx[:7], tx.upper(), "zz" * 32, tx + "00"):
            problem(client.get(f"/v1/transactions/{bad}"), 400)


def test_entries_add_up_to_the_account(alice: Running) -> None:
    with alice.over_socket() as client:
        account = read(client.get("/v1/accounts/me"), AccountView)
        assert isinstance(account, AccountView)
        entries: list[EntryView] = []
        cursor: str | None = None
        while True:
            query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = read(client.get("/v1/accounts/me/entries", params=query), EntryPage)
            assert isinstance(page, EntryPage)
            entries += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        held = Change(account.balance, account.bonded, account.unbonding, account.in_escrow)
        assert _sum(entries) == entries[0].after == held
        assert [each.sequence for each in entries] == list(range(len(entries), 0, -1))
        assert entries[-1].reason.value == "grant"
        same = read(client.get(f"/v1/accounts/{alice.owner}/entries?limit=2"), EntryPage)
        assert isinstance(same, EntryPage)
        assert same.items == entries[:2]
        problem(client.get("/v1/accounts/xyz/entries"), 400)


def _sum(entries: list[EntryView]) -> Change:
    return Change(
        sum(each.change.balance for each in entries),
        sum(each.change.bonded for each in entries),
        sum(each.change.unbonding for each in entries),
        sum(each.change.in_escrow for each in entries),
    )


def test_leases_by_state_in_pages(alice: Running) -> None:
    memory = next(each for each in alice.mesh.assets.list(AssetKind.MEMORY) if each.mine)
    sessions = [alice.mesh.leases.allocate(memory.asset, 4096) for _ in range(3)]
    ids = [session.lease.lease for session in sessions]
    with alice.over_socket() as client:
        running = [each.lease for each in alice.mesh.leases.list(state="running")]
        assert running[:3] == ids[::-1]
        first = read(client.get("/v1/leases?state=active&limit=2"), LeasePage)
        assert isinstance(first, LeasePage)
        assert [each.lease for each in first.items] == ids[:0:-1]
        query = {"state": "active", "limit": "2", "cursor": first.next_cursor or ""}
        second = read(client.get("/v1/leases", params=query), LeasePage)
        assert isinstance(second, LeasePage)
        assert second.items[0].lease == ids[0]
        for bad in ({"state": "asleep"}, {"cursor": "x"}, {"cursor": "1.zz"}):
            problem(client.get("/v1/leases", params=bad), 400)
        refused = problem(client.get(f"/v1/leases/{ids[0]}/receipt"), 409)
        assert refused["code"] == "HM-ASSET-0021"
        assert "hm lease release" in refused["fix"]
    for session in sessions:
        settled = alice.mesh.leases.release(session.lease)
        assert settled.state is LeaseState.SETTLED
    detail = alice.mesh.leases.get(ids[0][:10])
    assert isinstance(detail, LeaseDetail)
    assert [each.name for each in detail.events] == ["lease.open", "lease.activate", "lease.settle"]
    assert detail.lease.deadline_ms is None
    over = [each.lease for each in alice.mesh.leases.list(state="over")]
    assert set(ids) <= set(over)
    assert not set(over) & {each.lease for each in alice.mesh.leases.list(state="running")}


def test_the_history_of_an_asset_in_pages(alice: Running) -> None:
    memory = next(each for each in alice.mesh.assets.list(AssetKind.MEMORY) if each.mine)
    with alice.over_socket() as client:
        whole = read(client.get(f"/assets/{memory.asset}/history"), HistoryPage)
        assert isinstance(whole, HistoryPage)
        cursor, found = None, []
        while True:
            query = {"limit": "1"} | ({"cursor": cursor} if cursor else {})
            page = read(client.get(f"/assets/{memory.asset}/history", params=query), HistoryPage)
            assert isinstance(page, HistoryPage)
            found += [entry.proof.tx for entry in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == [entry.proof.tx for entry in whole.items]
        problem(client.get(f"/assets/{'00' * 16}/history"), 404)
        problem(client.get(f"/assets/{memory.asset}/history?cursor=1"), 400)
