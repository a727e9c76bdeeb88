"""The application against a scripted engine: what the engine would ask, in its order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hypermesh.consensus.prover.time import evaluate
from hypermesh.crypto.digest import digest_of
from hypermesh.ledger import identity
from hypermesh.ledger.engines.comet import messages as abci
from hypermesh.ledger.engines.comet.application import PROOF_OP, REFUSED, Application
from hypermesh.ledger.engines.comet.home import app_state, chain_id
from hypermesh.ledger.engines.comet.waiting import Waiting
from hypermesh.ledger.errors import AnotherNetwork, BlockRefused, DiskFull, OutcomeUnknown
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.kernel import ENTRIES_MAX, HEAD_KEY, Execution, NonceNotNext
from hypermesh.ledger.store import Store
from hypermesh.ledger.tree import check_proof
from hypermesh.wire.block import Block, BucketProof
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import NotAvailable, Problem
from hypermesh.wire.proof import TIME_WESOLOWSKI_1, VdfOutput
from hypermesh.wire.rpc import SubmitResponse
from hypermesh.wire.tx import BankTransfer, BlockOpening, SignedTransaction, TxResult

from .network import EPOCH_MS, START_MS, Chain, Network

ROOMY = 3 << 20


def at(time_ms: int, nanos: int = 0) -> abci.Timestamp:
    return abci.Timestamp(time_ms // 1000, time_ms % 1000 * 1_000_000 + nanos)


class Script:
    """An engine that asks what it is told to."""

    def __init__(self, network: Network, store: Store) -> None:
        self.network = network
        self.store = store
        self.waiting = Waiting()
        self.feed = Feed(store.height)
        self.now_ms = START_MS
        self.application = self._application()

    def _application(self) -> Application:
        return Application(
            self.network.kernel(), self.store, self.feed, self.waiting, lambda: self.now_ms
        )

    def restart(self) -> None:
        """The application process is new; the store is what it was."""
        self.application = self._application()

    def ask(self, request: object) -> object:
        return self.application.answer(request)

    @property
    def height(self) -> int:
        return self.store.height + 1

    def check(self, entry: bytes) -> abci.ResponseCheckTx:
        answer = self.ask(abci.RequestCheckTx(entry))
        assert isinstance(answer, abci.ResponseCheckTx)
        return answer

    def prepare(
        self, *entries: bytes, time_ms: int = START_MS, max_tx_bytes: int = ROOMY
    ) -> tuple[bytes, ...]:
        answer = self.ask(
            abci.RequestPrepareProposal(
                max_tx_bytes=max_tx_bytes, txs=entries, height=self.height, time=at(time_ms)
            )
        )
        assert isinstance(answer, abci.ResponsePrepareProposal)
        return answer.txs

    def process(self, *entries: bytes, time_ms: int = START_MS, **more: object) -> int:
        answer = self.ask(self._proposal(entries, time_ms, more))
        assert isinstance(answer, abci.ResponseProcessProposal)
        return answer.status

    def finalize(
        self, *entries: bytes, time_ms: int = START_MS, **more: object
    ) -> abci.ResponseFinalizeBlock:
        proposal = self._proposal(entries, time_ms, more)
        answer = self.ask(
            abci.RequestFinalizeBlock(
                txs=proposal.txs,
                misbehavior=proposal.misbehavior,
                hash=proposal.hash,
                height=proposal.height,
                time=proposal.time,
            )
        )
        assert isinstance(answer, abci.ResponseFinalizeBlock)
        return answer

    def commit(self) -> None:
        assert self.ask(abci.RequestCommit()) == abci.ResponseCommit()

    def block(self, *entries: bytes, time_ms: int = START_MS) -> list[TxResult]:
        """A block as one validator makes it: proposed, accepted, decided, durable."""
        proposed = self.prepare(*entries, time_ms=time_ms)
        assert self.process(*proposed, time_ms=time_ms) == abci.Verdict.ACCEPT
        answer = self.finalize(*proposed, time_ms=time_ms)
        self.commit()
        assert answer.app_hash == self.store.tree.root
        return [decode(TxResult, result.data) for result in answer.tx_results[1:]]

    def _proposal(
        self, entries: tuple[bytes, ...], time_ms: int, more: dict[str, object]
    ) -> abci.RequestProcessProposal:
        fields = {
            "txs": entries,
            "hash": digest_of("test-block", (list(entries), time_ms)),
            "height": self.height,
            "time": at(time_ms),
        }
        return abci.RequestProcessProposal(**(fields | more))  # type: ignore[arg-type]


@pytest.fixture
def script(network: Network, store: Store) -> Script:
    return Script(network, store)


def opening(time_ms: int = START_MS, vdf: VdfOutput | None = None) -> bytes:
    return encode(BlockOpening(time_ms, vdf))


def pay(network: Network, nonce: int, amount: int, to: str = "bob") -> bytes:
    return network.signed("founder", nonce, BankTransfer(network.id(to), amount, ""))


def tx_id(entry: bytes) -> bytes:
    return digest_of("tx", decode(SignedTransaction, entry).transaction)


def init_chain(network: Network, **changes: object) -> abci.RequestInitChain:
    fields = {
        "time": at(START_MS),
        "chain_id": chain_id(network.genesis_id),
        "app_state_bytes": json.dumps(app_state(network.genesis_id), indent=2).encode(),
        "initial_height": 1,
    }
    return abci.RequestInitChain(**(fields | changes))  # type: ignore[arg-type]


def test_info_is_height_and_app_hash_of_the_last_durable_block(script: Script) -> None:
    first = script.ask(abci.RequestInfo("0.39.3"))
    assert isinstance(first, abci.ResponseInfo)
    assert (first.last_block_height, first.last_block_app_hash) == (0, script.store.tree.root)
    answer = script.finalize(opening())
    assert script.ask(abci.RequestInfo()) == first, "decided is not durable"
    script.commit()
    second = script.ask(abci.RequestInfo())
    assert isinstance(second, abci.ResponseInfo)
    assert (second.last_block_height, second.last_block_app_hash) == (1, answer.app_hash)


def test_init_chain_writes_genesis_once(tmp_path: Path, network: Network) -> None:
    store = Store(tmp_path / "fresh", network.genesis)
    try:
        script = Script(network, store)
        expected = abci.ResponseInitChain(network.base().tree.root)
        assert script.ask(init_chain(network)) == expected
        assert script.ask(init_chain(network)) == expected, "an engine that starts again asks again"
        assert script.block() == []
    finally:
        store.close()


WRONG_GENESIS = {
    "chain id": {"chain_id": "hm-other"},
    "time": {"time": at(START_MS + 1)},
    "no time": {"time": None},
    "first height": {"initial_height": 2},
    "state of another network": {"app_state_bytes": b'{"genesis_id": "00"}'},
    "no JSON": {"app_state_bytes": b"{"},
    "absurd JSON": {"app_state_bytes": b"[" * 100_000},
}


@pytest.mark.parametrize("changes", WRONG_GENESIS.values(), ids=WRONG_GENESIS)
def test_another_genesis_document_is_refused(
    script: Script, network: Network, changes: dict[str, object]
) -> None:
    with pytest.raises(AnotherNetwork):
        script.ask(init_chain(network, **changes))


def test_a_transaction_is_checked_against_the_committed_state(
    script: Script, network: Network
) -> None:
    own = network.own("bob")
    assert script.check(own).code == 0
    again = script.check(own)
    assert again.code == REFUSED
    assert decode(Problem, again.data).code == NonceNotNext.code
    assert script.store.height == 0
    assert script.block(own)[0].code == "ok"
    assert script.check(network.signed("bob", 1, BankTransfer(network.id("bob"), 1, ""))).code == 0


def test_a_signer_may_have_several_transactions_waiting(script: Script, network: Network) -> None:
    script.block(network.enrol("alice", "founder"), network.faucet("alice", 1), network.own("bob"))
    first, second = pay(network, 0, 1), pay(network, 1, 2)
    assert script.check(second).code == REFUSED
    assert script.check(first).code == 0
    assert script.check(second).code == 0
    script.block(first)
    recheck = script.ask(abci.RequestCheckTx(second, type=1))
    assert recheck == abci.ResponseCheckTx(), "each block begins the overlay anew"


def test_a_refusal_at_the_door_says_what_why_and_how(script: Script, network: Network) -> None:
    for entry in (b"", b"junk", opening(), pay(network, 5, 1), b"\x00" * (2 << 20)):
        answer = script.check(entry)
        problem = decode(Problem, answer.data)
        assert answer.code == REFUSED
        assert problem.what
        assert problem.what in answer.log


def test_a_proposal_begins_with_the_opening_at_the_headers_time(
    script: Script, network: Network
) -> None:
    own = network.own("bob")
    assert script.prepare(own, time_ms=START_MS + 7) == (opening(START_MS + 7), own)


def test_the_time_of_a_block_is_cut_to_milliseconds(script: Script) -> None:
    time = at(START_MS + 1, nanos=999_999)
    request = abci.RequestPrepareProposal(max_tx_bytes=ROOMY, height=1, time=time)
    assert script.ask(request) == abci.ResponsePrepareProposal((opening(START_MS + 1),))
    assert script.process(opening(START_MS + 1), time=time) == abci.Verdict.ACCEPT


def test_a_proposal_leaves_out_what_the_kernel_would_not_let_in(
    script: Script, network: Network
) -> None:
    own, enrol = network.own("bob"), network.enrol("alice", "founder")
    forged = network.signed("founder", 0, BankTransfer(network.id("bob"), 1, ""), signing="bob")
    proposed = script.prepare(b"junk", own, opening(), forged, enrol, own)
    assert proposed == (opening(), own, enrol)


def test_a_proposal_keeps_to_the_engines_limit(script: Script, network: Network) -> None:
    entries = [network.own(f"guest {number}") for number in range(3)]
    sizes = [len(entry) for entry in entries]
    # Each entry costs its key, one byte, and its length, two bytes at these sizes.
    enough = len(opening()) + 2 + sizes[0] + 3 + sizes[1] + 3
    assert script.prepare(*entries, max_tx_bytes=enough) == (opening(), *entries[:2])
    assert script.prepare(*entries, max_tx_bytes=enough - 1) == (opening(), entries[0])


@pytest.mark.parametrize("limit", ["BLOCK_BYTES_MAX", "ENTRIES_MAX"])
def test_a_proposal_keeps_to_the_kernels_limits(
    script: Script, network: Network, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """The engine would take more than the kernel does: 3 MiB against 2, and any number."""
    entries = [network.own(f"guest {number}") for number in range(3)]
    size = len(opening()) + len(entries[0]) + len(entries[1])
    within = {"BLOCK_BYTES_MAX": size, "ENTRIES_MAX": 3}[limit]
    module = "hypermesh.ledger.engines.comet.application"
    monkeypatch.setattr(f"{module}.{limit}", within)
    assert script.prepare(*entries) == (opening(), *entries[:2])
    monkeypatch.setattr(f"{module}.{limit}", within - 1)
    assert script.prepare(*entries) == (opening(), entries[0])


def test_an_honest_proposal_is_accepted_whatever_the_local_clock_says(
    script: Script, network: Network
) -> None:
    proposed = script.prepare(network.own("bob"), time_ms=START_MS + 5)
    script.now_ms = START_MS + 10**9
    assert script.process(*proposed, time_ms=START_MS + 5) == abci.Verdict.ACCEPT


PROPOSALS_REFUSED = {
    "nothing in it": ((), {}),
    "no opening": ((b"junk",), {}),
    "the opening says another time": ((opening(START_MS + 1),), {}),
    "time goes back": ((opening(START_MS - 1),), {"time_ms": START_MS - 1}),
    "a VDF output that is false": (
        (opening(START_MS, VdfOutput(TIME_WESOLOWSKI_1, 2_000, b"false")),),
        {},
    ),
    "another height": ((opening(),), {"height": 2}),
    "too many entries": ((opening(), *[b""] * ENTRIES_MAX), {}),
    "too many bytes": ((opening(), *[bytes(1 << 20)] * 2), {}),
    "evidence, which nothing executes yet": (
        (opening(),),
        {"misbehavior": (abci.Misbehavior(1, abci.Validator(b"v" * 20, 10), 1, at(START_MS), 10),)},
    ),
}


@pytest.mark.parametrize(
    ("entries", "more"), PROPOSALS_REFUSED.values(), ids=PROPOSALS_REFUSED.keys()
)
def test_a_proposal_that_is_no_block_is_refused(
    script: Script, entries: tuple[bytes, ...], more: dict[str, object]
) -> None:
    assert script.process(*entries, **more) == abci.Verdict.REJECT  # type: ignore[arg-type]
    assert script.process(opening()) == abci.Verdict.ACCEPT


def test_junk_in_a_block_is_refused_entry_by_entry(script: Script, network: Network) -> None:
    """Another validator proposed it and the others took it; the rules say what each entry is."""
    own = network.own("bob")
    answer = script.finalize(opening(), b"junk", own, own)
    codes = [decode(TxResult, result.data).code for result in answer.tx_results]
    assert codes == ["ok", "HM-TX-0001", "ok", "HM-TX-0005"]
    assert [result.code for result in answer.tx_results] == [0, REFUSED, 0, REFUSED]


def test_a_decided_block_that_is_no_block_stops_this_node(script: Script) -> None:
    with pytest.raises(BlockRefused):
        script.finalize(b"junk")
    misbehavior = (abci.Misbehavior(2, None, 1, None, 10),)
    with pytest.raises(NotAvailable, match="Evidence"):
        script.finalize(opening(), misbehavior=misbehavior)


def test_the_result_is_the_same_with_and_without_a_proposal_before(
    tmp_path: Path, network: Network
) -> None:
    """The proposer keeps what it executed; a node that only hears of the decision executes then,
    and so does one that accepted another proposal of that height meanwhile."""
    own = network.own("bob")
    hashes = []
    for name, before in {"kept": (own,), "anew": None, "another": ()}.items():
        store = network.store(tmp_path / name)
        script = Script(network, store)
        if before is not None:
            assert script.process(opening(), *before) == abci.Verdict.ACCEPT
        hashes.append(script.finalize(opening(), own))
        script.commit()
        store.close()
    assert hashes[0] == hashes[1] == hashes[2]


def test_blocks_without_a_hash_are_never_taken_for_one_another(
    script: Script, network: Network
) -> None:
    own = network.own("bob")
    assert script.process(opening(), hash=b"") == abci.Verdict.ACCEPT
    assert len(script.finalize(opening(), own, hash=b"").tx_results) == 2


def test_the_app_hash_is_that_of_solo(script: Script, network: Network) -> None:
    solo = Chain(network)
    blocks = [
        (network.enrol("alice", "founder"), network.own("bob")),
        (network.faucet("alice", 1), pay(network, 0, 5)),
        (),
        (pay(network, 1, 10**18), pay(network, 2, 5)),
    ]
    for number, entries in enumerate(blocks):
        script.block(*entries, time_ms=START_MS + number)
        solo.block(*entries, time_ms=START_MS + number)
        assert script.store.tree.root == solo.base.tree.root
        stored = decode(Block, script.store.block(number + 1) or b"")
        assert stored.header == solo.kernel.header(solo.base)
        assert stored.signature is None, "no sequencer vouches for it"


def test_commit_without_a_decision_is_refused(script: Script) -> None:
    with pytest.raises(BlockRefused):
        script.ask(abci.RequestCommit())


def test_a_block_is_published_and_acknowledged_after_it_is_durable(
    script: Script, network: Network
) -> None:
    own = network.own("bob")
    waiter = script.waiting.expect(tx_id(own))
    subscription = script.feed.subscribe()
    script.finalize(opening(), own)
    assert not waiter.done()
    assert subscription.next(0) is None
    script.commit()
    assert waiter.result(0) == SubmitResponse(1, 1, TxResult(tx_id(own), "ok", []))
    published = subscription.next(0)
    assert published is not None
    assert published.block.header.height == 1


def test_a_refused_body_is_acknowledged_with_its_code_and_words(
    script: Script, network: Network
) -> None:
    script.block(network.own("bob"))
    entry = pay(network, 0, 1)
    waiter = script.waiting.expect(tx_id(entry))
    script.block(entry)
    assert waiter.result(0).result.code == "HM-TX-BANK-0002"
    problem = script.waiting.problem(tx_id(entry))
    assert problem is not None
    assert problem.code == "HM-TX-BANK-0002"


def test_an_undecided_block_is_gone_with_its_process(script: Script, network: Network) -> None:
    own = network.own("bob")
    decided = script.finalize(opening(), own)
    script.restart()
    assert script.finalize(opening(), own) == decided
    script.commit()
    assert script.store.height == 1


def test_a_full_disk_stops_this_node_and_loses_nothing(
    script: Script, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block is decided, so it cannot be dropped as under solo: the engine asks again after a
    restart, once there is room."""

    def full(block: bytes, execution: Execution) -> None:
        raise DiskFull

    own = network.own("bob")
    waiter = script.waiting.expect(tx_id(own))
    decided = script.finalize(opening(), own)
    with monkeypatch.context() as patch:
        patch.setattr(script.store, "commit", full)
        with pytest.raises(DiskFull):
            script.commit()
    assert not waiter.done()
    assert script.store.height == 0
    script.restart()
    assert script.finalize(opening(), own) == decided
    script.commit()
    assert waiter.result(0).result.code == "ok"


