"""The conditions of a ledger that its users can meet; refusals of transactions are `Refusal`s."""

from __future__ import annotations

from hypermesh.wire.errors import Conflict, HyperMeshError, InvalidInput, Overloaded, Unreachable


class BlockRefused(HyperMeshError):
    """A block does not follow the rules, whoever made it: nothing of it is applied."""

    code = "HM-LEDGER-0002"
    status = 422
    exit_code = 9
    title = "The block is refused"


class LedgerDamaged(HyperMeshError):
    """What is stored contradicts itself."""

    code = "HM-LEDGER-0003"
    exit_code = 9
    title = "The ledger's database is damaged"
    remedy = (
        "On a follower move the ledger directory away: it fetches every block again. On the "
        "sequencer restore it from a backup, or copy that of a follower that has stopped"
    )


class AnotherNetwork(Conflict):
    """The database or the message belongs to a ledger that began with another genesis."""

    code = "HM-LEDGER-0004"
    exit_code = 3
    title = "This is the ledger of another network"


class NewerSchema(Conflict):
    """A later version of HyperMesh wrote the database."""

    code = "HM-LEDGER-0005"
    exit_code = 3
    title = "The ledger's database was written by a newer version"
    remedy = "Install the newer version; an older one cannot know what the new tables mean"


class LedgerInUse(Conflict):
    """Another process has the ledger open."""

    code = "HM-LEDGER-0006"
    exit_code = 3
    title = "Another process has this ledger open"
    remedy = "Stop the other node, or give this one its own data directory"


class LedgerUnavailable(Unreachable):
    """The sequencer cannot be reached: reads go on and show their age, writes fail."""

    code = "HM-LEDGER-0007"
    status = 503
    title = "The ledger takes no writes: its sequencer cannot be reached"
    remedy = "Start the sequencer's node, or look at `hm status` for when it was last heard"


class Diverged(HyperMeshError):
    """Re-executing a block gave another result than its signed header says."""

    code = "HM-LEDGER-0008"
    exit_code = 9
    title = "This follower and the sequencer disagree"
    remedy = (
        "Compare the versions of both nodes, then run `hm verify`; "
        "this node serves the last state that it could confirm"
    )


class OutOfOrder(Conflict):
    """A block that is not the next one."""

    code = "HM-LEDGER-0009"
    title = "This block is not the next"


class ClockJumped(HyperMeshError):
    """At start, the machine's clock is more than a day away from the last block's time."""

    code = "HM-LEDGER-0010"
    exit_code = 3
    title = "The clock of this machine is far from the time of the last block"
    remedy = "Set the clock; if it is right, say so: hm up --clock-is-right"


class LedgerStopped(Unreachable):
    """The engine of this node has stopped; nothing more is taken."""

    code = "HM-LEDGER-0011"
    status = 503
    title = "The ledger of this node has stopped"
    remedy = "Restart the node; its log says why the ledger stopped"


class OutcomeUnknown(Unreachable):
    """The wait ended before the block did; the transaction may still be applied."""

    code = "HM-LEDGER-0012"
    title = "The outcome of the transaction is not known yet"
    remedy = "Submit the same transaction again: it is applied once and its result is returned"


class QueueFull(Overloaded):
    """More transactions wait than the engine takes."""

    code = "HM-LEDGER-0013"
    title = "The ledger's queue is full"


class DiskFull(HyperMeshError):
    """The disk took no more: the block was dropped whole, and nothing before it is touched."""

    code = "HM-LEDGER-0014"
    status = 507
    exit_code = 8
    title = "The disk is full, so nothing was written"
    remedy = "Free some space and send the transaction again"


class NotTheSequencer(HyperMeshError):
    """The keys given are not those that genesis names as the sequencer's."""

    code = "HM-LEDGER-0015"
    status = 403
    exit_code = 4
    title = "These keys are not the sequencer's"


class ProofInvalid(InvalidInput):
    """A header, block or bucket proof does not show what it claims."""

    code = "HM-LEDGER-0016"
    status = 422
    exit_code = 9
    title = "The proof does not hold"


class Lagging(Overloaded):
    """A subscriber did not keep up; it missed blocks and reads them from the store."""

    code = "HM-LEDGER-0017"
    title = "The subscription fell too far behind"
    remedy = "Subscribe again and read the missed blocks by height"
