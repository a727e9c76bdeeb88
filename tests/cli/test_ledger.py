"""The ledger on the command line: why this balance, blocks, receipts that are verified offline."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hypermesh.cli.catalogue import EXIT_CODES, catalogue, meaning
from hypermesh.wire.amount import parse_caes
from hypermesh.wire.errors import HyperMeshError

from .shell import Machine

PROGRAM = b"print('hello from the pool')\n"


@pytest.fixture(scope="module")
def receipt(home: Machine, lender: Machine) -> Path:
    """The receipt of a job, in a file."""
    program = home.directory / "hello.py"
    program.write_bytes(PROGRAM)
    job = home.json("job", "run", str(program), "--cpu", "100m")
    saved = home.directory / "receipt.json"
    done = home.succeeds("lease", "receipt", job["receipt"][:10], "--save", str(saved))
    assert done.stdout == b""
    assert f"hm verify {saved}" in done.stderr.decode()
    printed = home.succeeds("lease", "receipt", job["receipt"]).stdout
    assert json.loads(printed)["lease"] == json.loads(saved.read_bytes())["lease"] == job["receipt"]
    return saved


def test_a_receipt_is_verified_without_a_node(receipt: Path, tmp_path: Path) -> None:
    elsewhere = Machine(tmp_path, "nowhere")
    said = elsewhere.succeeds("verify", str(receipt)).stdout.decode()
    assert re.search(r"verdict  all \d+ checks hold", said)
    assert "trust    as stated in the document" in said
    assert "FAILED" not in said
    genesis = json.loads(receipt.read_bytes())["genesis"]["id"]
    pinned = elsewhere.json("verify", str(receipt), "--genesis", genesis)
    assert pinned["ok"] is True
    assert all(check["ok"] and check["rule"] for check in pinned["checks"])
    by_stdin = elsewhere.hm("verify", "-", stdin=receipt.read_bytes())
    assert by_stdin.returncode == 0


def test_a_receipt_that_was_changed_fails_with_9(receipt: Path, tmp_path: Path) -> None:
    elsewhere = Machine(tmp_path, "nowhere")
    document = json.loads(receipt.read_bytes())
    document["figures"]["paid"] += 1
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(document))
    done = elsewhere.hm("verify", str(forged))
    assert done.returncode == 9
    said = done.stdout.decode()
    assert re.search(r"FAILED  figure paid = \d+: the cost, at most the escrow less the fee", said)
    assert re.search(r"verdict  \d+ of \d+ checks failed", said)
    told = elsewhere.hm("explain", str(forged))
    assert told.returncode == 9
    assert "verified  NO" in told.stdout.decode()
    other = elsewhere.hm("verify", str(receipt), "--genesis", "00" * 32)
    assert other.returncode == 9
    forged.write_text("{}")
    assert "[HM-ASSET-0020]" in elsewhere.fails("verify", str(forged), exit_code=9)


def test_explain_tells_where_each_figure_comes_from(home: Machine, receipt: Path) -> None:
    lease = json.loads(receipt.read_bytes())["lease"]
    said = home.succeeds("explain", lease[:8]).stdout.decode()
    for figure in ("price", "escrow", "held", "cost", "fee", "paid", "refund", "isolation"):
        assert re.search(rf"^{figure} ", said, re.MULTILINE), figure
    assert "lease.open, block" in said
    assert "meter, signed" in said
    assert (
        said == home.succeeds("explain", str(receipt)).stdout.decode().replace("", "")
        or "verified  all" in said
    )
    document = home.json("explain", lease)
    assert document["ok"] is True
    assert all(row["from"] and row["where"] for row in document["figures"])


def test_explain_an_error_code_offline(tmp_path: Path) -> None:
    elsewhere = Machine(tmp_path, "nowhere")
    said = elsewhere.succeeds("explain", "HM-NODE-0003").stdout.decode()
    assert "HM-NODE-0003" in said
    assert "exit code" in said
    told = elsewhere.json("explain", "hm-tx-bank-0002")
    assert told["title"] == "The balance is too small"
    assert told["exit_code"] == 8
    assert "Did you mean HM-" in elsewhere.fails("explain", "HM-NODE-00O3", exit_code=5)
    rows = elsewhere.json("explain", "--list")["items"]
    codes = [row["code"] for row in rows]
    assert codes == sorted(codes)
    assert {"HM-0002", "HM-TX-BANK-0002", "HM-INDEX-0001"} <= set(codes)


def test_every_error_says_what_it_means() -> None:
    for code, error in catalogue().items():
        if code.startswith("HM-TEST"):
            continue
        assert error.title, code
        assert meaning(error), code
        assert meaning(error) != meaning(HyperMeshError) or code == HyperMeshError.code, code
        assert error.exit_code in EXIT_CODES, code
        assert 400 <= error.status <= 599, code


def test_the_history_of_the_wallet_adds_up(home: Machine, receipt: Path) -> None:
    account = home.json("wallet", "show")
    entries = home.json("wallet", "history", "--last", "1000")["items"]
    assert sum(each["change"]["balance"] for each in entries) == account["balance"]
    assert sum(each["change"]["in_escrow"] for each in entries) == account["in_escrow"]
    said = home.succeeds("wallet", "history", "--last", "3").stdout.decode()
    found = re.search(r"balance now ([0-9.]+) CAES: ([0-9.]+) before these, and these", said)
    assert found is not None
    before = parse_caes(found[2])
    assert before + sum(each["change"]["balance"] for each in entries[:3]) == account["balance"]
    assert "network fee of lease" in home.succeeds("wallet", "history").stdout.decode()


def test_a_payment_to_oneself_is_refused_in_words(home: Machine) -> None:
    name = home.json("status")["name"]
    assert "[HM-TX-BANK-0003]" in home.fails("wallet", "send", name, "1", exit_code=2)
    assert "nobody" in home.fails("wallet", "send", "nobody", "1", exit_code=5)
    assert "1.0000000001" in home.fails("wallet", "send", name, "1.0000000001", exit_code=2)


def test_blocks_and_transactions(home: Machine, receipt: Path) -> None:
    document = json.loads(receipt.read_bytes())
    opened = document["proofs"][0]["transaction"]
    said = home.succeeds("block", "show", str(opened["height"])).stdout.decode()
    assert opened["tx"][:16] in said
    assert "leases 0.1 cores of" in said
    listed = home.succeeds("block", "ls", "--last", "1000").stdout.decode()
    assert "claims its grant from the faucet" in listed
    shown = home.json("tx", "show", opened["tx"][:8])
    assert (shown["tx"], shown["operation"]["type"]) == (opened["tx"], "lease.open")
    table = home.succeeds("tx", "show", opened["tx"]).stdout.decode()
    assert "body.offer.price.amount" in table
    assert "[HM-0002]" in home.fails("tx", "show", "abc", exit_code=2)


def test_the_history_of_an_asset_is_verified_here(home: Machine, receipt: Path) -> None:
    asset = json.loads(receipt.read_bytes())["terms"]["asset"]
    said = home.succeeds("asset", "history", asset[:8], "--verify").stdout.decode()
    assert "registers its cpu at level" in said
    assert re.search(r"^verified: \d+ operations are in blocks", said, re.MULTILINE)
    assert re.search(r"^complete: all leases \(\d+\)", said, re.MULTILINE)
    assert re.search(r"^not shown: ", said, re.MULTILINE)
