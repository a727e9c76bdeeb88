"""The index of a node: follows the ledger, and is built again wherever it does not fit it.

No amount here is believed for being there. A file that is damaged, of another version or network,
or whose last block is not the ledger's, is removed. Whenever the index has caught up, what its
entries add up to is compared with the balances, bonds and escrows in the ledger's state: of the
accounts that changed each time, and of all of them at the start. Where they differ, it is built
again, and where they differ even then, it says so and shows no entries.

Blocks come with their events from `ledger.history`.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Set
from pathlib import Path

from hypermesh.caesar.economics import staking
from hypermesh.caesar.token import accounts, escrow
from hypermesh.crypto.digest import digest_of
from hypermesh.ledger.errors import LedgerStopped
from hypermesh.ledger.feed import Feed
from hypermesh.ledger.history import History
from hypermesh.ledger.kernel import HEAD_KEY, Head, Kernel
from hypermesh.ledger.ledger import Ledger
from hypermesh.ledger.module import State
from hypermesh.node.index.database import Amounts, Database
from hypermesh.node.index.movements import Movement, Part
from hypermesh.node.trouble import Trouble
from hypermesh.node.waiting import refuse_on_event_loop
from hypermesh.wire.api.account import Reason
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import HyperMeshError, Overloaded
from hypermesh.wire.ids import GenesisId, OwnerId

POLL_S = 1.0
REBUILDS_MAX = 3
"""How often one process builds the index again before it gives up."""
CATCH_UP_S = 5.0

_CONDITIONAL = frozenset({accounts.ESCROW, accounts.BONDED, accounts.UNBONDING})

log = logging.getLogger(__name__)


class IndexBehind(Overloaded):
    """The index has not read all blocks yet: it is being built, or the disk is slow."""

    code = "HM-INDEX-0001"
    title = "The index of the ledger is not up to date"
    remedy = "Ask again in a moment; the ledger itself is not affected"


class IndexDisagrees(HyperMeshError):
    """Built anew, the entries still do not add up to what the ledger says: a fault of the index."""

    code = "HM-INDEX-0002"
    exit_code = 9
    title = "The index does not add up to the ledger's balances"
    remedy = "The balances themselves are right: see `hm wallet show`. Please report it"


class IndexNotKept(HyperMeshError):
    """There is no room for an index."""

    code = "HM-INDEX-0003"
    status = 507
    exit_code = 8
    title = "The index of the ledger cannot be kept"
    remedy = "Make room on the disk of the data directory, then start the node again"


class Index:
    """The index in `directory`. `database` is read by any thread, through `current`."""

    def __init__(
        self,
        directory: Path,
        genesis: Genesis,
        ledger: Ledger,
        feed: Feed,
        kernel: Callable[[], Kernel],
    ) -> None:
        self._file = directory / "index.sqlite"
        self._genesis = genesis
        self._genesis_id: GenesisId = digest_of("genesis", genesis)
        self._ledger = ledger
        self._feed = feed
        self._history = History(ledger, feed, kernel)
        self._moved = threading.Condition()
        self._height = -1
        self._rebuilds = 0
        self._trouble: Exception | None = None
        self._wrong: str | None = None
        self._stopping = threading.Event()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = self._opened()
        except (sqlite3.Error, OSError) as error:
            raise IndexNotKept(why=f"{directory}: {error}") from error
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Before the ledger is closed."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._database.close()

    @property
    def rebuilds(self) -> int:
        """How often this process has built the index anew because it did not fit."""
        return self._rebuilds

    @property
    def database(self) -> Database:
        """The tables with what they have, however far behind."""
        return self._database

    def current(self, timeout_s: float = CATCH_UP_S) -> Database:
        """The tables, with every block that the ledger had when this was called. Raises
        `IndexBehind`."""
        wanted = self._feed.height
        if self._height < wanted:
            refuse_on_event_loop()
        with self._moved:
            if not self._moved.wait_for(lambda: self._height >= wanted, timeout_s):
                raise IndexBehind(
                    why=f"it has read {max(self._height, 0)} of {wanted} blocks"
                    + (f"; {self._trouble}" if self._trouble else "")
                )
            return self._database

    def accounts(self, timeout_s: float = CATCH_UP_S) -> Database:
        """As `current`, for whoever reads entries. Raises `IndexDisagrees` as well."""
        database = self.current(timeout_s)
        if self._wrong is not None:
            raise IndexDisagrees(why=self._wrong)
        return database

    # The thread

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """Those that last as long as the node."""
        return (self._thread,)

    def _run(self) -> None:
        trouble, damage, whole = Trouble(log, "reading the ledger into the index"), "", True
        while not self._stopping.is_set():
            try:
                if damage:
                    # In vain as well, where the disk is full: then it is tried again.
                    self._rebuild(damage)
                    damage, whole = "", True
                whole = self._catch_up(whole=whole)
                self._trouble = None
                trouble.over()
                self._feed.wait(self._height + 1, POLL_S)
            except LedgerStopped:
                return
            except Exception as error:  # noqa: BLE001
                if self._stopping.is_set():
                    return
                trouble.note(error)
                self._trouble = error
                if _is_damage(error) and self._rebuilds < REBUILDS_MAX:
                    damage = str(error)
                self._stopping.wait(POLL_S)

    def _catch_up(self, *, whole: bool) -> bool:
        """Read what is new, then compare with the ledger: all accounts where `whole`. Whether the
        next comparison has to be of all accounts again."""
        touched: set[OwnerId] = set()
        for happened in self._history.since(self._database.height + 1, self._stopping):
            if self._stopping.is_set():
                return whole
            touched |= self._database.apply(happened)
        if touched or whole:
            difference = self._difference(None if whole else touched)
            if difference is not None:
                if self._rebuilds < REBUILDS_MAX and self._wrong is None:
                    self._rebuild(difference)
                    self._wrong = difference
                    return self._catch_up(whole=True)
                log.error("index: %s", difference)
            self._wrong = difference
        with self._moved:
            self._height = self._database.height
            self._moved.notify_all()
        return False

    # Whether it fits

    def _opened(self) -> Database:
        """The file that is there, if it fits; else an empty one."""
        try:
            database = Database(self._file)
            try:
                if database.fits(self._genesis_id) and self._is_of_the_chain(database):
                    database.begin(self._genesis_id, self._genesis.created_ms, self._minted())
                    return database
            except BaseException:
                database.close()
                raise
            database.close()
        except (sqlite3.DatabaseError, HyperMeshError, ValueError) as error:
            log.warning("index: %s", error)
        return self._emptied()

    def _emptied(self) -> Database:
        for suffix in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)
        database = Database(self._file)
        database.begin(self._genesis_id, self._genesis.created_ms, self._minted())
        return database

    def _rebuild(self, why: str) -> None:
        log.warning("index: it is built anew, for %s", why)
        with self._moved:
            self._height = -1
            self._database.close()
            self._database = self._emptied()
        self._rebuilds += 1

    def _is_of_the_chain(self, database: Database) -> bool:
        height = database.height
        if height == 0:
            return True
        if height > self._ledger.status().height:
            return False
        return database.block_hash == digest_of("header", self._ledger.block(height).header)

    def _minted(self) -> list[Movement]:
        supply = self._genesis.economy.faucet_supply
        target = (accounts.FAUCET, Part.BALANCE)
        return [Movement(Reason.GENESIS, None, target, supply)] if supply else []

    def _difference(self, owners: Set[OwnerId] | None) -> str | None:
        """Where the sums of the entries and the ledger's state differ: of some accounts, or of all;
        None where they agree, or where the ledger has moved on meanwhile."""
        with self._ledger.state() as state:
            head = state.get(HEAD_KEY)
            if head is None or decode(Head, head).height != self._database.height:
                return None
            held = holdings(state, owners)
        if owners is None:
            added = self._database.accounts()
            return _first_difference(added, held) or _first_difference(self._database.sums(), held)
        return _first_difference({owner: self._database.account(owner) for owner in owners}, held)


def holdings(state: State, owners: Set[OwnerId] | None = None) -> dict[OwnerId, Amounts]:
    """What accounts have by the ledger's own rows: balance, bonded, unbonding, in escrow; of
    `owners`, or of all. Of the ledger's own accounts, those that hold what belongs to others under
    a condition are left out."""
    held: dict[OwnerId, list[int]] = {}

    def add(part: int, owner: OwnerId, amount: int) -> None:
        if owners is None or owner in owners:
            held.setdefault(owner, [0, 0, 0, 0])[part] += amount

    if owners is None:
        for owner, amount in accounts.balances(state):
            if owner not in _CONDITIONAL:
                add(0, owner, amount)
    else:
        for owner in owners:
            add(0, owner, accounts.balance(state, owner))
    for owner, amount in staking.bonds(state):
        add(1, owner, amount)
    for _, unbonding in staking.unbondings(state):
        add(2, unbonding.owner, unbonding.amount)
    for _, row in escrow.escrows(state):
        add(3, row.payer, row.amount)
    return {owner: (a, b, c, d) for owner, (a, b, c, d) in held.items()}


def _first_difference(
    found: dict[OwnerId, Amounts], expected: dict[OwnerId, Amounts]
) -> str | None:
    nothing = (0, 0, 0, 0)
    for owner in found.keys() | expected.keys():
        ours, theirs = found.get(owner, nothing), expected.get(owner, nothing)
        if ours != theirs:
            return (
                f"account {owner.hex()[:16]} has {ours} by its entries and {theirs} by the ledger"
            )
    return None


def _is_damage(error: Exception) -> bool:
    """Whether the file is at fault, rather than the disk's room or another process."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError
    )
