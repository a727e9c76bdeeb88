"""What can fail on the way to a peer. The number in a code is its number on the wire, too: a peer
that refuses closes with it, so both ends raise or report the same class.

`why` says what the side that found it knew; a reason from the other side says so.
"""

from __future__ import annotations

from hypermesh.wire.errors import (
    Conflict,
    Forbidden,
    HyperMeshError,
    InvalidInput,
    Overloaded,
    Unreachable,
)


class PeerRefused(HyperMeshError):
    """One side does not accept the other; each subclass is a reason. Nothing was exchanged."""

    code = "HM-STOQ-0000"
    status = 403
    exit_code = 4
    title = "The peers do not accept one another"


class WrongNetwork(PeerRefused):
    """The peer's certificate is for another network."""

    code = "HM-STOQ-0001"
    title = "The peer belongs to another network"


class UnknownIssuer(PeerRefused):
    """No issuer that this network trusts signed the peer's certificate."""

    code = "HM-STOQ-0002"
    title = "The peer's certificate is from an unknown issuer"


class CertificateExpired(PeerRefused):
    """The peer's certificate, or one above it, has expired."""

    code = "HM-STOQ-0003"
    title = "The peer's certificate has expired"
    remedy = "A node renews its certificate when it starts; check its clock, then restart it"


class CertificateNotYetValid(PeerRefused):
    """The peer's certificate is valid in the future only."""

    code = "HM-STOQ-0004"
    title = "The peer's certificate is not valid yet"
    remedy = "Compare the clocks of both machines"


class PeerRevoked(PeerRefused):
    """The node has been revoked; connections it had end as well."""

    code = "HM-STOQ-0005"
    title = "The node is revoked"


class CertificateSignatureWrong(PeerRefused):
    """A signature in the chain, classical or FALCON, does not verify."""

    code = "HM-STOQ-0006"
    exit_code = 9
    title = "A signature in the peer's certificate chain is wrong"


class CertificateMalformed(PeerRefused):
    """The chain is not one of hybrid certificates."""

    code = "HM-STOQ-0007"
    title = "The peer's certificate cannot be read"


class CertificateMissing(PeerRefused):
    """The client showed no certificate, and the protocol needs one."""

    code = "HM-STOQ-0008"
    title = "The client has no certificate"
    remedy = "Enrol first: hm join TOKEN"


class WrongPeer(PeerRefused):
    """A valid node answers at this address, but not the one that was asked for."""

    code = "HM-STOQ-0009"
    title = "Another node answers at this address"
    remedy = "The node has moved; ask for its present locator"


class BindingFailed(PeerRefused):
    """The peer's signatures over this TLS channel do not verify: someone may be in between."""

    code = "HM-STOQ-0010"
    exit_code = 9
    title = "The peer did not prove its keys on this channel"


class HandshakeTimeout(Unreachable, PeerRefused):
    """Nobody answers there, or not in time."""

    code = "HM-STOQ-0011"
    status = 504
    exit_code = 7
    title = "The peer did not complete the handshake in time"
    remedy = "Check that the node is up and that its UDP port can be reached"


class ProtocolMismatch(PeerRefused):
    """The other side speaks another version, or serves another protocol at this address."""

    code = "HM-STOQ-0012"
    status = 502
    title = "The peers have no protocol in common"
    remedy = "Update the older side"


class HandshakeFailed(PeerRefused):
    """TLS refused: no common key exchange, or a key that was not proven."""

    code = "HM-STOQ-0013"
    status = 502
    title = "The TLS handshake failed"


class NameForbidden(PeerRefused):
    """The peer is of a partner network, and its name is not among those that were agreed on."""

    code = "HM-STOQ-0014"
    title = "The peer's name is not one that was agreed on"
    remedy = "See `hm trust ls` for the names that are let in"


class NotAuthorized(PeerRefused):
    """The peer has proven its keys, and they are not among those that are let in there."""

    code = "HM-STOQ-0016"
    title = "The other side does not let this key in"
    remedy = "Put what `hm stoq id` prints into `authorized_peers` of the server"


class ConnectionLost(Unreachable):
    """The path is gone: nothing has come from the peer for a while."""

    code = "HM-STOQ-0020"
    title = "The connection to the peer is lost"


class ConnectionClosed(Unreachable):
    """One side has closed the connection; `why` tells which."""

    code = "HM-STOQ-0021"
    title = "The connection is closed"


class EndpointClosed(Unreachable):
    """This endpoint was closed, with everything on it."""

    code = "HM-STOQ-0022"
    title = "This endpoint is closed"


class TimedOut(Unreachable):
    """The peer is there and the answer did not come in time. It may have acted all the same."""

    code = "HM-STOQ-0023"
    title = "The answer did not come in time"


