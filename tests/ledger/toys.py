"""A small network of toys: three accounts that move money, with deadlines and a counter of VDF
outputs. The kernel, tree, store and engines under test are the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys, key_id
from hypermesh.crypto.signature import sign
from hypermesh.ledger.authentication import Signer
from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.module import Call, Context, Event, InvariantBroken, Refusal, State
from hypermesh.ledger.store import Store
from hypermesh.ledger.table import Table
from hypermesh.wire.amount import checked
from hypermesh.wire.block import (
    Block,
    BlockInput,
    EconomyParameters,
    Genesis,
    LeaseParameters,
    NetworkClass,
    ProofParameters,
)
from hypermesh.wire.codec import encode
from hypermesh.wire.keys import PublicKeys
from hypermesh.wire.proof import VdfOutput
from hypermesh.wire.tx import (
    BankFaucet,
    BankTransfer,
    BlockOpening,
    Body,
    IdentityOwn,
    SignedTransaction,
    Transaction,
)

START_MS = 1_800_000_000_000
GRANT = 1_000


class ToyRefusal(Refusal):
    code = "HM-TEST-0001"
    title = "The toy refuses"


class ToyBug(Exception):
    """What a module with a bug raises."""


class Number(msgspec.Struct, frozen=True, array_like=True):
    value: int


KEYS = Table("toy-keys/", PublicKeys)
NONCES = Table("toy-nonce/", Number)
BALANCES = Table("toy-balance/", Number)
DUE = Table("toy-due/", Number)
TOTALS = Table("toy-total/", Number)


class ToyIdentity:
    """Owners make themselves known. It is the authenticator, too."""

    name = "toy-identity"
    bodies = (IdentityOwn,)

    def begin(self, context: Context) -> None: ...

    def open_block(self, context: Context, opening: BlockOpening) -> None: ...

    def execute(self, context: Context, call: Call) -> None:
        if KEYS.get(context.state, call.owner) is not None:
            raise ToyRefusal("known already")
        KEYS.put(context.state, call.owner, call.body.keys)

    def close_block(self, context: Context) -> None: ...

    def next_deadline(self, state: State) -> int | None:  # noqa: ARG002
        return None

    def check(self, context: Context) -> None: ...

    def signer(
        self,
        state: State,
        transaction: Transaction,
        time_ms: int,  # noqa: ARG002
    ) -> Signer:
        body = transaction.body
        keys = body.keys if isinstance(body, IdentityOwn) else KEYS.get(state, transaction.signer)
        if keys is None or key_id(keys) != transaction.signer:
            raise ToyRefusal("unknown signer")
        nonce = NONCES.get(state, transaction.signer)
        return Signer(keys, transaction.signer, False, nonce.value if nonce else 0)

    def spend_nonce(self, state: State, signer: bytes) -> None:
        nonce = NONCES.get(state, signer)
        NONCES.put(state, signer, Number((nonce.value if nonce else 0) + 1))


class ToyBank:
    """Faucet and transfers. The memo of a transfer says what else happens:

    `refuse` after writing, `bug`, `due:<ms>` plants a deadline so much later, `lose` breaks the
    invariant.
    """

    name = "toy-bank"
    bodies = (BankFaucet, BankTransfer)

    def begin(self, context: Context) -> None:
        TOTALS.put(context.state, b"supply", Number(0))

    def open_block(self, context: Context, opening: BlockOpening) -> None:
        if opening.vdf is None:
            return
        if opening.vdf.scheme == "bad":
            raise ToyRefusal("a bad VDF output")
        self._add(TOTALS, context.state, b"vdf", 1)

    def execute(self, context: Context, call: Call) -> None:
        state, body = context.state, call.body
        if isinstance(body, BankFaucet):
            self._add(BALANCES, state, call.owner, GRANT)
            self._add(TOTALS, state, b"supply", GRANT)
            context.events.append(Event("toy.granted", call.owner))
            return
        if body.memo == "bug":
            raise ToyBug
        context.events.append(Event("toy.paid", call.owner))
        self._add(BALANCES, state, call.owner, -body.amount)
        self._add(BALANCES, state, body.to, body.amount)
        if body.memo == "refuse":
            error = ToyRefusal("as the memo asks")
            error.failures = ("stake", "time")
            raise error
        if body.memo == "lose":
            self._add(BALANCES, state, call.owner, -1)
        if body.memo.startswith("due:"):
            due_ms = context.time_ms + int(body.memo[4:])
            DUE.put(state, due_ms.to_bytes(8, "big") + call.owner, Number(due_ms))

    def close_block(self, context: Context) -> None:
        for key, due in DUE.rows(context.state):
            if due.value > context.time_ms:
                return
            DUE.delete(context.state, key)
            context.events.append(Event("toy.due", key[8:]))

    def next_deadline(self, state: State) -> int | None:
        return next((due.value for _, due in DUE.rows(state)), None)

    def check(self, context: Context) -> None:
        held = sum(balance.value for _, balance in BALANCES.rows(context.state))
        supply = TOTALS.get(context.state, b"supply")
        if supply is None or held != supply.value:
            raise InvariantBroken(f"{held} held")

    def _add(self, table: Table[Number], state: State, key: bytes, amount: int) -> None:
        row = table.get(state, key)
        table.put(state, key, Number(checked((row.value if row else 0) + amount)))


KNOWN: dict[str, QuantumKeys] = {}
"""The key pairs made so far; a child process is given those of its parent."""


def keys(name: str) -> QuantumKeys:
    """One key pair for each name, in each test process."""
    if name not in KNOWN:
        KNOWN[name] = QuantumKeys.generate()
    return KNOWN[name]


def genesis(created_ms: int = START_MS) -> Genesis:
    return Genesis(
        version=1,
        name="toys",
        network_class=NetworkClass.TEST,
        created_ms=created_ms,
        root_certificate=b"root",
        issuing_certificate=b"issuing",
        founder=keys("founder").public,
        sequencer=keys("sequencer").public,
        proofs=ProofParameters(60_000, 18, 16, 3, 512, 1000, 64, 4, 10),
        economy=EconomyParameters("none", 10**6, GRANT, 1, 1000),
        leases=LeaseParameters(5_000, 5_000, 10**9),
        vdf=None,
    )


def toy_kernel(document: Genesis | None = None) -> Kernel:
    identity = ToyIdentity()
    return Kernel(document or genesis(), [identity, ToyBank()], identity)


def founded(directory: Path, kernel: Kernel) -> Store:
    """A store with the rows of genesis."""
    store = Store(directory, kernel.genesis)
    if not store.founded:
        store.found(kernel.begin(store))
    return store


def signed(
    name: str,
    nonce: int,
    body: Body,
    *,
    time_ms: int = START_MS,
    signing: str | None = None,
    **changes: object,
) -> bytes:
    """An encoded transaction of `name`, valid around `time_ms`."""
    transaction = Transaction(
        genesis=digest_of("genesis", genesis()),
        signer=keys(name).id,
        nonce=nonce,
        valid_from_ms=time_ms - 300_000,
        valid_until_ms=time_ms + 300_000,
        attestation=b"",
        body=body,
    )
    transaction = msgspec.structs.replace(transaction, **changes)
    signature = sign(keys(signing or name), "tx", transaction.genesis, digest_of("tx", transaction))
    return encode(SignedTransaction(transaction, signature))


def own(name: str, nonce: int = 0, **changes: object) -> bytes:
    return signed(name, nonce, IdentityOwn(keys(name).public), **changes)  # type: ignore[arg-type]


def pay(name: str, nonce: int, to: str, amount: int, memo: str = "", **changes: object) -> bytes:
    body = BankTransfer(keys(to).id, amount, memo)
    return signed(name, nonce, body, **changes)  # type: ignore[arg-type]


def faucet(name: str, nonce: int, **changes: object) -> bytes:
    return signed(name, nonce, BankFaucet(), **changes)  # type: ignore[arg-type]


def block_input(
    height: int, *entries: bytes, time_ms: int = START_MS, vdf: VdfOutput | None = None
) -> BlockInput:
    return BlockInput(height, time_ms, [encode(BlockOpening(time_ms, vdf)), *entries], [])


def signed_block(kernel: Kernel, base: object, given: BlockInput) -> tuple[Block, object]:
    """A block as the sequencer makes it, and its execution."""
    execution = kernel.execute(given, base)  # type: ignore[arg-type]
    header = execution.header
    signature = sign(keys("sequencer"), "header", header.genesis, digest_of("header", header))
    return Block(header, signature, given.entries, execution.results), execution


@dataclass
class Ticking:
    """A clock for `BlockClock` that a test turns."""

    ns: int = 0

    def __call__(self) -> int:
        return self.ns

    def advance_ms(self, milliseconds: int) -> None:
        self.ns += milliseconds * 1_000_000
