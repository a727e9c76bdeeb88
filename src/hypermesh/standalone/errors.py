"""What can fail where STOQ runs alone, beyond what STOQ itself reports."""

from __future__ import annotations

from hypermesh.wire.errors import HyperMeshError


class ServerUnknown(HyperMeshError):
    """The client has no pin of the server, and takes none on trust."""

    code = "HM-ALONE-0001"
    status = 403
    exit_code = 4
    title = "The pin of this server is not known"
    remedy = "Give what the server prints at its start, once: --pin PIN"


class PinChanged(HyperMeshError):
    """Another pin is known for this place: a new server, or somebody in between."""

    code = "HM-ALONE-0002"
    status = 403
    exit_code = 9
    title = "The server has another pin than before"
    remedy = "If the server was made anew, remove its line from known_servers"


class SettingsInvalid(HyperMeshError):
    """A file of the server or of the client cannot be used."""

    code = "HM-ALONE-0003"
    exit_code = 3
    title = "The configuration is not valid"
