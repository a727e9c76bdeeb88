"""The conditions of the logs that their users can meet; `evidence.LogUnavailable` is the first."""

from __future__ import annotations

from hypermesh.trustchain.evidence import LogUnavailable
from hypermesh.wire.errors import Conflict, Forbidden, HyperMeshError, InvalidInput, NotFound


class LogBusy(LogUnavailable):
    """The log's bounded queue is full; nothing was recorded."""

    code = "HM-TRUST-0061"
    exit_code = 7
    title = "Too many submissions wait for the transparency log"
    remedy = "Try again in a moment"


class LogDamaged(HyperMeshError):
    """What is stored contradicts itself, or what the log signed."""

    code = "HM-TRUST-0062"
    exit_code = 9
    title = "The transparency log is damaged"
    remedy = (
        "Do not let it go on: a log that forgot entries would sign a fork. Restore the newest copy "
        "of its directory, or begin a new log under another origin and keep this one for reading"
    )


class LogInUse(Conflict):
    """Another process has the logs open."""

    code = "HM-TRUST-0063"
    exit_code = 3
    title = "Another process has these logs open"


class AnotherLog(Conflict):
    """The stored logs have another origin, or were signed with other keys."""

    code = "HM-TRUST-0064"
    exit_code = 3
    title = "These are other logs"


class EntryInvalid(InvalidInput):
    """Bytes are no entry, leaf or tile of a log."""

    code = "HM-TRUST-0065"
    title = "This is no entry of a transparency log"


class ProofInvalid(HyperMeshError):
    """A proof, checkpoint, note or SCT does not hold."""

    code = "HM-TRUST-0066"
    status = 422
    exit_code = 9
    title = "The evidence does not hold"


class NotInLog(NotFound):
    """The log has no such entry, tree size, tile or issuer."""

    code = "HM-TRUST-0067"
    title = "The log has no such thing"


class SubmissionRefused(Forbidden):
    """A chain does not lead to a root that the log takes, or no known key signed what a witness is
    asked to cosign."""

    code = "HM-TRUST-0068"
    title = "The submission is refused"


class WitnessConflict(Conflict):
    """The witness cosigned another size last, `size`, or another root of this size."""

    code = "HM-TRUST-0069"
    title = "The witness stands at another checkpoint"

    size: int = 0


class LogContradicted(Conflict):
    """A log has shown a history that does not continue what a witness cosigned of it, or what is
    anchored of it."""

    code = "HM-TRUST-0252"
    exit_code = 9
    title = "The log shows another history than the one that was cosigned"
    remedy = (
        "Believe no certificate of this log that the ledger has not anchored; tell the person who "
        "runs the network's authority, whose log may have been put back from an older copy"
    )


class WitnessEnded(Conflict):
    """The witness has forgotten what it cosigned, so it cosigns no more."""

    code = "HM-TRUST-0253"
    title = "This node cosigns no logs"
    remedy = "Nothing has to be done: other nodes cosign; a new node would be another witness"


class LogUnreachable(HyperMeshError):
    """A log that is read over the network does not answer, or not as a log does."""

    code = "HM-TRUST-0250"
    status = 502
    exit_code = 7
    title = "The log cannot be read"


class NamesUnexpected(HyperMeshError):
    """A log has certificates for watched names that nobody expected."""

    code = "HM-TRUST-0251"
    status = 422
    exit_code = 9
    title = "The log has certificates for names that were not expected"
    remedy = "Ask who issued them; where it was not you, have them revoked"
