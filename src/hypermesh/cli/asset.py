"""`hm asset`: what the pool has, who may use it on what terms, and whose it is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypermesh.cli.asset_history import asset_history
from hypermesh.cli.command import (
    Group,
    Quantity,
    data_option,
    mesh,
    output_option,
    quiet_option,
    watch_option,
)
from hypermesh.cli.completion import complete_assets, complete_nodes
from hypermesh.cli.party import meant_node, meant_owner
from hypermesh.wire.quantity import parse_duration

if TYPE_CHECKING:
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.asset import AssetView, ChangedAsset, PriceView
    from hypermesh.wire.api.privacy import PrivacyChange, PrivacyPreview, PrivacyView

KINDS = (
    "cpu",
    "gpu",
    "memory",
    "storage",
    "container",
    "network",
    "service",
    "package",
    "token",
)
LEVELS = ("private", "private_network", "p2p", "public_network", "full_public", "public")
"""The five levels, and `public`, the older word for the last."""
STATES = ("available", "suspended", "maintenance", "failed")
HOUR_MS = 3_600_000

PRICED: dict[str, tuple[int, int]] = {
    "core-hour": (1000, HOUR_MS),
    "GiB-hour": (1 << 30, HOUR_MS),
    "device-hour": (1, HOUR_MS),
}
"""What a price may be for: units of the asset, and milliseconds."""


@click.group(cls=Group)
def asset() -> None:
    """Show what the pool has, share it, sell it."""


def asset_argument(command: Any) -> Any:
    return click.argument("asset_id", shell_complete=complete_assets)(command)


@asset.command("ls", example="hm asset ls --kind memory\nhm asset ls --mine")
@click.option("--kind", type=click.Choice(KINDS), help="Only assets of this kind.")
@click.option("--region", help="Only assets of which the owner says that they are there.")
@click.option("--mine", is_flag=True, help="Only this owner's assets, wherever they are hosted.")
@watch_option
@quiet_option
@data_option
@output_option
def asset_ls(
    kind: str | None, region: str | None, mine: bool, quiet: bool, data: Path | None, output: str
) -> None:
    """List the assets that this node may discover, with their addresses."""
    from hypermesh.cli.output import emit, emit_ids
    from hypermesh.wire.asset import AssetKind

    with mesh(data) as here:
        wanted = AssetKind(kind) if kind else None
        found = list(here.assets.list(wanted, region=region, owned=mine))
    if quiet:
        emit_ids(each.asset for each in found)
        return
    emit(found, output, asset_table(found))


def asset_table(assets: Iterable[AssetView]) -> str:
    """Assets by host, this machine's first."""
    from hypermesh.cli.output import table

    ordered = sorted(assets, key=lambda each: (not each.mine, each.host_name, each.kind))
    return table([_row(each) for each in ordered], "No assets are visible.")


def _row(asset: AssetView) -> dict[str, object]:
    from hypermesh.cli.output import amount

    return {
        "asset": asset.asset[:8],
        "kind": asset.kind.value,
        "host": asset.host_name + (" (here)" if asset.mine else ""),
        "free": amount(asset.free, asset.kind),
        "of": amount(asset.capacity, asset.kind),
        "enforced": asset.enforcement.value if asset.enforcement else None,
        "level": asset.level.value,
        "state": asset.state.value + (", for sale" if asset.title else ""),
        "address": asset.address,
    }


@asset.command("show", example="hm asset show 3f9c")
@asset_argument
@watch_option
@data_option
@output_option
def asset_show(asset_id: str, data: Path | None, output: str) -> None:
    """Show one asset, its terms and the proofs of its host. ASSET_ID may be shortened."""
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        found = _found(here, asset_id)
        shown = here.assets.get(found.asset)
        terms = None
        if shown.owned:
            terms = next(
                (each for each in here.privacy.settings() if each.asset == shown.asset), None
            )
        names = {each.node: each.name for each in here.network.nodes()}
        now_ms = here.network.status().block_time_ms
    emit(shown, output, _story(shown, terms, names, now_ms))


