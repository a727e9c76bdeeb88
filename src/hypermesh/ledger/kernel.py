"""The kernel: what a block does, decided by the block's input and the state before it alone.

It has the semantics of ABCI 2.0 (CometBFT v0.39, spec/abci), so that `solo` and `comet` drive the
same rules: `begin` is InitChain, `check` is CheckTx, `execute` is FinalizeBlock, and storing an
`Execution` is Commit. No method reads a clock, a file or a random number or keeps anything that
could change a result.

The life of a transaction in a block, in this order; the first failure decides its code:

    decoded (canonical, not too large) -> this genesis -> window contains block time -> signer known
    -> nonce is the next -> both signature halves -> nonce spent -> body executed by its module

Up to the signature a failure spends nothing, for nobody can be held to what he may not have said.
After it the nonce is spent, and a refusal of the body drops the body's writes and events.

The row `kernel/head` holds what the header of a block says and the state does not, except the app
hash, which is the root of that very state. So a state determines the header of the block that led
to it, and the hash of that header (the commit hash) is the same under every engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from hypermesh.crypto.digest import digest, digest_of
from hypermesh.crypto.keys import key_id
from hypermesh.crypto.merkle import root
from hypermesh.crypto.signature import SignatureInvalid, verify
from hypermesh.ledger.authentication import Authenticator, Signer
from hypermesh.ledger.errors import BlockRefused
from hypermesh.ledger.module import Call, Context, Event, Module, Refusal, State
from hypermesh.ledger.state import Overlay
from hypermesh.ledger.table import Table
from hypermesh.ledger.tree import Base, Changes, changes
from hypermesh.wire.asset import TimeMs
from hypermesh.wire.block import BlockInput, Genesis, Header
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotAvailable, Problem
from hypermesh.wire.ids import ZERO_HASH, Hash, TxId
from hypermesh.wire.tx import (
    WINDOW_MS_MAX,
    BlockOpening,
    Entry,
    SignedTransaction,
    TxResult,
    tag_of,
)

OK = "ok"
TRANSACTION_BYTES_MAX = 1 << 20
"""An entry longer than this is refused unread; the largest honest one is a bundle of proofs."""
ENTRIES_MAX = 10_001
"""Entries of a block, the opening included."""
BLOCK_BYTES_MAX = 2 << 20
"""The entries of a block together, so that a block with its results stays under the 4 MiB that a
listener reads."""
VERIFIED_MAX = 4096


class Malformed(Refusal):
    """The entry is not the canonical encoding of a signed transaction."""

    code = "HM-TX-0001"
    status = 400
    exit_code = 2
    title = "The entry is not a transaction"


class WrongGenesis(Refusal):
    """The transaction was signed for another network."""

    code = "HM-TX-0002"
    title = "The transaction is for another network"


class OutsideWindow(Refusal):
    """The block's time is not in the transaction's window, or the window is too wide."""

    code = "HM-TX-0003"
    title = "The transaction is not valid at this time"
    remedy = "Sign it again with a window around the present block time"


class SignatureRefused(Refusal):
    """One of the two signature halves does not verify under the signer's keys."""

    code = "HM-TX-0004"
    status = 403
    exit_code = 4
    title = "The transaction's signature does not verify"


class NonceNotNext(Refusal):
    """The nonce is not the signer's next: a replay, or another transaction went first."""

    code = "HM-TX-0005"
    title = "The transaction's nonce is not the signer's next"
    remedy = "Read the signer's nonce and sign again"


class NotExecutable(Refusal):
    """No module of this network executes this type."""

    code = "HM-TX-0006"
    status = 501
    title = "This network does not know this type of transaction"


_BODY_REFUSALS = (Refusal, InvalidInput, SignatureInvalid)
"""What a module may raise on input that it does not accept. `InvalidInput` is how `wire` refuses an
amount out of range; both follow from the input alone, so every node refuses alike."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What the header says of the block that led to this state, beside the app hash."""

    height: int
    time_ms: TimeMs
    previous: Hash
    entries_root: Hash
    results_root: Hash


