"""What the kernel does with a block, and each way in which an entry or a block is refused."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypermesh.crypto.digest import digest, digest_of
from hypermesh.ledger import kernel as kernel_module
from hypermesh.ledger.errors import BlockRefused
from hypermesh.ledger.kernel import (
    ENTRIES_MAX,
    TRANSACTION_BYTES_MAX,
    Execution,
    Kernel,
    Malformed,
    NonceNotNext,
    OutsideWindow,
    SignatureRefused,
    entries_root,
    results_root,
)
from hypermesh.ledger.module import InvariantBroken
from hypermesh.ledger.state import MemoryBase, Overlay
from hypermesh.wire.amount import AMOUNT_MAX
from hypermesh.wire.block import BlockInput
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import InvalidInput, NotAvailable
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.tx import (
    WINDOW_MS_MAX,
    BlockOpening,
    IdentityOwn,
    IdentityRevoke,
    SignedTransaction,
    TxResult,
)

from .toys import (
    BALANCES,
    DUE,
    GRANT,
    NONCES,
    START_MS,
    TOTALS,
    Number,
    ToyBank,
    ToyBug,
    ToyIdentity,
    ToyRefusal,
    block_input,
    faucet,
    genesis,
    keys,
    own,
    pay,
    signed,
    toy_kernel,
)


class Chain:
    """Blocks one after another in memory."""

    def __init__(self) -> None:
        self.kernel = toy_kernel()
        self.base = MemoryBase()
        self.base.take(self.kernel.begin(self.base))

    def block(
        self, *entries: bytes, time_ms: int = START_MS, vdf: VdfOutput | None = None
    ) -> Execution:
        height = self.kernel.head(self.base).height + 1
        execution = self.kernel.execute(
            block_input(height, *entries, time_ms=time_ms, vdf=vdf), self.base
        )
        self.base.take(execution.changes)
        return execution

    def codes(self, *entries: bytes, time_ms: int = START_MS) -> list[str]:
        return [result.code for result in self.block(*entries, time_ms=time_ms).results[1:]]

    def nonce(self, name: str) -> int:
        row = NONCES.get(Overlay(self.base), keys(name).id)
        return row.value if row else 0

    def balance(self, name: str) -> int:
        row = BALANCES.get(Overlay(self.base), keys(name).id)
        return row.value if row else 0


@pytest.fixture
def chain() -> Chain:
    """Alice and Bob are known; Alice has a grant."""
    chain = Chain()
    assert chain.codes(own("alice"), own("bob"), faucet("alice", 1)) == ["ok", "ok", "ok"]
    return chain


def test_a_block_executes_its_transactions_in_order(chain: Chain) -> None:
    execution = chain.block(pay("alice", 2, "bob", 400), pay("bob", 1, "alice", 100))
    assert [result.code for result in execution.results] == ["ok", "ok", "ok"]
    assert (chain.balance("alice"), chain.balance("bob")) == (GRANT - 300, 300)
    assert [index for index, _ in execution.executed] == [1, 2]
    assert [event.name for event in execution.events] == ["toy.paid", "toy.paid"]


def test_the_header_commits_to_all_of_the_block(chain: Chain) -> None:
    before = chain.kernel.commit_hash(chain.base)
    given = block_input(2, pay("alice", 2, "bob", 1), time_ms=START_MS + 7)
    execution = chain.kernel.execute(given, chain.base)
    header = execution.header
    assert (header.height, header.time_ms) == (2, START_MS + 7)
    assert header.genesis == digest_of("genesis", genesis())
    assert header.sequencer == keys("sequencer").id
    assert header.previous == before
    assert header.entries_root == entries_root(given.entries)
    assert header.results_root == results_root(execution.results)
    chain.base.take(execution.changes)
    assert header.app_hash == chain.base.tree.root
    assert chain.kernel.header(chain.base) == header
    assert chain.kernel.commit_hash(chain.base) == digest_of("header", header)


def test_the_first_block_follows_genesis(chain: Chain) -> None:
    fresh = Chain()
    assert fresh.kernel.header(fresh.base) is None
    assert fresh.block().header.previous == fresh.kernel.genesis_id


def test_executing_leaves_the_base_alone(chain: Chain) -> None:
    root = chain.base.tree.root
    given = block_input(2, pay("alice", 2, "bob", 1))
    one = chain.kernel.execute(given, chain.base)
    two = toy_kernel().execute(given, chain.base)
    assert chain.base.tree.root == root
    assert one == two


def test_a_refused_body_spends_the_nonce_and_nothing_else(chain: Chain) -> None:
    execution = chain.block(pay("alice", 2, "bob", 5, "refuse"))
    assert execution.results[1].code == ToyRefusal.code
    assert execution.results[1].failures == ["stake", "time"]
    assert execution.problems[1].what == "as the memo asks"
    assert execution.events == []
    assert [index for index, _ in execution.executed] == [1]
    assert (chain.nonce("alice"), chain.balance("alice"), chain.balance("bob")) == (3, GRANT, 0)


def test_an_amount_out_of_range_is_a_refusal_and_no_crash(chain: Chain) -> None:
    assert chain.codes(pay("alice", 2, "bob", AMOUNT_MAX)) == [InvalidInput.code]
    assert (chain.nonce("alice"), chain.balance("alice")) == (3, GRANT)


def test_a_replayed_transaction_is_refused_and_spends_nothing(chain: Chain) -> None:
    payment = pay("alice", 2, "bob", 5)
    assert chain.codes(payment, payment) == ["ok", NonceNotNext.code]
    assert chain.codes(payment) == [NonceNotNext.code]
    assert (chain.nonce("alice"), chain.balance("bob")) == (3, 5)


@pytest.mark.parametrize("nonce", [0, 1, 3, 4, 2**53])
def test_only_the_next_nonce_will_do(chain: Chain, nonce: int) -> None:
    assert chain.codes(pay("alice", nonce, "bob", 5)) == [NonceNotNext.code]
    assert (chain.nonce("alice"), chain.balance("bob")) == (2, 0)


@pytest.mark.parametrize(
    ("start", "end", "code"),
    [
        (0, 0, "ok"),
        (-WINDOW_MS_MAX, 0, "ok"),
        (0, WINDOW_MS_MAX, "ok"),
        (1, WINDOW_MS_MAX, OutsideWindow.code),
        (-WINDOW_MS_MAX, -1, OutsideWindow.code),
        (-1, WINDOW_MS_MAX, OutsideWindow.code),
        (0, -1, OutsideWindow.code),
    ],
)
def test_the_window_counts_in_block_time(chain: Chain, start: int, end: int, code: str) -> None:
    payment = pay(
        "alice", 2, "bob", 5, valid_from_ms=START_MS + start, valid_until_ms=START_MS + end
    )
    assert chain.codes(payment) == [code]
    assert chain.nonce("alice") == (3 if code == "ok" else 2)


def damaged(entry: bytes, half: str) -> bytes:
    """`entry` with one bit of one signature half turned."""
    signed_transaction = decode(SignedTransaction, entry)
    signature = signed_transaction.signature
    data = bytearray(getattr(signature, half))
    data[-1 if half == "ed25519" else 60] ^= 1
    return encode(
        msgspec.structs.replace(
            signed_transaction,
            signature=msgspec.structs.replace(signature, **{half: bytes(data)}),
        )
    )


@pytest.mark.parametrize("half", ["falcon", "ed25519"])
def test_both_signature_halves_must_hold(chain: Chain, half: str) -> None:
    payment = pay("alice", 2, "bob", 5)
    assert chain.codes(damaged(payment, half)) == [SignatureRefused.code]
    assert (chain.nonce("alice"), chain.balance("bob")) == (2, 0)
    assert chain.codes(payment) == ["ok"]


def test_a_signature_that_verified_once_does_not_vouch_for_another(chain: Chain) -> None:
    payment = pay("alice", 2, "bob", 5)
    chain.kernel.check(payment, Overlay(chain.base), START_MS)
    assert chain.codes(damaged(payment, "falcon")) == [SignatureRefused.code]


def test_the_verified_signatures_change_time_and_no_result(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    payments = [pay("alice", 2 + number, "bob", 1) for number in range(5)]
    state = Overlay(chain.base)
    for payment in payments:
        chain.kernel.check(payment, state, START_MS)
    given = block_input(2, *payments)
    warm = chain.kernel.execute(given, chain.base)
    monkeypatch.setattr(kernel_module, "VERIFIED_MAX", 1)
    assert toy_kernel().execute(given, chain.base) == warm


def test_a_signature_by_someone_else_is_refused(chain: Chain) -> None:
    assert chain.codes(pay("alice", 2, "bob", 5, signing="bob")) == [SignatureRefused.code]
    assert chain.nonce("alice") == 2


def test_another_network_is_refused(chain: Chain) -> None:
    assert chain.codes(pay("alice", 2, "bob", 5, genesis=bytes(32))) == ["HM-TX-0002"]
    assert chain.nonce("alice") == 2


def test_an_unknown_signer_is_refused_by_the_authenticator(chain: Chain) -> None:
    assert chain.codes(pay("carol", 0, "bob", 5)) == [ToyRefusal.code]
    assert chain.codes(signed("carol", 0, IdentityOwn(keys("alice").public))) == [ToyRefusal.code]


def test_a_type_that_no_module_executes_is_refused(chain: Chain) -> None:
    entry = signed("alice", 2, IdentityRevoke(keys("bob").id, "why not"))
    assert chain.codes(entry) == ["HM-TX-0006"]
    assert chain.nonce("alice") == 3


def malformed() -> dict[str, bytes]:
    payment = pay("alice", 2, "bob", 5)
    invalid_text = bytearray(pay("alice", 2, "bob", 5, "memo"))
    at = bytes(invalid_text).index(b"memo")
    invalid_text[at : at + 2] = b"\xff\xfe"
    return {
        "nothing": b"",
        "a number": b"\x01",
        "text": b"not a transaction",
        "truncated": payment[:-1],
        "with a tail": payment + b"\x00",
        "nested deep": b"\x91" * 100_000,
        "a second opening": encode(BlockOpening(START_MS, None)),
        "too large": b"\xc6" + (TRANSACTION_BYTES_MAX).to_bytes(4, "big"),
        "text that is not UTF-8": bytes(invalid_text),
        "not canonical": payment.replace(b"\xa6signed", b"\xd9\x06signed", 1),
        "not the right fields": encode([1, 2, 3]),
    }


@pytest.mark.parametrize("name", sorted(malformed()))
def test_malformed_bytes_get_a_result_and_never_crash(chain: Chain, name: str) -> None:
    entry = malformed()[name]
    execution = chain.block(entry, pay("alice", 2, "bob", 5))
    assert execution.results[1] == TxResult(digest("entry", entry), Malformed.code, [])
    assert execution.results[2].code == "ok"
    assert [index for index, _ in execution.executed] == [2]


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_get_a_result(data: bytes) -> None:
    chain = Chain()
    assert chain.codes(data) == [Malformed.code]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_altered_byte_of_a_transaction_spends_nothing(data: st.DataObject) -> None:
    entry = bytearray(own("alice"))
    position = data.draw(st.integers(0, len(entry) - 1))
    entry[position] ^= data.draw(st.integers(1, 255))
    chain = Chain()
    (code,) = chain.codes(bytes(entry))
    assert code != "ok"
    assert chain.nonce("alice") == 0


def test_an_entry_over_its_limit_is_refused_unread(chain: Chain) -> None:
    assert chain.codes(bytes(TRANSACTION_BYTES_MAX + 1)) == [Malformed.code]


@pytest.mark.parametrize(
    ("why", "alter"),
    [
        ("height", lambda given: msgspec.structs.replace(given, height=3)),
        ("height", lambda given: msgspec.structs.replace(given, height=1)),
        ("entries", lambda given: msgspec.structs.replace(given, entries=[])),
        (
            "entries",
            lambda given: msgspec.structs.replace(given, entries=[b""] * (ENTRIES_MAX + 1)),
        ),
        ("opening", lambda given: msgspec.structs.replace(given, entries=[own("carol")])),
        ("opening", lambda given: msgspec.structs.replace(given, entries=[b"\xc1"])),
        ("opening", lambda given: msgspec.structs.replace(given, time_ms=START_MS + 1)),
        ("time", lambda _: block_input(2, time_ms=START_MS - 1)),
        (
            "large",
            lambda given: msgspec.structs.replace(
                given, entries=[*given.entries, *[bytes(TRANSACTION_BYTES_MAX)] * 2]
            ),
        ),
    ],
)
def test_a_block_of_the_wrong_form_is_no_block(
    chain: Chain, why: str, alter: Callable[[BlockInput], BlockInput]
) -> None:
    with pytest.raises(BlockRefused, match=why):
        chain.kernel.execute(alter(block_input(2)), chain.base)
    assert chain.kernel.head(chain.base).height == 1


def test_time_may_stand_still_and_never_goes_back(chain: Chain) -> None:
    chain.block(time_ms=START_MS + 5)
    chain.block(time_ms=START_MS + 5)
    with pytest.raises(BlockRefused, match="never goes back"):
        chain.block(time_ms=START_MS + 4)


def test_evidence_is_not_available_yet(chain: Chain) -> None:
    given = msgspec.structs.replace(block_input(2), evidence=[b"evidence"])
    with pytest.raises(NotAvailable):
        chain.kernel.execute(given, chain.base)


def test_a_module_may_refuse_the_opening_and_with_it_the_block(chain: Chain) -> None:
    root = chain.base.tree.root
    with pytest.raises(ToyRefusal):
        chain.block(pay("alice", 2, "bob", 5), vdf=VdfOutput("bad", 1, b"y"))
    assert chain.base.tree.root == root
    chain.block(vdf=VdfOutput("good", 1, b"y"))
    assert TOTALS.get(Overlay(chain.base), b"vdf") == Number(1)


def test_what_falls_due_happens_in_the_first_block_past_it(chain: Chain) -> None:
    chain.block(pay("alice", 2, "bob", 5, "due:10"))
    assert chain.kernel.next_deadline(Overlay(chain.base)) == START_MS + 10
    assert chain.block(time_ms=START_MS + 9).events == []
    assert [event.name for event in chain.block(time_ms=START_MS + 10).events] == ["toy.due"]
    assert list(DUE.rows(Overlay(chain.base))) == []
    assert chain.kernel.next_deadline(Overlay(chain.base)) is None


def test_a_broken_invariant_stops_the_block(chain: Chain) -> None:
    with pytest.raises(InvariantBroken):
        chain.block(pay("alice", 2, "bob", 5, "lose"))


def test_a_bug_in_a_module_is_no_refusal(chain: Chain) -> None:
    with pytest.raises(ToyBug):
        chain.block(pay("alice", 2, "bob", 5, "bug"))


def test_a_damaged_row_is_no_refusal(chain: Chain) -> None:
    damaged_base = MemoryBase()
    damaged_base.take(chain.kernel.begin(damaged_base))
    damaged_base._rows = dict(chain.base._rows)
    damaged_base._rows[BALANCES.key(keys("alice").id)] = b"\xc1"
    with pytest.raises(InvariantBroken, match="toy-balance"):
        chain.kernel.execute(block_input(2, pay("alice", 2, "bob", 5)), damaged_base)


def test_check_lets_a_signer_have_several_waiting(chain: Chain) -> None:
    state = Overlay(chain.base)
    root = chain.base.tree.root
    for nonce in (2, 3, 4):
        entry = pay("alice", nonce, "bob", 1)
        assert chain.kernel.check(entry, state, START_MS) == chain.kernel.tx_id(entry)
    with pytest.raises(NonceNotNext):
        chain.kernel.check(pay("alice", 6, "bob", 1), state, START_MS)
    assert chain.base.tree.root == root


@pytest.mark.parametrize(
    ("entry", "refusal"),
    [
        (lambda: b"\xc1", Malformed),
        (lambda: pay("alice", 1, "bob", 5), NonceNotNext),
        (lambda: pay("alice", 2, "bob", 5, signing="bob"), SignatureRefused),
        (lambda: pay("alice", 2, "bob", 5, time_ms=300_000), OutsideWindow),
        (
            lambda: signed("alice", 2, IdentityRevoke(keys("bob").id, "no")),
            kernel_module.NotExecutable,
        ),
    ],
)
def test_check_refuses_what_would_waste_a_block(
    chain: Chain, entry: Callable[[], bytes], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        chain.kernel.check(entry(), Overlay(chain.base), START_MS)


def test_two_modules_may_not_claim_one_type() -> None:
    class Claimant(ToyBank):
        name = "claimant"

    identity = ToyIdentity()
    with pytest.raises(TypeError, match="BankFaucet"):
        Kernel(genesis(), [identity, ToyBank(), Claimant()], identity)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["alice", "bob", "carol"]),
        st.sampled_from(["alice", "bob", "carol"]),
        st.integers(1, 2 * GRANT),
        st.sampled_from(["", "", "refuse", "due:1", "replay", "skip"]),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_any_transactions_keep_nonces_and_money_straight(
    steps: list[tuple[str, str, int, str, bool]],
) -> None:
    """The kernel over random blocks, against a few lines that say what must come out."""
    names = ["alice", "bob", "carol"]
    chain = Chain()
    entries = [*(own(name) for name in names), *(faucet(name, 1) for name in names)]
    assert set(chain.codes(*entries)) == {"ok"}
    nonce = dict.fromkeys(names, 2)
    balance = dict.fromkeys(names, GRANT)
    pending: list[bytes] = []
    expected: list[str] = []

    def flush() -> None:
        assert chain.codes(*pending) == expected
        pending.clear()
        expected.clear()

    for source, target, amount, memo, ends_block in steps:
        offset = {"replay": -1, "skip": 1}.get(memo, 0)
        pending.append(pay(source, nonce[source] + offset, target, amount, "" if offset else memo))
        if offset:
            expected.append(NonceNotNext.code)
        else:
            nonce[source] += 1
            if balance[source] < amount:
                expected.append(InvalidInput.code)
            elif memo == "refuse":
                expected.append(ToyRefusal.code)
            else:
                expected.append("ok")
                balance[source] -= amount
                balance[target] += amount
        if ends_block:
            flush()
    flush()
    assert {name: chain.nonce(name) for name in names} == nonce
    assert {name: chain.balance(name) for name in names} == balance


def test_an_event_names_the_transaction_that_it_comes_from(chain: Chain) -> None:
    """What falls due by itself names none; what a refused body did is no event."""
    execution = chain.block(
        pay("alice", 2, "bob", 5, "due:10"),
        pay("bob", 1, "alice", 10**9),
        pay("alice", 3, "bob", 1),
    )
    assert execution.results[2].code != "ok"
    assert [event.entry for event in execution.events] == [1, 3]
    [due] = chain.block(time_ms=START_MS + 10).events
    assert due.entry is None