class TargetRefused(HyperMeshError):
    """The local service behind a tunnel does not take the connection."""

    code = "HM-STOQ-0070"
    status = 502
    exit_code = 7
    title = "The service behind the tunnel does not answer"
    remedy = "See that the service runs where `hm tunnel ls` of its node says"


class TooLarge(InvalidInput):
    """A body does not fit a frame."""

    code = "HM-STOQ-0024"
    status = 413
    title = "The message is too large"
    remedy = "Send it over a stream, or in parts"


class MalformedFrame(InvalidInput):
    """The bytes on a stream are not what the protocol says."""

    code = "HM-STOQ-0025"
    title = "The frame is malformed"


class Unanswered(HyperMeshError):
    """The service took the request and gave no answer."""

    code = "HM-STOQ-0026"
    status = 502
    title = "The service did not answer"


class StreamReset(HyperMeshError):
    """One side gave the stream up; what came before may be a part only."""

    code = "HM-STOQ-0027"
    status = 502
    title = "The stream was reset"


class BindRefused(HyperMeshError):
    """The socket could not be opened, or its thread not started."""

    code = "HM-STOQ-0028"
    exit_code = 3
    title = "The endpoint cannot listen there"
    remedy = "Choose another port, or stop whoever has it"


class InvalidIdentity(InvalidInput):
    """Certificate chain and keys do not belong together."""

    code = "HM-STOQ-0029"
    title = "The identity is not consistent"


class InvalidAddress(InvalidInput):
    """Not an IPv6 address, or a name that has none."""

    code = "HM-STOQ-0030"
    title = "This is no address of a peer"
    remedy = "Name an IPv6 address or what has one; IPv4 is for a dual stack (`stoq.stack`)"


class NoGrant(Forbidden):
    """The caller has no grant on a region of this id; whether it exists is not said."""

    code = "HM-STOQ-0040"
    title = "This memory is not granted to the caller"


class ReadOnly(Forbidden):
    """The grant is for reading."""

    code = "HM-STOQ-0041"
    title = "This memory is granted for reading only"


class GrantExpired(Forbidden):
    """The grant has ended."""

    code = "HM-STOQ-0042"
    title = "The grant on this memory has expired"
    remedy = "Lease it again"


class Fenced(Conflict):
    """The caller's epoch is not the present one: someone has taken over, or it is not granted."""

    code = "HM-STOQ-0043"
    title = "The epoch of this memory is another one"


class OutOfRange(InvalidInput):
    """The range is not inside the grant, or a grant not inside the region."""

    code = "HM-STOQ-0044"
    title = "The range is outside of the granted memory"


class Unaligned(InvalidInput):
    """Words are 8 bytes at offsets that 8 divides."""

    code = "HM-STOQ-0045"
    title = "The word is not aligned"


class RegionUnknown(InvalidInput):
    """The owner of an endpoint named a region that it does not have."""

    code = "HM-STOQ-0046"
    status = 404
    exit_code = 5
    title = "There is no such region"


class RegionExists(Conflict):
    """The id of a region is taken."""

    code = "HM-STOQ-0047"
    title = "There is such a region already"


class RegionTooLarge(InvalidInput):
    """A region of no bytes, of more than this host can give, or one region too many."""

    code = "HM-STOQ-0048"
    status = 507
    exit_code = 8
    title = "The region cannot be made"


class FileChanged(Conflict):
    """What is sent is no longer what it was when its sending began."""

    code = "HM-STOQ-0050"
    title = "The file changed while it was being sent"
    remedy = "Send it again when nothing writes to it"


class ChunkMismatch(HyperMeshError):
    """Bytes that came are not those that were announced; none of them is kept."""

    code = "HM-STOQ-0051"
    status = 502
    exit_code = 9
    title = "What arrived is not what was announced"
    remedy = "Send it again; if it happens again, a disk or the memory of a machine is failing"


class NoSpace(HyperMeshError):
    """The disk has no room for what arrives."""

    code = "HM-STOQ-0052"
    status = 507
    exit_code = 8
    title = "There is no room for the file"
    remedy = "Make room there, then send it again: what has arrived is kept"


class FileFailed(HyperMeshError):
    """A file cannot be read or written."""

    code = "HM-STOQ-0053"
    title = "The file cannot be used"


class NotForPartners(Forbidden):
    """Nodes of partner networks may not ask for this service."""

    code = "HM-STOQ-0062"
    title = "Nodes of other networks may not ask for this"
    remedy = "See `hm trust ls` for what they may"


class Draining(Overloaded):
    """The node is going down: it finishes what runs, and takes nothing new."""

    code = "HM-STOQ-0061"
    title = "The node is going down"
    remedy = "Ask another node, or this one again when it is back"
