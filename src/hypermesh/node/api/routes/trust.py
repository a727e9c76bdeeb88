"""`/v1/trust`: other networks whose nodes are let in, and what a revocation would cut off."""

from __future__ import annotations

from litestar import delete, get, post
from litestar.types import ControllerRouterHandler

from hypermesh.node.api.prompt import prompt
from hypermesh.node.composition import Node
from hypermesh.wire.api.ledger import TransactionView
from hypermesh.wire.api.trust import (
    IntroductionView,
    PartnerAssetPage,
    PartnerFollowRequest,
    PartnerFollowView,
    PartnerPage,
    PartnerPreview,
    PartnerRequest,
    WhatIfView,
)
from hypermesh.wire.ids import parse_hex


@get("/v1/trust")
@prompt
def partners(here: Node) -> PartnerPage:
    """The networks that this one lets in: which nodes, for what, until when, and how it stands."""
    return here.partners.page()


@get("/v1/trust/introduction")
@prompt
def own_introduction(here: Node) -> IntroductionView:
    """What another network needs to let this one's nodes in."""
    return here.partners.introduction()


@get("/v1/trust/whatif", sync_to_thread=True)
def what_if(here: Node, revoke: str) -> WhatIfView:
    """Replay the handshakes that this node recorded, and name those that would have failed: had a
    node (its id), an authority (`root`, `issuing`, or the SHA-256 of its certificate) or a partner
    (its genesis id) been revoked."""
    return here.replaying.whatif(revoke)


@post("/v1/trust", sync_to_thread=True)
def add_partner(
    here: Node, data: PartnerRequest, preview: bool = False
) -> TransactionView | PartnerPreview:
    """Let nodes of another network in, or change on what terms. With `preview` nothing is changed:
    the answer says what would follow."""
    return here.partners.preview(data) if preview else here.add_partner(data)


@delete("/v1/trust/{network:str}", sync_to_thread=True, status_code=200)
def drop_partner(here: Node, network: str, reason: str = "dropped") -> TransactionView:
    """Let nodes of another network in no more. Connections that they have end at every node that
    follows the ledger."""
    return here.drop_partner(parse_hex(network, 32, "network id"), reason)


@post("/v1/trust/{network:str}/follow", sync_to_thread=True, status_code=200)
def follow_partner(here: Node, network: str, data: PartnerFollowRequest) -> PartnerFollowView:
    """Ask a partner what it is now, and follow it: to another address, and to an issuing CA that
    its root has signed. What was agreed with it stays."""
    return here.partners.follow(parse_hex(network, 32, "network id"), data)


@get("/v1/trust/{network:str}/assets", sync_to_thread=True)
def partner_assets(here: Node, network: str, cursor: str | None = None) -> PartnerAssetPage:
    """What a partner shows to anyone of its assets, asked of it now."""
    return here.partners.foreign_assets(parse_hex(network, 32, "network id"), cursor)


ROUTES: list[ControllerRouterHandler] = [
    partners,
    what_if,
    own_introduction,
    add_partner,
    drop_partner,
    follow_partner,
    partner_assets,
]
