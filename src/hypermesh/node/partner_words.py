"""What follows from letting another network in, and how that stands, in sentences. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from hypermesh.ledger.federation import Partner
from hypermesh.trustchain.ca.authority import NODE_LIFETIME_S
from hypermesh.trustchain.federation import zone
from hypermesh.wire.ids import GenesisId
from hypermesh.wire.tx import PartnerService

ALLOWS: dict[PartnerService, str] = {
    PartnerService.ASSETS: "discover assets, each as far as its owner's terms let them",
}
HEARD_MS_MAX = 10 * 60 * 1000
"""After so long without word, a partner's list counts as out of date."""


def consequences(
    name: str,
    network: GenesisId,
    permitted: Sequence[str],
    excluded: Sequence[str],
    services: Sequence[PartnerService],
    not_after_ms: int,
    *,
    own: str,
    replaces: bool,
    dropped: str | None,
) -> list[str]:
    """What a yes means."""
    said = [_who(name, network, permitted, excluded)]
    said.append("They may connect to every node of this network, and measure the path.")
    said += [f"They may {ALLOWS[each]}." for each in sorted(set(services))]
    said.append("They may do nothing else: no leases, jobs, parcels, tunnels, files or blocks.")
    said.append(
        f"This holds until {day(not_after_ms)}, or until `hm trust drop`, which cuts them off."
    )
    said.append(
        f"Whoever holds the keys of {name}'s certificate authority can make such nodes; this "
        f"network's root says so to everybody who trusts it, in a certificate on the ledger."
    )
    said.append(f"Nodes of {own} can connect to {name} once {name} has added this network, too.")
    if replaces:
        said.append("It takes the place of what is agreed now; connections under that end.")
    if dropped is not None:
        said.append(f"It was dropped before: {printable(dropped)}")
    return said


def standing(
    row: Partner, now_ms: int, heard_ms_ago: int | None, height: int | None, failure: str
) -> list[str]:
    """How it stands, for whoever has to do something about it."""
    if now_ms >= row.not_after_ms:
        return [f"It ended on {day(row.not_after_ms)}; its nodes are not let in."]
    said = []
    if heard_ms_ago is not None and heard_ms_ago <= HEARD_MS_MAX and not failure:
        said.append(f"Who is revoked there is known up to its block {height}.")
    else:
        since = "never heard" if height is None else f"last heard at its block {height}"
        why = f" ({failure})" if failure else ""
        hours = NODE_LIFETIME_S // 3600
        said.append(
            f"Its authority is {since}{why}. Certificates that it has issued stay valid to their "
            f"end, {hours} h at most; whom it has revoked since is not known here."
        )
    return said


def _who(name: str, network: GenesisId, permitted: Sequence[str], excluded: Sequence[str]) -> str:
    whole = list(permitted) == [zone(network)]
    who = (
        f"All nodes of {printable(name)} (names below {zone(network)}) are let in"
        if whole
        else f"Of {printable(name)}, the nodes {', '.join(permitted)} are let in"
    )
    return f"{who}, but not {', '.join(excluded)}." if excluded else f"{who}."


def day(at_ms: int) -> str:
    """A date in UTC."""
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def printable(text: str) -> str:
    """`text` of another network, without what a terminal would obey."""
    return "".join(each if each.isprintable() else "?" for each in text)