_head = Table("kernel/", Head)
_HEAD = b"head"
HEAD_KEY = _head.key(_HEAD)


@dataclass(frozen=True, slots=True)
class Execution:
    """What a block leads to. `header` and `results` are hashed; events and problems are not."""

    header: Header
    results: list[TxResult]
    """One for every entry, in order; that of the opening is the first."""
    executed: list[tuple[int, TxId]]
    """(index, id) of the transactions whose nonce was spent. An id is here at most once in the
    life of a network; any other result may still change when the transaction is sent again."""
    problems: dict[int, Problem]
    """The refusals by index, as texts for people."""
    changes: Changes
    events: list[Event]

    @property
    def app_hash(self) -> Hash:
        return self.header.app_hash


class _Verified:
    """Signatures that have verified lately, so that `check` and `execute` verify one only once.

    Only successes are kept, under a digest of everything that verification depends on, so whether
    an entry is still here changes time and never a result.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, None] = {}

    def verify(self, signer: Signer, genesis: Hash, tx: TxId, signed: SignedTransaction) -> None:
        """Raises `SignatureInvalid`."""
        mark = digest_of("verified", (signer.keys, genesis, tx, signed.signature))
        if mark in self._known:
            return
        verify(signer.keys, "tx", genesis, tx, signed.signature)
        while len(self._known) >= VERIFIED_MAX:
            self._known.pop(next(iter(self._known)), None)
        self._known[mark] = None


class Kernel:
    """The rules of one network: its genesis, its modules in order, and who authenticates.

    It keeps no state: every method takes the state to work on. Use one kernel from one thread.
    """

    def __init__(
        self, genesis: Genesis, modules: Sequence[Module], authenticator: Authenticator
    ) -> None:
        self.genesis = genesis
        self.genesis_id: Hash = digest_of("genesis", genesis)
        self.sequencer: Hash = key_id(genesis.sequencer)
        self._modules = tuple(modules)
        self._authenticator = authenticator
        self._verified = _Verified()
        self._by_body: dict[type, Module] = {}
        for module in self._modules:
            for body in module.bodies:
                taken = self._by_body.setdefault(body, module)
                if taken is not module:
                    raise TypeError(
                        f"{body.__name__} is executed by {taken.name} and {module.name}"
                    )

    def begin(self, base: Base) -> Changes:
        """The rows of genesis, as changes of an empty base. ABCI: InitChain."""
        overlay = Overlay(base)
        head = Head(0, self.genesis.created_ms, self.genesis_id, ZERO_HASH, ZERO_HASH)
        context = self._context(overlay, head)
        for module in self._modules:
            module.begin(context)
        _head.put(overlay, _HEAD, head)
        for module in self._modules:
            module.check(context)
        return changes(base, overlay.writes)

    def head(self, state: State | Base) -> Head:
        """Height and time of `state`, and what else its header says."""
        data = state.get(HEAD_KEY)
        if data is None:
            raise BlockRefused("The state has no head", why="genesis has not been written to it")
        return decode(Head, data)

    def header(self, base: Base) -> Header | None:
        """The header of the block that led to `base`; None at height 0."""
        head = self.head(base)
        return self._header(head, base.tree.root) if head.height else None

    def commit_hash(self, base: Base) -> Hash:
        """The hash of the block that led to `base`: what the next block names as its previous."""
        header = self.header(base)
        return self.genesis_id if header is None else digest_of("header", header)

    def next_deadline(self, state: State) -> int | None:
        """Block time in milliseconds at which some module next has something to do by itself."""
        due = (module.next_deadline(state) for module in self._modules)
        return min((time_ms for time_ms in due if time_ms is not None), default=None)

    def tx_id(self, entry: bytes) -> TxId:
        """The id of the transaction in `entry`; raises `Malformed` where there is none."""
        return self._decoded(entry)[0]

    def check(self, entry: bytes, state: State, time_ms: int) -> TxId:
        """The id of a transaction that may enter a block of `time_ms` after `state`. ABCI: CheckTx.

        Everything up to the signature is checked, and the nonce is then spent in `state`: give an
        overlay that is thrown away with each block, and a signer may have several transactions
        waiting. Raises the `Refusal`; nothing of the body is executed, so a transaction that passes
        can still be refused in its block.
        """
        tx, signed = self._decoded(entry)
        self._module_of(signed)
        self._authenticated(state, tx, signed, time_ms)
        self._authenticator.spend_nonce(state, signed.transaction.signer)
        return tx

    def opening(self, block: BlockInput, base: Base) -> BlockOpening:
        """The opening of a block that may follow `base`. ABCI: the rules of ProcessProposal.

        Raises `BlockRefused` where the block's form is wrong or its time goes back. Equal times are
        allowed, because blocks can be shorter than a millisecond.
        """
        head = self.head(base)
        if block.height != head.height + 1:
            raise BlockRefused(
                f"The block has height {block.height}", why=f"the next is {head.height + 1}"
            )
        if block.evidence:
            raise NotAvailable("Evidence of misbehaviour is not executed yet")
        if not 1 <= len(block.entries) <= ENTRIES_MAX:
            raise BlockRefused(
                f"The block has {len(block.entries)} entries", why=f"1 to {ENTRIES_MAX} are allowed"
            )
        if sum(map(len, block.entries)) > BLOCK_BYTES_MAX:
            raise BlockRefused(
                "The block is too large", why=f"its limit is {BLOCK_BYTES_MAX} bytes"
            )
        try:
            opening = decode_entry(block.entries[0])
        except Malformed as error:
            raise BlockRefused("The block's opening is malformed", why=error.why) from error
        if not isinstance(opening, BlockOpening):
            raise BlockRefused("The first entry of the block is not its opening")
        if opening.time_ms != block.time_ms:
            raise BlockRefused(
                f"The opening says {opening.time_ms} ms", why=f"the block says {block.time_ms} ms"
            )
        if opening.time_ms < head.time_ms:
            raise BlockRefused(
                f"The block's time is {opening.time_ms} ms",
                why=f"the block before has {head.time_ms} ms, and block time never goes back",
            )
        return opening

    def execute(self, block: BlockInput, base: Base) -> Execution:
        """What `block` leads to from `base`, which is left as it is. ABCI: FinalizeBlock.

        Raises `BlockRefused`, or the `Refusal` of a module that does not accept the opening; the
        block as a whole is then no block. `InvariantBroken` and any other exception of a module is
        a bug or a damaged database.
        """
        opening = self.opening(block, base)
        overlay = Overlay(base)
        previous = self.commit_hash(base)
        roots_unknown = Head(block.height, block.time_ms, previous, ZERO_HASH, ZERO_HASH)
        context = self._context(overlay, roots_unknown)
        for module in self._modules:
            module.open_block(context, opening)
        results = [TxResult(digest("entry", block.entries[0]), OK, [])]
        executed: list[tuple[int, TxId]] = []
        problems: dict[int, Problem] = {}
        for index, entry in enumerate(block.entries[1:], start=1):
            before = len(context.events)
            outcome = self._transaction(context, overlay, entry)
            context.events[before:] = [
                replace(event, entry=index) for event in context.events[before:]
            ]
            results.append(outcome.result)
            if outcome.executed:
                executed.append((index, outcome.result.tx))
            if outcome.refusal is not None:
                problems[index] = outcome.refusal.problem
        for module in self._modules:
            module.close_block(context)
        head = Head(
            block.height,
            block.time_ms,
            previous,
            entries_root(block.entries),
            results_root(results),
        )
        _head.put(overlay, _HEAD, head)
        for module in self._modules:
            module.check(context)
        after = changes(base, overlay.writes)
        header = self._header(head, after.step.root)
        return Execution(header, results, executed, problems, after, context.events)

    def _transaction(self, context: Context, overlay: Overlay, entry: bytes) -> _Outcome:
        tx: TxId = b""
        try:
            tx, signed = self._decoded(entry)
            signer = self._authenticated(overlay, tx, signed, context.time_ms)
        except Refusal as refusal:
            return _Outcome(_refused(tx or digest("entry", entry), refusal), False, refusal)
        transaction = signed.transaction
        self._authenticator.spend_nonce(overlay, transaction.signer)
        savepoint, events = overlay.savepoint(), len(context.events)
        try:
            module = self._module_of(signed)
            module.execute(context, Call(tx, transaction, signer.owner, signer.is_node))
        except _BODY_REFUSALS as refusal:
            overlay.roll_back(savepoint)
            del context.events[events:]
            return _Outcome(_refused(tx, refusal), True, refusal)
        return _Outcome(TxResult(tx, OK, []), True, None)

    def _decoded(self, entry: bytes) -> tuple[TxId, SignedTransaction]:
        if len(entry) > TRANSACTION_BYTES_MAX:
            raise Malformed(
                f"The entry has {len(entry)} bytes", why=f"the limit is {TRANSACTION_BYTES_MAX}"
            )
        signed = decode_entry(entry)
        if not isinstance(signed, SignedTransaction):
            raise Malformed("A block has one opening, and it is the first entry")
        return digest_of("tx", signed.transaction), signed

    def _module_of(self, signed: SignedTransaction) -> Module:
        body = signed.transaction.body
        module = self._by_body.get(type(body))
        if module is None:
            raise NotExecutable(f"No module of this network executes {tag_of(body)}")
        return module

    def _authenticated(
        self, state: State, tx: TxId, signed: SignedTransaction, time_ms: int
    ) -> Signer:
        transaction = signed.transaction
        if transaction.genesis != self.genesis_id:
            raise WrongGenesis(
                why=f"it names {transaction.genesis.hex()}, this one is {self.genesis_id.hex()}"
            )
        start, end = transaction.valid_from_ms, transaction.valid_until_ms
        if not 0 <= end - start <= WINDOW_MS_MAX:
            raise OutsideWindow(why=f"its window of {end - start} ms is not 0 to {WINDOW_MS_MAX}")
        if not start <= time_ms <= end:
            raise OutsideWindow(why=f"block time is {time_ms} ms, its window {start} to {end}")
        signer = self._authenticator.signer(state, transaction, time_ms)
        if transaction.nonce != signer.nonce:
            raise NonceNotNext(
                why=f"it carries nonce {transaction.nonce}, the next is {signer.nonce}"
            )
        try:
            self._verified.verify(signer, self.genesis_id, tx, signed)
        except SignatureInvalid as error:
            raise SignatureRefused(why=str(error)) from error
        return signer

    def _context(self, state: State, head: Head) -> Context:
        return Context(
            state, self.genesis_id, self.genesis, head.height, head.time_ms, head.previous
        )

    def _header(self, head: Head, app_hash: Hash) -> Header:
        return Header(
            self.genesis_id,
            head.height,
            head.time_ms,
            head.previous,
            head.entries_root,
            head.results_root,
            app_hash,
            self.sequencer,
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    result: TxResult
    executed: bool
    refusal: HyperMeshError | None


def _refused(tx: TxId, refusal: HyperMeshError) -> TxResult:
    return TxResult(tx, refusal.code, list(getattr(refusal, "failures", ())))


def decode_entry(data: bytes) -> BlockOpening | SignedTransaction:
    """An entry of a block; raises `Malformed`."""
    try:
        return decode(Entry, data)  # type: ignore[arg-type]
    except (InvalidInput, ValueError) as error:
        raise Malformed(why=str(error)) from error


def entries_root(entries: Sequence[bytes]) -> Hash:
    """What a header's `entries_root` is: the Merkle root over the encoded entries."""
    return root(entries)


def results_root(results: Sequence[TxResult]) -> Hash:
    """What a header's `results_root` is: the Merkle root over the encoded results."""
    return root([encode(result) for result in results])
