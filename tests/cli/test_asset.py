"""`hm asset`: ids and names as people give them, prices, and what a change would do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hypermesh.cli.asset import meant, parse_price, price_words
from hypermesh.wire.api.asset import PriceView
from hypermesh.wire.errors import InvalidInput, NotFound

from .shell import Machine

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("0.3 CAES/core-hour", PriceView(300_000_000, 1000, HOUR_MS)),
        ("0.0003/core-hour", PriceView(300_000, 1000, HOUR_MS)),
        ("1 CAES / GiB-hour", PriceView(10**9, 1 << 30, HOUR_MS)),
        ("0.000000001CAES/device-hour", PriceView(1, 1, HOUR_MS)),
    ],
)
def test_a_price_as_people_write_it(text: str, price: PriceView) -> None:
    assert parse_price(text) == price


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "3 CAES",
        "CAES/core-hour",
        "-1/core-hour",
        "1/core",
        "1e3/core-hour",
        "1/core-hour/x",
    ],
)
def test_what_is_no_price(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_price(text)


def test_a_price_is_said_in_the_unit_of_its_kind() -> None:
    price = PriceView(300_000, 1000, HOUR_MS)
    assert price_words(price, "cpu") == "0.0003 CAES/core-hour"
    assert parse_price(price_words(price, "cpu")) == price


def own(home: Machine, kind: str) -> str:
    listed = home.json("asset", "ls", "--kind", kind, "--mine")["items"]
    return str(listed[0]["asset"])


def test_an_asset_is_found_by_address_id_or_its_beginning(home: Machine) -> None:
    asset = own(home, "storage")
    [address] = [
        each["address"] for each in home.json("asset", "ls", "--mine")["items"]
        if each["asset"] == asset
    ]  # fmt: skip
    for said in (asset, asset[:16], address):
        assert home.json("asset", "show", said)["asset"] == asset
    assert "HM-0004" in home.fails("asset", "show", "ffffffffffff", exit_code=5)
    home.fails("asset", "show", "", exit_code=2)


def test_a_beginning_that_several_share_is_refused() -> None:
    assets: Any = [SimpleNamespace(asset=each, address=f"hm://{each}") for each in ("ab1", "ab2")]
    assert meant(assets, "ab2") is assets[1]
    assert meant(assets, "hm://ab1") is assets[0]
    with pytest.raises(InvalidInput, match="2 assets begin with 'ab'"):
        meant(assets, "ab")
    with pytest.raises(NotFound):
        meant(assets, "hm://ab")


def test_a_preview_is_shown_and_nothing_is_changed(home: Machine, lender: Machine) -> None:
    asset = own(home, "storage")
    before = home.json("asset", "show", asset)
    words = ("asset", "share", asset, "--node", "lender", "--percent", "50", "--preview")
    said = home.succeeds(*words).stdout.decode()
    assert "Nothing has been changed." in said
    assert "can see it: lender." in said
    rows = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert "yes (new)" in rows["lender"]
    assert "50 %" in rows["share"]
    document = home.json(*words)
    assert {each["name"] for each in document["requesters"]} == {"home", "lender"}
    assert home.json("asset", "show", asset) == before
    assert lender.json("status")["node"]


def test_the_share_of_the_first_start_is_changed_for_each_asset(home: Machine) -> None:
    said = home.fails("up", "--share", "20%", exit_code=6)
    assert "hm asset share" in said
    asset = own(home, "storage")
    assert home.json("asset", "share", asset, "--percent", "30")["share_basis_points"] == 3_000
    assert "shared" in home.succeeds("asset", "show", asset).stdout.decode()
    assert home.json("asset", "share", asset, "--percent", "100")["share_basis_points"] == 10_000


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        ((), 2),
        (("--percent", "0"), 2),
        (("--percent", "101"), 2),
        (("--level", "secret"), 2),
        (("--node", "nobody"), 5),
        (("--price", "3"), 2),
        (("--min-duration", "2h", "--max-duration", "1h"), 2),
        (("--region", "NORTH"), 2),
        (("--network", "zz"), 2),
        (("--min-bond", "much"), 2),
    ],
)
def test_terms_that_make_no_sense(home: Machine, words: tuple[str, ...], exit_code: int) -> None:
    home.fails("asset", "share", own(home, "storage"), *words, exit_code=exit_code)


def test_out_of_service_and_back(home: Machine) -> None:
    asset = own(home, "storage")
    assert b"It is suspended" in home.succeeds("asset", "state", asset, "suspended").stdout
    assert home.json("asset", "state", asset, "available")["asset"]["state"] == "available"
    assert "HM-TX-ASSET-0007" in home.fails("asset", "state", asset, "available", exit_code=6)


def test_what_cannot_be_sold(home: Machine, lender: Machine, memory: str) -> None:
    assert lender.json("status")["node"]
    assert "HM-TX-ASSET-0005" in home.fails("asset", "offer", memory, "--price", "1", exit_code=4)
    assert "HM-TX-TITLE-0004" in home.fails("asset", "accept", memory, "--price", "1", exit_code=5)
    asset = own(home, "storage")
    assert "HM-TX-TITLE-0002" in home.fails("asset", "transfer", asset, "--to", "home", exit_code=6)
    assert "HM-TX-TITLE-0001" in home.fails(
        "asset", "transfer", asset, "--to", "ab" * 32, exit_code=5
    )
