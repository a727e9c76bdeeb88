"""What blocks and accounts say in words, and that what was asked is what is shown."""

from __future__ import annotations

import re

from .conftest import Written


def sentences(written: Written) -> list[str]:
    """What was done, oldest first, with what became of it."""
    return [
        f"{operation.words} [{operation.code}]"
        for block in reversed(written.blocks)
        for operation in block.operations
        if operation.type != "system.block"
    ]


def test_every_kind_of_operation_is_a_sentence(written: Written) -> None:
    said = sentences(written)
    for pattern in (
        r"an owner makes its keys known \[ok\]",
        r"alice makes its certificate known \[ok\]",
        r"bob claims its grant from the faucet \[ok\]",
        r"bob bonds 0\.000005 CAES for node bob \[ok\]",
        r"bob asks 0\.000002 CAES back from the bond of node bob \[ok\]",
        r"alice attests space, stake, work and time for epoch \d+ \[ok\]",
        r"alice registers its memory at level full_public \[ok\]",
        r"bob leases 1 MiB of alice's memory for 10 min, escrow 0\.[0-9]+ CAES \[ok\]",
        r"bob leases 4 KiB of alice's memory for 1 s, escrow 0\.[0-9]+ CAES \[ok\]",
        r"alice activates lease [0-9a-f]{8} \(1 MiB of alice's memory\) \[ok\]",
        r"bob settles lease [0-9a-f]{8} \(1 MiB of alice's memory\), held .+ \[ok\]",
        r"alice claims payment for lease [0-9a-f]{8} \(4 KiB of alice's memory\), held 1 s \[ok\]",
        r"bob pays alice 0\.0000015 CAES: thanks \[ok\]",
        r"bob pays bob 0\.000000001 CAES: to myself: refused \[HM-TX-BANK-0003\]",
    ):
        assert any(re.fullmatch(pattern, each) for each in said), (pattern, said)


def test_a_refused_operation_says_why(written: Written) -> None:
    [refused] = [
        operation
        for block in written.blocks
        for operation in block.operations
        if operation.code != "ok"
    ]
    assert refused.refusal == "Source and target are the same account"
    assert refused.signer_name == "bob"


def test_operations_name_what_they_are_about(written: Written) -> None:
    lease = written.receipts["settled"].lease
    about = {
        operation.type: operation
        for block in written.blocks
        for operation in block.operations
        if operation.lease == lease
    }
    assert set(about) == {"lease.open", "lease.activate", "lease.settle"}
    assert {each.asset for each in about.values()} == {written.receipts["settled"].terms.asset}
