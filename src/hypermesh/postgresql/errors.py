"""What a store in PostgreSQL can meet."""

from __future__ import annotations

from hypermesh.wire.errors import Conflict, HyperMeshError, InvalidInput


class DatabaseAway(HyperMeshError):
    """The database cannot be reached, or the connection was lost; nothing was changed."""

    code = "HM-TRUST-0360"
    status = 503
    exit_code = 3
    title = "The database cannot be reached"
    remedy = "Start it, or check the network between; service goes on when it is back"


class DatabaseInDoubt(HyperMeshError):
    """The connection was lost while a transaction was committed; it is there wholly or not."""

    code = "HM-TRUST-0361"
    status = 503
    exit_code = 3
    title = "The database was lost in the middle of a commit"
    remedy = "Ask again: what was done already is found, not done twice"


class DatabaseUnsafe(HyperMeshError):
    """The database is set up so that it may lose what it acknowledged, or takes no writes."""

    code = "HM-TRUST-0362"
    exit_code = 3
    title = "The database would lose what it has acknowledged"


class DatabaseClaimed(Conflict):
    """Another server works on this database, or took it over."""

    code = "HM-TRUST-0363"
    exit_code = 3
    title = "Another server uses this database"
    remedy = "Stop it first; one database has one server"


class DatabaseUnfit(HyperMeshError):
    """The database refuses the role, or what is in it is not of this version."""

    code = "HM-TRUST-0364"
    exit_code = 3
    title = "The database cannot be used"


class DatabaseNameInvalid(InvalidInput):
    """What names the database is no URL, or carries what it must not, a password say."""

    code = "HM-TRUST-0365"
    title = "This names no database"
    remedy = "As in postgresql://trustchain@/trustchain?host=/run/postgresql"


class DatabaseRefused(HyperMeshError):
    """The database refused a statement, for want of room say; nothing was changed."""

    code = "HM-TRUST-0366"
    status = 503
    exit_code = 3
    title = "The database refuses"
    remedy = "Check its disk and its log, then try again"


class DatabaseBusy(HyperMeshError):
    """All connections are in use, or a lock was not given in time; nothing was changed."""

    code = "HM-TRUST-0367"
    status = 503
    exit_code = 7
    title = "The database is too busy"
    remedy = "Try again in a moment"
    retry_after_s = 1
