"""Moving this node's endpoint to another port, without losing those who talk to it.

Only who opened a connection can move it (RFC 9000 section 9), so what others opened to this node
ends. They are told the new place before, over the connections that are live, and come back to it at
once. The order is one in which a crash leaves no lie for long: the port is kept first, then told,
then taken, and a node that starts again takes the one that it kept.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait

from hypermesh.node.configuration import Configuration
from hypermesh.node.membership import Membership
from hypermesh.node.peers import Peers
from hypermesh.node.whereabouts import Whereabouts
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import BindRefused
from hypermesh.wire.api.stoq import StoqMoved
from hypermesh.wire.errors import Conflict, HyperMeshError, InvalidInput
from hypermesh.wire.ids import NodeId
from hypermesh.wire.rpc import ALPN_NODE, SignedLocator

TELL_S = 10.0
"""For all who are told together; who has not heard by then asks the sequencer."""
TELLERS = 16
CHOICES_MAX = 4
"""Of ports that the system chooses, where another program takes one before this node does."""
PEERS_TOLD_MAX = 1_000
CONNECTIONS_AT_ONCE = 100

log = logging.getLogger(__name__)


class Moving:
    """The port of one node's endpoint."""

    def __init__(
        self,
        configuration: Configuration,
        membership: Membership,
        endpoint: Endpoint,
        peers: Peers,
        whereabouts: Whereabouts,
        moved: Callable[[], None],
    ) -> None:
        """`moved` is called when the endpoint is at another port."""
        self._configuration = configuration
        self._membership = membership
        self._endpoint = endpoint
        self._peers = peers
        self._whereabouts = whereabouts
        self._moved = moved
        self._lock = threading.Lock()
        self.port = endpoint.address[1]
        """Where this node is, or is about to be: what it publishes."""

    def move(self, port: int) -> StoqMoved:
        """Tell the others, and go to `port`; 0 asks the system for one. Raises `BindRefused`, and
        then the node stays where it is; `Conflict` where it moves already."""
        if not self._lock.acquire(blocking=False):
            raise Conflict("This node is moving already")
        try:
            return self._move(port)
        finally:
            self._lock.release()

    def _move(self, wanted: int) -> StoqMoved:
        host, before = self._endpoint.address
        if wanted == before:
            raise InvalidInput(f"This node is at port {before} already")
        for left in range(0 if wanted else CHOICES_MAX - 1, -1, -1):
            port = _free(host, wanted)
            told = self._announce(port)
            try:
                self._endpoint.rebind(port)
            except BaseException as error:
                if left and isinstance(error, BindRefused):
                    # Somebody took it in between. What is told next counts.
                    continue
                self._announce(before)
                raise
            break
        self._moved()
        log.info("moved from port %d to %d; %d nodes knew before", before, port, told)
        return StoqMoved(host=host, port=port, before=before, told=told)

    def _announce(self, port: int) -> int:
        """Keep `port`, and tell it to the nodes that are connected; how many took it."""
        self._configuration.keep(port)
        self.port = port
        settings = self._configuration.settings
        signed = self._whereabouts.sign(settings, port)
        nodes = self._connected()
        pool = ThreadPoolExecutor(TELLERS, thread_name_prefix="moving")
        try:
            asked = [pool.submit(self._tell, node, signed) for node in nodes]
            done, _ = wait(asked, TELL_S)
        finally:
            # Those that still wait end with their own time, or with the connections.
            pool.shutdown(wait=False, cancel_futures=True)
        return sum(each.result() for each in done if not each.cancelled())

    def _tell(self, node: NodeId, signed: SignedLocator) -> bool:
        try:
            answer = self._peers.call(
                node, "locator.publish", signed, SignedLocator, timeout_ms=int(TELL_S * 1000)
            )
            self._whereabouts.admit(answer)
        except HyperMeshError as error:
            log.info("%s was not told where this node goes: %s", node.hex()[:16], error)
            return False
        if node == self._whereabouts.sequencer:
            self._whereabouts.told(signed)
        return True

    def _connected(self) -> Iterable[NodeId]:
        """Nodes with a live connection to or from this one."""
        found: dict[NodeId, None] = {}
        after = 0
        while len(found) < PEERS_TOLD_MAX:
            page = self._endpoint.connections(after=after, limit=CONNECTIONS_AT_ONCE)
            if not page:
                break
            after = page[-1].key
            for each in page:
                if each.alpn == ALPN_NODE and each.peer is not None:
                    found[each.peer] = None
        found.pop(self._membership.keys.id, None)
        return list(found)


def _free(host: str, wanted: int) -> int:
    """`wanted`, or a port that the system chooses, where nobody is now. Raises `BindRefused`."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, wanted))
        except OSError as error:
            raise BindRefused(f"Port {wanted} cannot be had", why=str(error)) from error
        port: int = probe.getsockname()[1]
        return port