def _story(asset: AssetView, terms: PrivacyView | None, names: dict[str, str], now_ms: int) -> str:
    from hypermesh.cli.output import amount, facts, moment
    from hypermesh.wire.amount import format_caes

    shown: dict[str, object] = {
        "asset": asset.asset,
        "address": asset.address,
        "kind": asset.kind.value,
        "owner": asset.owner + (" (this owner)" if asset.owned else ""),
        "host": f"{asset.host_name} ({asset.host[:16]})" + (", this machine" if asset.mine else ""),
        "state": asset.state.value,
        "registered": moment(asset.registered_ms),
        "level": asset.level.value,
        "leases": f"{asset.leases} of at most {asset.concurrent_max}",
    }
    if asset.capacity is None:
        shown["free"] = "its host shows no more to this owner"
    else:
        shown["free"] = f"{amount(asset.free, asset.kind)} of {amount(asset.capacity, asset.kind)}"
    if asset.enforcement is not None:
        shown["enforced"] = asset.enforcement.value
    if asset.actions:
        shown["can become"] = ", ".join(asset.actions)
    if asset.price is not None:
        shown["price"] = price_words(asset.price, asset.kind.value)
    if asset.region:
        shown["region"] = f"{asset.region} (its owner says so; nobody checks it)"
    if terms is not None:
        shown.update(_terms(terms, names))
    if asset.title is not None:
        buyer = "anybody" if asset.title.to is None else f"owner {asset.title.to[:16]}"
        shown["for sale"] = (
            f"{format_caes(asset.title.price)} CAES to {buyer} until "
            f"{moment(asset.title.expires_ms)}"
        )
    standing = asset.attestation
    if standing.in_force and standing.attested_ms is not None:
        age_s = max(0, now_ms - standing.attested_ms) // 1000
        shown["proofs"] = (
            ", ".join(f"{chip.proof} ({chip.verifier})" for chip in standing.proofs)
            + f", {age_s} s old, bundle {str(standing.bundle)[:16]}"
        )
    else:
        shown["proofs"] = "none in force; it can be neither leased nor changed"
    return facts(shown)


def _terms(terms: PrivacyView, names: dict[str, str]) -> dict[str, str]:
    from hypermesh.wire.amount import format_caes

    asked = [terms.identity.value]
    if terms.attested:
        asked.append("four proofs in force")
    if terms.bond_min:
        asked.append(f"a bond of {format_caes(terms.bond_min)} CAES")
    return {
        "shared": f"{terms.share_basis_points / 100:g} %",
        "named nodes": ", ".join(names.get(node, node[:16]) for node in terms.nodes) or "none",
        "named networks": ", ".join(each[:16] for each in terms.networks) or "none",
        "durations": f"{_duration(terms.duration_ms_min)} to {_duration(terms.duration_ms_max)}",
        "price": price_words(terms.price, terms.kind.value),
        "consumers": ", ".join(asked),
    }


@asset.command(
    "share",
    example="hm asset share 3f9c --level p2p --node desk --percent 50 --preview\n"
    'hm asset share 3f9c --price "0.0003 CAES/core-hour" --max-duration 2h',
)
@asset_argument
@click.option("--level", type=click.Choice(LEVELS), help="Who may see and lease it.")
@click.option(
    "--node",
    "nodes",
    multiple=True,
    shell_complete=complete_nodes,
    help="A node to let in, by name or id (repeat; p2p, unless --level says else).",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    help="A network to name, by genesis id, or `this` (repeat; replaces the former).",
)
@click.option("--percent", type=click.FloatRange(0.01, 100), help="How much of it is lent at most.")
@click.option("--concurrent", type=click.IntRange(1, 1024), help="How many leases at once.")
@click.option("--min-duration", type=Quantity("duration", parse_duration), help="Shortest lease.")
@click.option("--max-duration", type=Quantity("duration", parse_duration), help="Longest lease.")
@click.option("--price", metavar="PRICE", help='Say, "0.0003 CAES/core-hour" or "../GiB-hour".')
@click.option("--region", help="Where it is, for those who want one; empty for unsaid.")
@click.option(
    "--identity",
    type=click.Choice(["verified", "anonymous"]),
    help="Whether a consumer needs a certificate.",
)
@click.option(
    "--require-proofs/--no-require-proofs",
    default=None,
    help="Whether a consumer's node needs four proofs in force.",
)
@click.option("--min-bond", metavar="CAES", help="The bond that a consumer's node needs.")
@click.option("--preview", is_flag=True, help="Change nothing; show who could see and lease it.")
@data_option
@output_option
def asset_share(asset_id: str, preview: bool, data: Path | None, output: str, **terms: Any) -> None:
    """Set who may see and lease an asset, and on what terms.

    ASSET_ID may be shortened. What is not given stays as it is. Leases that run go on; offers made
    before lose their force at once.
    """
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        wanted = _change(here, _found(here, asset_id).asset, terms)
        if preview:
            shown = here.privacy.preview(wanted)
            emit(shown, output, preview_words(shown))
            return
        changed = here.privacy.change(wanted)
        names = {each.node: each.name for each in here.network.nodes()}
    from hypermesh.cli.output import facts

    emit(changed, output, facts({"level": changed.level.value, **_terms(changed, names)}))


