"""`hm memory`: what goes in comes out, through files and pipes."""

from __future__ import annotations

import hashlib

import pytest

from .shell import HM, Machine

SIZES = (1, 2, 7, 8, 4095, 4096, 4097, 128 * 1024 + 1, 8 << 20)


def content(size: int) -> bytes:
    return hashlib.shake_256(b"%d" % size).digest(size)


@pytest.mark.parametrize("size", SIZES)
def test_round_trip_through_files(home: Machine, memory: str, size: int) -> None:
    data = content(size)
    (home.directory / "in").write_bytes(data)
    lease = home.json("memory", "put", memory, "in")
    assert (lease["amount"], lease["state"], lease["address"]) == (size, "active", memory)
    got = home.json("memory", "get", memory, "out")
    assert got == {"address": memory, "lease": lease["lease"], "offset": 0, "bytes": size}
    assert (home.directory / "out").read_bytes() == data


@pytest.mark.parametrize("size", [1, 70_000, 8 << 20])
def test_round_trip_through_pipes(home: Machine, memory: str, size: int) -> None:
    data = content(size)
    assert memory in home.succeeds("memory", "put", memory, stdin=data).stdout.decode()
    done = home.succeeds("memory", "get", memory)
    assert done.stdout == data
    assert done.stderr == b""
    assert home.succeeds("memory", "get", memory, "-").stdout == data


def test_a_part(home: Machine, memory: str) -> None:
    data = content(10_000)
    home.succeeds("memory", "put", memory, stdin=data)
    got = home.succeeds("memory", "get", memory, "--offset", "17", "--length", "5000").stdout
    assert got == data[17:5017]
    assert home.succeeds("memory", "get", memory, "--offset", "9999").stdout == data[9999:]
    for words in (
        ("--offset", "10000"),
        ("--length", "10001"),
        ("--offset", "9999", "--length", "2"),
    ):
        assert "there are 10000" in home.fails("memory", "get", memory, *words, exit_code=2)


def test_putting_replaces_what_was_there(home: Machine, memory: str) -> None:
    first = home.json("memory", "put", memory, stdin=b"first")["lease"]
    assert home.json("memory", "put", memory, stdin=b"again")["lease"] == first
    assert home.succeeds("memory", "get", memory).stdout == b"again"
    second = home.json("memory", "put", memory, stdin=b"something longer")["lease"]
    assert second != first
    assert home.succeeds("memory", "get", memory).stdout == b"something longer"
    running = home.json("lease", "ls")["items"]
    assert [each["lease"] for each in running] == [second]


def test_a_lease_is_listed_released_and_paid(home: Machine, memory: str) -> None:
    lease = home.json("memory", "put", memory, stdin=b"to be paid")["lease"]
    held = home.json("wallet", "show")
    assert held["in_escrow"] > 0
    line = home.succeeds("lease", "ls").stdout.decode().splitlines()[1]
    assert line.startswith(lease[:16])
    assert "10 B" in line
    settled = home.json("lease", "release", lease[:12])
    assert (settled["lease"], settled["state"]) == (lease, "settled")
    after = home.json("wallet", "show")
    assert after["in_escrow"] == 0
    assert after["balance"] == held["balance"] + settled["refund"]
    assert home.json("lease", "ls") == {"items": []}
    assert lease in [each["lease"] for each in home.json("lease", "ls", "--all")["items"]]
    assert b"Was over already" in home.succeeds("lease", "release", lease).stdout
    assert "Nothing of yours" in home.fails("memory", "get", memory, exit_code=5)


def test_places_that_are_no_memory(home: Machine, lender: Machine, memory: str) -> None:
    cpu = next(
        each["address"] for each in home.json("asset", "ls")["items"] if each["kind"] == "cpu"
    )
    before = home.json("lease", "ls", "--all")
    for address, exit_code in (
        ("nonsense", 2),
        ("", 2),
        (memory.replace("hm://fd", "hm://fe"), 2),
        (f"{memory}9", 5),
        (memory[:-1] + "7", 5),
        (f"hm://fd00{memory[9:]}", 5),
        (cpu, 2),
        (f"{memory[:39]}{'0' * 32}:2", 5),
    ):
        assert home.fails("memory", "put", address, stdin=b"x", exit_code=exit_code)
    assert home.json("lease", "ls", "--all") == before


def test_input_and_output_that_cannot_be(home: Machine, memory: str) -> None:
    assert "nothing to put" in home.fails("memory", "put", memory, exit_code=2)
    home.fails("memory", "put", memory, "there-is-none", exit_code=2)
    home.succeeds("memory", "put", memory, stdin=b"x")
    assert "cannot both" in home.problem("memory", "get", memory, exit_code=2)["detail"]
    details = home.problem("memory", "get", memory, "/there/is/none", exit_code=2)
    assert "/there/is/none" in details["detail"]


def test_a_pipe_that_closes_early_is_no_failure(home: Machine, memory: str) -> None:
    home.succeeds("memory", "put", memory, stdin=content(1 << 20))
    done = home.run("bash", "-c", f"{HM} memory get {memory} | head -c 3 | wc -c")
    assert done.stdout.strip() == b"3"
    assert b"Traceback" not in done.stderr


def test_own_memory_is_a_place_too(home: Machine) -> None:
    own = next(
        each["address"]
        for each in home.json("asset", "ls", "--kind", "memory")["items"]
        if each["mine"]
    )
    home.succeeds("memory", "put", own, stdin=b"at home")
    assert home.succeeds("memory", "get", own).stdout == b"at home"
    home.succeeds("lease", "release", home.json("lease", "ls")["items"][0]["lease"])
