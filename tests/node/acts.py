"""The log of acts of a network's authority, as a monitor reads it."""

from __future__ import annotations

import httpx
import msgspec

from hypermesh.sdk.location import socket_path
from hypermesh.trustchain.ct.entry import ActLeaf, read_act, read_bundle
from hypermesh.wire.api.ct import CtView

from .network import Node

ENTRIES_MAX = 255
"""They fit one partial bundle of entries (C2SP tlog-tiles)."""


def over_socket(node: Node) -> httpx.Client:
    """The node's API, as its owner's programs ask it."""
    transport = httpx.HTTPTransport(uds=str(socket_path(node.data)))
    return httpx.Client(transport=transport, base_url="http://localhost", timeout=30)


def acts(node: Node) -> list[ActLeaf]:
    """All leaves of the present log, of which there are few, at the node that keeps it."""
    with over_socket(node) as client:
        view = msgspec.json.decode(client.get("/v1/ct").content, type=CtView)
        (size,) = (
            each.here.size
            for each in view.logs
            if each.purpose == "acts" and each.here is not None and each.ended_height is None
        )
        assert size <= ENTRIES_MAX
        if not size:
            return []
        answer = client.get(f"/v1/ct/acts/tile/entries/000.p/{size}")
        assert answer.status_code == 200, answer.text
        return [read_act(leaf) for leaf in read_bundle(answer.content)]
