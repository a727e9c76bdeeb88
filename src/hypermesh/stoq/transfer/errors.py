"""Why a file was not taken."""

from __future__ import annotations

from hypermesh.wire.errors import Conflict, Forbidden, HyperMeshError, InvalidInput


class TransferRefused(Forbidden):
    """The receiver takes no files from this sender."""

    code = "HM-SEND-0002"
    title = "The receiver takes no files from here"
    remedy = "Its owner may allow it there: hm inbox allow OWNER"


class FileTooLarge(InvalidInput):
    """The receiver takes no file of this size from this sender."""

    code = "HM-SEND-0003"
    status = 413
    title = "The file is larger than the receiver takes"


class ProtocolBroken(HyperMeshError):
    """The other side says what cannot be said at this point."""

    code = "HM-SEND-0004"
    status = 502
    title = "The other side does not keep to the transfer protocol"
    remedy = "Update the older side"


class NotAFile(InvalidInput):
    """Only regular files can be sent."""

    code = "HM-SEND-0005"
    title = "This is no file that can be sent"
    remedy = "A directory can be sent as an archive of it"


class AlreadyComing(Conflict):
    """The same file is arriving already, on another stream."""

    code = "HM-SEND-0006"
    title = "This file is arriving already"
    remedy = "Wait for the other attempt to end"


class InboxDamaged(HyperMeshError):
    """What the inbox keeps of its files cannot be used."""

    code = "HM-SEND-0007"
    status = 507
    exit_code = 8
    title = "The inbox cannot be used"
    remedy = "Make room on the disk of the data directory"
