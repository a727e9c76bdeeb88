"""`/v1/dns`: the names of the mesh, and this node's name server."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, put
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.paging import PAGE_DEFAULT, Limit
from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.trustchain.dns.resolution import Phase
from hypermesh.wire.api.dns import (
    DnsLabelChange,
    DnsLabelPage,
    DnsNamePage,
    DnsPhaseChange,
    DnsResolved,
    DnsView,
)
from hypermesh.wire.api.ledger import TransactionView


@get("/v1/dns")
@prompt
def dns(here: Node) -> DnsView:
    """This node's name server: where, in which phase, and the zones with the height of the ledger
    at which they stand."""
    return here.names.view()


@get("/v1/dns/names")
@prompt
def dns_names(here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT) -> DnsNamePage:
    """The names of the network's zone, each with what is at it. They are what a stranger may see:
    an asset has a name at FullPublic only."""
    return here.names.page(cursor, limit)


@get("/v1/dns/resolve", sync_to_thread=True)
def dns_resolve(
    here: Node,
    name: Annotated[str, Parameter(min_length=1, max_length=1024)],
    type: Annotated[str, Parameter(min_length=1, max_length=20)] = "AAAA",  # noqa: A002
) -> DnsResolved:
    """What a name has of a type, which source answered, and in phase 1 whether the other agrees.
    Other names than those of the mesh are asked of the configured servers, and of nobody else."""
    return here.names.resolve(name, type)


@put("/v1/dns/phase", sync_to_thread=True)
def dns_phase(here: Node, data: DnsPhaseChange) -> DnsView:
    """Switch who answers for names of the mesh: 0 traditional DNS, 1 both, 2 the ledger first, 3
    the ledger only. Kept over restarts, and switched back in the same way."""
    return here.names.switch(Phase(data.phase))


@get("/v1/dns/labels")
@prompt
def dns_labels(here: Node, cursor: str | None = None, limit: Limit = PAGE_DEFAULT) -> DnsLabelPage:
    """What owners call their nodes and assets, by the ledger; also what is not answered now."""
    return here.naming.page(cursor, limit)


@put("/v1/dns/labels/{label:str}", sync_to_thread=True)
def dns_label_set(here: Node, label: str, data: DnsLabelChange) -> TransactionView:
    """Call a node or an asset of this node's owner `label` in the zone of the network. Who comes
    first has it, and keeps it for as long as it names something of his."""
    return here.naming.set(label, data)


@delete("/v1/dns/labels/{label:str}", status_code=200, sync_to_thread=True)
def dns_label_drop(here: Node, label: str) -> TransactionView:
    """Give a label up."""
    return here.naming.drop(label)


ROUTES: list[ControllerRouterHandler] = [
    dns,
    dns_names,
    dns_resolve,
    dns_phase,
    dns_labels,
    dns_label_set,
    dns_label_drop,
]