def _change(here: Mesh, asset_id: str, terms: dict[str, Any]) -> PrivacyChange:
    from hypermesh.wire.amount import parse_caes
    from hypermesh.wire.api.privacy import PresetWord, PrivacyChange
    from hypermesh.wire.asset import ConsumerIdentity, PrivacyLevel
    from hypermesh.wire.errors import InvalidInput

    given = {name: value for name, value in terms.items() if value not in (None, ())}
    if not given:
        raise InvalidInput(
            "Nothing was asked to change", fix="Name a term; see `hm asset share --help`"
        )
    level, nodes = terms["level"], terms["nodes"]
    if nodes and level is None:
        level = "p2p"
    known = list(here.network.nodes()) if nodes else []
    networks = [_network(here, each) for each in terms["networks"]]
    percent, bond = terms["percent"], terms["min_bond"]
    return PrivacyChange(
        asset=asset_id,
        level=None if level in (None, "public") else PrivacyLevel(level),
        preset=PresetWord.PUBLIC if level == "public" else None,
        nodes=[meant_node(known, each).node for each in nodes] or None,
        networks=networks or None,
        share_basis_points=None if percent is None else max(1, round(percent * 100)),
        concurrent_max=terms["concurrent"],
        duration_ms_min=terms["min_duration"],
        duration_ms_max=terms["max_duration"],
        price=None if terms["price"] is None else parse_price(terms["price"]),
        region=terms["region"],
        identity=None if terms["identity"] is None else ConsumerIdentity(terms["identity"]),
        attested=terms["require_proofs"],
        bond_min=None if bond is None else parse_caes(bond),
    )


def preview_words(preview: PrivacyPreview) -> str:
    """What a change would do, for people: the terms, who can see and who can lease."""
    from hypermesh.cli.output import table

    changes = [
        {"term": each.term, "now": each.before, "then": each.after} for each in preview.changes
    ]
    who = [
        {
            "node": each.name + (" (own)" if each.own else ""),
            "sees": _verdict(each.discover.allowed, each.discover.was),
            "leases": _verdict(each.lease.allowed, each.lease.was),
            "because": each.lease.reason,
        }
        for each in preview.requesters
    ]
    parts = [
        table(changes, "This would change nothing."),
        "\n".join(preview.summary),
        table(who, "The ledger knows no node."),
    ]
    if preview.blocked:
        parts.append("Nobody could lease it now: " + "; ".join(preview.blocked) + ".")
    parts.append("Nothing has been changed.")
    return "\n\n".join(parts)


def _verdict(allowed: bool, was: bool) -> str:
    word = "yes" if allowed else "no"
    return word if allowed == was else f"{word} (new)"


@asset.command("state", example="hm asset state 3f9c suspended")
@asset_argument
@click.argument("state", type=click.Choice(STATES))
@data_option
@output_option
def asset_state(asset_id: str, state: str, data: Path | None, output: str) -> None:
    """Take an own asset out of service, or back. Leases that run go on."""
    from hypermesh.wire.asset import AssetState

    with mesh(data) as here:
        changed = here.assets.set_state(_found(here, asset_id).asset, AssetState(state))
    _say(changed, output, f"It is {changed.asset.state.value}")


@asset.command("transfer", example="hm asset transfer 3f9c --to desk")
@asset_argument
@click.option("--to", required=True, help="An owner's id, or a node of that owner by name or id.")
@data_option
@output_option
def asset_transfer(asset_id: str, to: str, data: Path | None, output: str) -> None:
    """Give an own asset to another owner, free.

    It becomes private to its new owner. Leases that run go on and pay you; its host serves on.
    """
    with mesh(data) as here:
        found = _found(here, asset_id)
        changed = here.assets.transfer(found.asset, meant_owner(here, to))
    _say(changed, output, f"It belongs to owner {changed.asset.owner[:16]}")