def test_a_vdf_output_waits_until_the_epoch_may_turn(script: Script, network: Network) -> None:
    vdf = evaluate(network.genesis_id, network.genesis.proofs)
    early = script.waiting.offer(vdf)
    script.block(time_ms=START_MS + 1)
    assert early.exception(0) is not None
    assert "the epoch turns from" in str(early.exception(0))

    due_ms = START_MS + EPOCH_MS
    offered = script.waiting.offer(vdf)
    assert script.prepare(time_ms=due_ms) == (opening(due_ms, vdf),)
    assert not offered.done(), "a proposal is no block"
    script.block(time_ms=due_ms)
    assert offered.result(0) == 2
    assert script.prepare(time_ms=due_ms) == (opening(due_ms),)


def test_a_false_vdf_output_does_not_keep_a_true_one_out(script: Script, network: Network) -> None:
    true = evaluate(network.genesis_id, network.genesis.proofs)
    false = VdfOutput(TIME_WESOLOWSKI_1, true.iterations, true.output[::-1])
    refused, taken = script.waiting.offer(false), script.waiting.offer(true)
    script.block(time_ms=START_MS + EPOCH_MS)
    assert refused.exception(0) is not None
    assert taken.result(0) == 1


def test_a_row_is_answered_with_its_proof(script: Script, network: Network) -> None:
    script.block(network.own("bob"))
    for key in (HEAD_KEY, b"identity/nonce/" + network.id("bob"), b"no/such row"):
        answer = script.ask(abci.RequestQuery(data=key, path="row", prove=True))
        assert isinstance(answer, abci.ResponseQuery)
        assert (answer.code, answer.key, answer.height) == (0, key, 1)
        assert answer.proof_ops is not None
        (op,) = answer.proof_ops.ops
        assert (op.type, op.key) == (PROOF_OP, key)
        check_proof(script.store.tree.root, decode(BucketProof, op.data), answer.value or None)
    state = script.store
    assert identity.nonce(state, network.id("bob")) == 1


