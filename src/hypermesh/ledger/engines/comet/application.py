"""ABCI 2.0 mapped to the kernel: what CometBFT asks, answered from the request and the state.

    Info              height and app hash of the last durable block: one store, so never apart
    InitChain         the engine's genesis document must be the one that ours leads to
    CheckTx           kernel.check on an overlay that each block throws away; never trusted later
    PrepareProposal   the opening goes first; then what kernel.check lets in, within both limits
    ProcessProposal   the block is executed and the result kept: what cannot execute is refused
    FinalizeBlock     the kept result where the hash is the same, else executed now
    Commit            durable, then acknowledged and published

Time is that of the engine's header, in whole milliseconds, and the opening must say the same. Under
CometBFT v0.39 the header's time is the weighted median of the times in the votes for the block
before (spec/consensus/bft-time), at least one millisecond later each block, so one proposer cannot
choose it and no local clock decides whether a block is valid.

One caller at a time; the kernel's rule.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from hypermesh import __version__
from hypermesh.ledger.engines.comet import messages as abci
from hypermesh.ledger.engines.comet.home import app_state, chain_id
from hypermesh.ledger.engines.comet.protobuf import varint
from hypermesh.ledger.engines.comet.waiting import Waiting
from hypermesh.ledger.errors import AnotherNetwork, BlockRefused
from hypermesh.ledger.feed import Commit, Feed
from hypermesh.ledger.kernel import BLOCK_BYTES_MAX, ENTRIES_MAX, OK, Execution, Kernel
from hypermesh.ledger.module import Refusal
from hypermesh.ledger.state import Overlay
from hypermesh.ledger.store import Store
from hypermesh.wire.block import Block, BlockInput
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import NotAvailable
from hypermesh.wire.tx import BlockOpening

RULES_VERSION: Final = 1
"""Version of the rules, in each of the engine's headers: all validators have the same."""
CODESPACE: Final = "hypermesh"
REFUSED: Final = 1
PROOF_OP: Final = "hypermesh:bucket/v1"
"""The `ProofOp` whose data is an encoded `BucketProof`."""
QUERY_ROW: Final = "row"
EMPTY_VOTE_EXTENSION: Final = b""

log = logging.getLogger(__name__)

Proposed = abci.RequestProcessProposal | abci.RequestFinalizeBlock
_UNACCEPTABLE = (BlockRefused, Refusal, NotAvailable)
"""Why a block is no block; all follow from the block and the state before it."""


class Evidence(msgspec.Struct, frozen=True, array_like=True):
    """Misbehaviour that the engine has proven, as a block's input carries it. `kind` is 1 for two
    votes in one round and 2 for an attack on light clients; powers are voting powers."""

    kind: int
    validator: bytes
    power: int
    height: int
    time_ms: int
    total_power: int


@dataclass(frozen=True, slots=True)
class _Executed:
    """A block, by the engine's hash of it, and what it leads to from the last committed state."""

    hash: bytes
    entries: list[bytes]
    opening: BlockOpening
    execution: Execution