@asset.command("offer", example="hm asset offer 3f9c --price 0.5 --to desk --for 12h")
@asset_argument
@click.option("--price", required=True, metavar="CAES", help="What the buyer pays, in CAES.")
@click.option("--to", help="The only owner who may buy: an id, or a node of that owner.")
@click.option(
    "--for",
    "open_ms",
    type=Quantity("duration", parse_duration),
    help="How long it is open (a day).",
)
@data_option
@output_option
def asset_offer(
    asset_id: str, price: str, to: str | None, open_ms: int | None, data: Path | None, output: str
) -> None:
    """Offer an own asset for sale, to anybody or to one owner."""
    from hypermesh.cli.output import moment
    from hypermesh.wire.amount import format_caes, parse_caes

    with mesh(data) as here:
        found = _found(here, asset_id)
        expires_ms = None
        if open_ms is not None:
            expires_ms = here.network.status().block_time_ms + open_ms
        buyer = None if to is None else meant_owner(here, to)
        changed = here.assets.offer(found.asset, parse_caes(price), buyer, expires_ms)
    offer = changed.asset.title
    said = "It is for sale"
    if offer is not None:
        said += f" at {format_caes(offer.price)} CAES until {moment(offer.expires_ms)}"
    _say(changed, output, said)


@asset.command("withdraw", example="hm asset withdraw 3f9c")
@asset_argument
@data_option
@output_option
def asset_withdraw(asset_id: str, data: Path | None, output: str) -> None:
    """Take the offer to sell an own asset back."""
    with mesh(data) as here:
        changed = here.assets.withdraw(_found(here, asset_id).asset)
    _say(changed, output, "It is no longer for sale")


@asset.command("accept", example="hm asset accept 3f9c --price 0.5")
@asset_argument
@click.option("--price", required=True, metavar="CAES", help="What you have seen, in CAES.")
@data_option
@output_option
def asset_accept(asset_id: str, price: str, data: Path | None, output: str) -> None:
    """Buy an asset that is offered: pay and own it, both or neither."""
    from hypermesh.wire.amount import format_caes, parse_caes

    with mesh(data) as here:
        changed = here.assets.accept(_found(here, asset_id).asset, parse_caes(price))
    _say(changed, output, f"It is yours, for {format_caes(parse_caes(price))} CAES")


def _say(changed: ChangedAsset, output: str, words: str) -> None:
    from hypermesh.cli.output import emit

    emit(changed, output, f"{words} (transaction {changed.tx[:16]}, block {changed.height}).")


def parse_price(text: str) -> PriceView:
    """A price such as `0.0003 CAES/core-hour`. Raises `InvalidInput`."""
    from hypermesh.wire.amount import parse_caes
    from hypermesh.wire.api.asset import PriceView
    from hypermesh.wire.errors import InvalidInput

    amount, _, unit = text.partition("/")
    per = PRICED.get(unit.strip())
    if per is None:
        raise InvalidInput(
            f"{text[:60]!r} is not a price",
            why="it is an amount for one of " + ", ".join(PRICED),
            fix='Write it as "0.0003 CAES/core-hour"',
        )
    return PriceView(parse_caes(amount.strip().removesuffix("CAES").rstrip()), *per)


def price_words(price: PriceView, kind: str) -> str:
    """A price in the unit that people think in, rounded up to whole nCAES."""
    from hypermesh.wire.amount import format_caes

    named = {"cpu": "core-hour", "memory": "GiB-hour", "storage": "GiB-hour"}
    name = named.get(kind, "device-hour")
    units, held_ms = PRICED[name]
    cost = -(-price.amount * units * held_ms // (price.per_units * price.per_ms))
    return f"{format_caes(cost)} CAES/{name}"


def _duration(milliseconds: int) -> str:
    for size, unit in ((HOUR_MS, "h"), (60_000, "m"), (1000, "s")):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _found(here: Mesh, text: str) -> AssetView:
    return meant(here.assets.list(), text)


def meant(assets: Iterable[AssetView], text: str) -> AssetView:
    """The one of `assets` that `text` means: by its address, its id, or the beginning of that.
    Raises `NotFound`, or `InvalidInput` where it could be several."""
    from hypermesh.wire.errors import InvalidInput, NotFound

    if not text:
        raise InvalidInput("The id of an asset is empty", fix="See `hm asset ls`")
    found = [each for each in assets if text == each.address or each.asset.startswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(f"No asset begins with {text[:80]!r}", fix="See `hm asset ls`")
    raise InvalidInput(
        f"{len(found)} assets begin with {text[:80]!r}",
        why=", ".join(each.asset[:16] for each in found[:5]),
        fix="Give more digits",
    )


def _network(here: Mesh, text: str) -> str:
    return here.network.status().genesis if text == "this" else text


asset.add_command(asset_history)