@pytest.mark.parametrize(("path", "height"), [("store", 0), ("", 0), ("row", 7)])
def test_a_query_that_has_no_answer_says_so(script: Script, path: str, height: int) -> None:
    answer = script.ask(abci.RequestQuery(data=HEAD_KEY, path=path, height=height))
    assert isinstance(answer, abci.ResponseQuery)
    assert answer.code == REFUSED
    assert answer.log


def test_there_are_no_snapshots_and_no_vote_extensions(script: Script) -> None:
    abort = abci.SNAPSHOT_ABORT
    accept, reject = abci.Verdict.ACCEPT, abci.Verdict.REJECT
    answers = {
        abci.RequestListSnapshots(): abci.ResponseListSnapshots(),
        abci.RequestOfferSnapshot(): abci.ResponseOfferSnapshot(abort),
        abci.RequestLoadSnapshotChunk(): abci.ResponseLoadSnapshotChunk(),
        abci.RequestApplySnapshotChunk(): abci.ResponseApplySnapshotChunk(abort),
        abci.RequestExtendVote(): abci.ResponseExtendVote(),
        abci.RequestVerifyVoteExtension(): abci.ResponseVerifyVoteExtension(accept),
        abci.RequestVerifyVoteExtension(b"x"): abci.ResponseVerifyVoteExtension(reject),
        abci.RequestEcho("hello"): abci.ResponseEcho("hello"),
        abci.RequestFlush(): abci.ResponseFlush(),
    }
    for request, answer in answers.items():
        assert script.ask(request) == answer


def test_everyone_who_waits_hears_of_the_end(script: Script, network: Network) -> None:
    waiting = script.waiting
    tx, offer = waiting.expect(b"\x01" * 32), waiting.offer(VdfOutput("scheme", 1, b"x"))
    end = OutcomeUnknown("over")
    waiting.close(end)
    waiting.close(OutcomeUnknown("later"))
    assert tx.exception(0) is end
    assert offer.exception(0) is end
    with pytest.raises(OutcomeUnknown, match="over"):
        waiting.expect(b"\x01" * 32)
