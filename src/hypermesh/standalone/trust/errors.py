"""What can fail in `trustchain-server`, beyond what its parts report themselves."""

from __future__ import annotations

from hypermesh.wire.errors import Conflict, Forbidden, HyperMeshError, NotFound


class SettingsInvalid(HyperMeshError):
    """A setting of the server is unknown, malformed or out of range."""

    code = "HM-TRUST-0200"
    exit_code = 3
    title = "The settings of the server are not valid"


class NotFounded(HyperMeshError):
    """The data directory holds no authority, or not all of one."""

    code = "HM-TRUST-0201"
    exit_code = 3
    title = "There is no authority in this directory"
    remedy = "Make one: trustchain-server init --data DIR --config FILE"


class AlreadyFounded(Conflict):
    """The data directory already holds an authority; a ceremony is held once."""

    code = "HM-TRUST-0202"
    title = "This directory already holds an authority"
    remedy = "Choose an empty directory"


class TokensFull(HyperMeshError):
    """No room for another token."""

    code = "HM-TRUST-0203"
    status = 409
    exit_code = 8
    title = "The server keeps no more tokens"
    remedy = "Revoke one: trustchain-server token revoke ID"


class PrincipalMissing(HyperMeshError):
    """The route is not for everybody, and the request says not who asks, or a token or certificate
    that is not known here."""

    code = "HM-TRUST-0204"
    status = 401
    exit_code = 4
    title = "This needs a token or a client certificate"
    remedy = "Send `Authorization: Bearer TOKEN`; an operator makes one"


class RoleMissing(Forbidden):
    """Who asks is known, and has not the role that the route wants."""

    code = "HM-TRUST-0205"
    title = "This is not for your role"


class PlainRefused(Forbidden):
    """The route is served over TLS alone."""

    code = "HM-TRUST-0207"
    title = "This is served over TLS alone"


class BackupInvalid(HyperMeshError):
    """The directory is no whole backup: a file is missing, changed, or of another version."""

    code = "HM-TRUST-0209"
    exit_code = 9
    title = "This is no whole backup"


class DirectoryBusy(Conflict):
    """Another process serves from the data directory."""

    code = "HM-TRUST-0210"
    title = "Another process uses this directory"
    remedy = "Stop it first"


class AddressTaken(HyperMeshError):
    """A listening address cannot be bound."""

    code = "HM-TRUST-0211"
    exit_code = 3
    title = "The server cannot listen there"


class LogBehind(HyperMeshError):
    """The log of a backup is older than what others have seen of it: going on would fork it."""

    code = "HM-TRUST-0212"
    exit_code = 9
    title = "The log would go back"


class SettingsFixed(Conflict):
    """Settings that were read again differ where a running server cannot follow."""

    code = "HM-TRUST-0240"
    exit_code = 3
    title = "These settings need a restart"
    remedy = "Put them back, or restart the server"


class BindingUnknown(NotFound):
    """No external account of the ACME server has this key id."""

    code = "HM-TRUST-0241"
    title = "There is no such external account"
    remedy = "trustchain-server eab ls"


class PinUnusable(HyperMeshError):
    """The PIN of the token that holds the issuing key is not where the settings say, or others may
    read it."""

    code = "HM-TRUST-0242"
    exit_code = 3
    title = "The PIN of the token cannot be had"


class WitnessFailed(HyperMeshError):
    """A witness of this server's logs does not answer, or refuses to cosign."""

    code = "HM-TRUST-0243"
    status = 503
    exit_code = 7
    title = "A witness does not cosign"


class WitnessLate(WitnessFailed):
    """A witness of this server's logs does not answer in time."""

    code = "HM-TRUST-0247"
    title = "A witness does not answer"


class CertificateUnusable(HyperMeshError):
    """The certificate and the key in `[tls]` are not there, do not belong together, are not good
    now, are of a kind that no TLS library here signs by, or others may read the key."""

    code = "HM-TRUST-0244"
    exit_code = 3
    title = "The server cannot show this certificate"
    remedy = "Put a certificate chain and its key into the files of [tls], mode 600 for the key"


class PhaseImpossible(Conflict):
    """In this phase other DNS has a say, and the settings name no server that could be asked."""

    code = "HM-TRUST-0245"
    title = "There is no DNS server to ask"
    remedy = "Name one in upstream of [dns], and start the server anew"


class PhasesDamaged(HyperMeshError):
    """The file of the zones' phases is cut short, or not what was written."""

    code = "HM-TRUST-0246"
    exit_code = 9
    title = "The phases of the zones cannot be read"
    remedy = "Bring the file back from a backup; without it the settings say the phases"
