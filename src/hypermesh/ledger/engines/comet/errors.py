"""The conditions of the engine of validators that its users can meet."""

from __future__ import annotations

from hypermesh.ledger.errors import LedgerStopped
from hypermesh.wire.errors import Conflict, HyperMeshError, InvalidInput, NotFound


class EngineMissing(NotFound):
    """The program that orders blocks is not on this machine."""

    code = "HM-LEDGER-0040"
    exit_code = 3
    title = "The BFT engine is not installed"
    remedy = "Build it: `make cometbft`"


class EngineStopped(LedgerStopped):
    """The engine process ended, or gave up its connection for blocks; no block can follow."""

    code = "HM-LEDGER-0041"
    title = "The BFT engine has stopped"
    remedy = "Restart the node: the engine and the ledger continue at the last durable block"


class EngineInUse(Conflict):
    """The engine of an earlier run still holds its directory."""

    code = "HM-LEDGER-0042"
    exit_code = 3
    title = "An engine process still runs in this directory"
    remedy = "Wait until it has ended, or end it"


class SigningStateLost(HyperMeshError):
    """The record of what this validator last signed is gone; without it, it could sign two blocks
    of one height, which is the one thing a validator must never do."""

    code = "HM-LEDGER-0043"
    exit_code = 9
    title = "The signing key, or the record of what it signed, is missing"
    remedy = "Restore both files from where they went; never begin with an empty record"


class AbciMalformed(InvalidInput):
    """The bytes on the engine's socket are not an ABCI message."""

    code = "HM-LEDGER-0044"
    title = "The message is not an ABCI message"


class EngineRefused(HyperMeshError):
    """The engine answered a call on its interface with an error."""

    code = "HM-LEDGER-0045"
    status = 502
    title = "The BFT engine refused a call"