class Application:
    """The kernel and its store, as the engine sees them."""

    def __init__(
        self,
        kernel: Kernel,
        store: Store,
        feed: Feed,
        waiting: Waiting,
        now_ms: Callable[[], int],
    ) -> None:
        """`now_ms` serves CheckTx alone: about when the next block will be."""
        self._kernel = kernel
        self._store = store
        self._feed = feed
        self._waiting = waiting
        self._now_ms = now_ms
        self._checked = Overlay(store)
        self._executed: _Executed | None = None
        self._decided: _Executed | None = None

    def answer(self, request: object) -> object:
        """The response to `request`. An exception means that this node cannot go on."""
        match request:
            case abci.RequestEcho():
                return abci.ResponseEcho(request.message)
            case abci.RequestFlush():
                return abci.ResponseFlush()
            case abci.RequestInfo():
                return self._info()
            case abci.RequestInitChain():
                return self._init_chain(request)
            case abci.RequestQuery():
                return self._query(request)
            case abci.RequestCheckTx():
                return self._check_tx(request)
            case abci.RequestPrepareProposal():
                return self._prepare_proposal(request)
            case abci.RequestProcessProposal():
                return self._process_proposal(request)
            case abci.RequestFinalizeBlock():
                return self._finalize_block(request)
            case abci.RequestCommit():
                return self._commit()
            case abci.RequestExtendVote():
                return abci.ResponseExtendVote()
            case abci.RequestVerifyVoteExtension():
                empty = request.vote_extension == EMPTY_VOTE_EXTENSION
                verdict = abci.Verdict.ACCEPT if empty else abci.Verdict.REJECT
                return abci.ResponseVerifyVoteExtension(verdict)
            case abci.RequestListSnapshots():
                return abci.ResponseListSnapshots()
            case abci.RequestOfferSnapshot():
                return abci.ResponseOfferSnapshot(abci.SNAPSHOT_ABORT)
            case abci.RequestLoadSnapshotChunk():
                return abci.ResponseLoadSnapshotChunk()
            case abci.RequestApplySnapshotChunk():
                return abci.ResponseApplySnapshotChunk(abci.SNAPSHOT_ABORT)
            case _:
                raise NotAvailable(f"{type(request).__name__} is not answered")

    def _info(self) -> abci.ResponseInfo:
        return abci.ResponseInfo(
            data="hypermesh",
            version=__version__,
            app_version=RULES_VERSION,
            last_block_height=self._store.height,
            last_block_app_hash=self._store.tree.root,
        )

    def _init_chain(self, request: abci.RequestInitChain) -> abci.ResponseInitChain:
        genesis, genesis_id = self._kernel.genesis, self._kernel.genesis_id
        wanted = (chain_id(genesis_id), app_state(genesis_id), genesis.created_ms, 1)
        given = (
            request.chain_id,
            _json(request.app_state_bytes),
            _milliseconds(request.time),
            request.initial_height,
        )
        if given != wanted:
            raise AnotherNetwork(
                "The engine's genesis document is not this network's",
                why=f"it says {given}, ours leads to {wanted}",
            )
        if not self._store.founded:
            self._store.found(self._kernel.begin(self._store))
            self._checked = Overlay(self._store)
        return abci.ResponseInitChain(self._store.tree.root)

    def _query(self, request: abci.RequestQuery) -> abci.ResponseQuery:
        if request.path != QUERY_ROW:
            return _no_answer(f"there is no path {request.path!r}; rows are at {QUERY_ROW!r}")
        height, value, proof = self._store.prove(request.data)
        if request.height not in (0, height):
            return _no_answer(f"only the state at height {height} is kept")
        proof_ops = None
        if request.prove:
            proof_ops = abci.ProofOps((abci.ProofOp(PROOF_OP, request.data, encode(proof)),))
        return abci.ResponseQuery(
            key=request.data, value=value or b"", proof_ops=proof_ops, height=height
        )

    def _check_tx(self, request: abci.RequestCheckTx) -> abci.ResponseCheckTx:
        time_ms = max(self._now_ms(), self._kernel.head(self._store).time_ms)
        refusal = self._admission(self._checked, request.tx, time_ms)
        if refusal is None:
            return abci.ResponseCheckTx()
        return abci.ResponseCheckTx(
            code=REFUSED, data=encode(refusal.problem), log=str(refusal), codespace=CODESPACE
        )

    def _admission(self, state: Overlay, entry: bytes, time_ms: int) -> Refusal | None:
        savepoint = state.savepoint()
        try:
            self._kernel.check(entry, state, time_ms)
        except Refusal as refusal:
            state.roll_back(savepoint)
            return refusal
        return None

    def _prepare_proposal(
        self, request: abci.RequestPrepareProposal
    ) -> abci.ResponsePrepareProposal:
        time_ms = _milliseconds(request.time)
        opening = self._opening(request.height, time_ms)
        state = Overlay(self._store)
        entries = [opening]
        room = BLOCK_BYTES_MAX - len(opening)
        wire_room = request.max_tx_bytes - _wire_bytes(opening)
        for entry in request.txs:
            if len(entries) == ENTRIES_MAX or len(entry) > room or _wire_bytes(entry) > wire_room:
                break
            if self._admission(state, entry, time_ms) is None:
                entries.append(entry)
                room -= len(entry)
                wire_room -= _wire_bytes(entry)
        return abci.ResponsePrepareProposal(tuple(entries))

    def _opening(self, height: int, time_ms: int) -> bytes:
        """The first entry of our proposal, with the first VDF output that the rules accept now."""
        while (offer := self._waiting.next_offer()) is not None:
            opening = encode(BlockOpening(time_ms, offer.vdf))
            try:
                self._kernel.execute(BlockInput(height, time_ms, [opening], []), self._store)
            except (Refusal, BlockRefused) as refusal:
                self._waiting.refuse_offer(offer, refusal)
            else:
                return opening
        return encode(BlockOpening(time_ms, None))

    def _process_proposal(
        self, request: abci.RequestProcessProposal
    ) -> abci.ResponseProcessProposal:
        try:
            self._executed = self._execute(request)
        except _UNACCEPTABLE as refusal:
            log.warning("a proposal for height %d is refused: %s", request.height, refusal)
            return abci.ResponseProcessProposal(abci.Verdict.REJECT)
        return abci.ResponseProcessProposal(abci.Verdict.ACCEPT)

    def _finalize_block(self, request: abci.RequestFinalizeBlock) -> abci.ResponseFinalizeBlock:
        executed = self._executed
        if executed is None or not request.hash or executed.hash != request.hash:
            executed = self._execute(request)
        self._decided = executed
        execution = executed.execution
        results = tuple(
            abci.ExecTxResult(
                code=0 if result.code == OK else REFUSED, data=encode(result), codespace=CODESPACE
            )
            for result in execution.results
        )
        return abci.ResponseFinalizeBlock(results, execution.app_hash)

    def _execute(self, request: Proposed) -> _Executed:
        entries = list(request.txs)
        evidence = [encode(_evidence(each)) for each in request.misbehavior]
        given = BlockInput(request.height, _milliseconds(request.time), entries, evidence)
        opening = self._kernel.opening(given, self._store)
        execution = self._kernel.execute(given, self._store)
        return _Executed(request.hash, entries, opening, execution)

    def _commit(self) -> abci.ResponseCommit:
        decided = self._decided
        if decided is None:
            raise BlockRefused("There is nothing to commit", why="no block was finalized before")
        execution = decided.execution
        block = Block(execution.header, None, decided.entries, execution.results)
        encoded = encode(block)
        self._store.commit(encoded, execution)
        self._executed = self._decided = None
        self._checked = Overlay(self._store)
        self._waiting.settle(execution, decided.opening.vdf)
        self._feed.publish(Commit(block, encoded, tuple(execution.events), execution.problems))
        return abci.ResponseCommit()


def _no_answer(why: str) -> abci.ResponseQuery:
    return abci.ResponseQuery(code=REFUSED, log=why, codespace=CODESPACE)


def _milliseconds(time: abci.Timestamp | None) -> int:
    return (time or abci.Timestamp()).milliseconds


def _evidence(misbehavior: abci.Misbehavior) -> Evidence:
    validator = misbehavior.validator or abci.Validator()
    return Evidence(
        kind=misbehavior.type,
        validator=validator.address,
        power=validator.power,
        height=misbehavior.height,
        time_ms=_milliseconds(misbehavior.time),
        total_power=misbehavior.total_voting_power,
    )


def _wire_bytes(entry: bytes) -> int:
    """What an entry takes up in the engine's block: its bytes, their length and the field's key."""
    return 1 + len(varint(len(entry))) + len(entry)


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
