"""Commands that look and steer: help, start and stop, listings, and how they fail."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hypermesh.cli.main import LISTED

from .shell import HM, Machine

COMMANDS = tuple(each.name for section in LISTED.values() for each in section)


def test_hm_alone_fits_a_small_screen(nowhere: Machine) -> None:
    done = nowhere.succeeds()
    lines = done.stdout.decode().splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 100
    listed = [line for line in lines if line.lstrip().startswith(tuple(LISTED))]
    named = [name for line in listed for name in re.split(r"\s{2,}", line.strip())[1:]]
    assert named == list(COMMANDS)
    assert not nowhere.data.exists()


def test_near_misses_are_named(nowhere: Machine) -> None:
    assert "Did you mean 'status'?" in nowhere.fails("stats", exit_code=2)


HEAVY = ("litestar", "uvicorn", "httpx", "numpy", "cryptography", "rich", "wasmtime", "asyncio")


@pytest.mark.parametrize("words", [["status"], ["lease", "ls"], ["wallet", "show"]])
def test_a_command_that_asks_the_node_loads_nothing_heavy(
    nowhere: Machine, words: list[str]
) -> None:
    program = (
        "import sys\n"
        "from hypermesh.cli.main import main\n"
        "try:\n"
        f"    main({words})\n"
        "finally:\n"
        f"    print(*(name for name in {HEAVY} if name in sys.modules))"
    )
    done = nowhere.run(sys.executable, "-c", program)
    assert (done.returncode, done.stdout.strip()) == (7, b"")


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_the_overview_imports_no_command(words: list[str]) -> None:
    program = (
        "import sys\n"
        "from hypermesh.cli.main import main\n"
        f"main({words}, standalone_mode=False)\n"
        "print('LOADED', *sorted(m for m in sys.modules if m.startswith(('hypermesh.', 'msgspec', "
        "'rich', 'litestar', 'numpy', 'cryptography', 'http'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = done.stdout.partition("LOADED")[2].split()
    assert loaded == ["hypermesh.cli", "hypermesh.cli.command", "hypermesh.cli.main"]


def test_the_version(nowhere: Machine) -> None:
    assert re.match(rb"hm, version \d+\.\d+\.\d+", nowhere.succeeds("--version").stdout)


@pytest.mark.parametrize(
    "words",
    [
        ("frob",),
        ("asset", "frob"),
        ("join",),
        ("status", "--frob"),
        ("status", "--output", "yaml"),
        ("asset", "ls", "--kind", "frob"),
        ("up", "--level", "frob"),
        ("memory", "put"),
        ("lease", "release"),
        ("memory", "put", "x", "--minutes", "0"),
        ("job", "run", "there-is-none.py"),
    ],
)
def test_wrong_use_ends_with_2(nowhere: Machine, words: tuple[str, ...]) -> None:
    assert "Usage: hm" in nowhere.fails(*words, exit_code=2)


def test_wrong_use_is_a_problem_object_too(nowhere: Machine) -> None:
    details = nowhere.problem("asset", "ls", "--kind", "frob", exit_code=2)
    assert "frob" in details["detail"]
    assert "hm asset ls --help" in details["fix"]


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("asset", "ls"),
        ("invite",),
        ("lease", "ls"),
        ("lease", "release", "ab"),
        ("wallet", "show"),
        ("memory", "get", f"hm://fd00000000000000.{'0' * 16}.{'0' * 32}:2", "file"),
    ],
)
def test_without_a_node_every_command_says_how_to_start_one(
    nowhere: Machine, words: tuple[str, ...]
) -> None:
    said = nowhere.fails(*words, exit_code=7)
    assert said.startswith("Error: No node is running here  [HM-SDK-0001]\n  why: ")
    assert "  fix: Start one with `hm up`" in said
    details = nowhere.problem(*words, exit_code=7)
    lines = nowhere.hm(*words, "--output", "jsonl").stderr.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["code"] == details["code"]
    assert (details["code"], details["status"]) == ("HM-SDK-0001", 503)


def test_down_without_a_node(nowhere: Machine) -> None:
    assert nowhere.succeeds("down").stdout == b"No node was running.\n"
    assert nowhere.json("down") == {"stopped": False}


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (("up", "--name", "a b"), 2, "HM-0002"),
        (("up", "--share", "500%"), 2, "HM-0002"),
        (("up", "--share", "half"), 2, "HM-0002"),
        (("join", "nonsense"), 2, "HM-TRUST-0010"),
        (("join", ""), 2, "HM-TRUST-0010"),
        (("join", "hm1-abc"), 2, "HM-TRUST-0010"),
        (("up", "--data", "/proc/hm"), 3, "HM-NODE-0001"),
        (("up", "--data", "x" * 120), 3, "HM-NODE-0001"),
    ],
)
def test_a_node_that_cannot_start_leaves_nothing(
    nowhere: Machine, words: tuple[str, ...], exit_code: int, code: str
) -> None:
    assert f"[{code}]" in nowhere.fails(*words, exit_code=exit_code)
    assert nowhere.problem(*words, exit_code=exit_code)["code"] == code
    assert not nowhere.data.exists()


def test_an_interrupted_command_ends_as_shells_expect(nowhere: Machine) -> None:
    program = (
        "import hypermesh.cli.node as node\n"
        "def interrupt(data): raise KeyboardInterrupt\n"
        "node.mesh = interrupt\n"
        "from hypermesh.cli.main import main\n"
        "main(['status'])"
    )
    done = nowhere.run(sys.executable, "-c", program)
    assert (done.returncode, done.stdout) == (130, b"")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_only_where_asked(nowhere: Machine, debug: bool) -> None:
    program = (
        "import hypermesh.cli.node as node\n"
        "def fail(data): raise RuntimeError('unforeseen')\n"
        "node.mesh = fail\n"
        "from hypermesh.cli.main import main\n"
        f"main({['--debug'] * debug + ['status']})"
    )
    done = nowhere.run(sys.executable, "-c", program)
    assert done.returncode == 1
    assert b"unforeseen" in done.stderr
    assert (b"Traceback" in done.stderr) == debug


def _without_ages(text: str) -> str:
    return re.sub(r"\d+ (s|min) ago", "ago", text)


def test_status(home: Machine) -> None:
    status = home.json("status")
    assert (status["name"], status["role"]) == ("home", "sequencer")
    said = home.succeeds("status").stdout.decode()
    first, second = said.splitlines()[:2]
    # How long ago the last block was is another second by now.
    assert _without_ages(first) == _without_ages(f"health   {status['health']['summary']}")
    assert re.fullmatch(rf"node +home \({status['node'][:16]}\), sequencer, pid \d+", second)
    assert [line.split()[0] for line in said.splitlines()] == [
        "health", "node", "network", "genesis", "ledger", "stoq", "api", "tls", "dns", "keys",
        "assets", "leases",
    ]  # fmt: skip
    lines = home.succeeds("status", "--output", "jsonl").stdout.splitlines()
    assert [json.loads(line)["genesis"] for line in lines] == [status["genesis"]]


@pytest.mark.parametrize("plain", ["", "--no-color", "NO_COLOR"])
def test_colors_only_on_a_terminal_that_wants_them(nowhere: Machine, plain: str) -> None:
    ours, theirs = pty.openpty()
    words = [HM, *(["--no-color"] if plain.startswith("-") else []), "doctor"]
    colors = {"NO_COLOR": "1"} if plain == "NO_COLOR" else {}
    subprocess.run(
        words, stdout=theirs, env={**nowhere.environment, **colors}, cwd=nowhere.directory
    )
    os.close(theirs)
    said = os.read(ours, 65536)
    os.close(ours)
    assert (b"\x1b[" in said) == (plain == "")
    assert b"\x1b[" not in nowhere.succeeds("doctor").stdout


def test_ids_alone_for_scripts(home: Machine) -> None:
    ids = home.succeeds("asset", "ls", "--quiet").stdout.decode().split()
    assert sorted(ids) == sorted(each["asset"] for each in home.json("asset", "ls")["items"])
    assert home.succeeds("lease", "ls", "-q").stdout == b""


def test_up_where_it_is_up_changes_nothing(home: Machine) -> None:
    pid = home.json("status")["pid"]
    assert home.json("up")["pid"] == pid
    assert b"running already" in home.succeeds("up").stderr
    assert home.json("up", "--name", "home", "--share", "10%")["pid"] == pid
    assert "hm down" in home.fails("up", "--name", "other", exit_code=6)
    assert "declared its share" in home.fails("up", "--share", "20%", exit_code=6)
    token = home.succeeds("invite").stdout.decode().strip()
    assert "HM-NODE-0002" in home.fails("join", token, exit_code=6)
    assert home.json("status")["pid"] == pid


def test_listings_are_aligned_and_complete(home: Machine, lender: Machine) -> None:
    items = home.json("asset", "ls")["items"]
    lines = home.succeeds("asset", "ls").stdout.decode().splitlines()
    assert len(lines) == len(items) + 1
    header = lines[0]
    assert header.split() == [
        "ASSET", "KIND", "HOST", "FREE", "OF", "ENFORCED", "LEVEL", "STATE", "ADDRESS"
    ]  # fmt: skip
    for column in ("KIND", "HOST", "FREE", "OF", "ENFORCED", "LEVEL", "STATE", "ADDRESS"):
        start = header.index(column)
        for line in lines[1:]:
            assert line[start - 1] == " ", (column, line)
            assert line[start] != " ", (column, line)
    assert {line.split()[-1] for line in lines[1:]} == {each["address"] for each in items}
    assert all(line == line.rstrip() for line in lines)
    hosts = [line.split()[2] for line in lines[1:]]
    assert hosts == sorted(hosts, key=lambda host: host != "home")


def test_a_kind_that_nobody_has(home: Machine) -> None:
    assert home.json("asset", "ls", "--kind", "token") == {"items": []}
    assert home.succeeds("asset", "ls", "--kind", "token").stdout == b"No assets are visible.\n"


def test_invite_prints_a_token_and_nothing_else_to_stdout(home: Machine) -> None:
    done = home.succeeds("invite")
    assert re.fullmatch(rb"hm1-[a-z0-9]+\n", done.stdout)
    assert b"hm join TOKEN" in done.stderr
    assert home.json("invite", "--mine")["token"].startswith("hm1-")


def test_only_the_founder_invites(lender: Machine) -> None:
    details = lender.problem("invite", exit_code=1)
    assert (details["status"], details["code"]) == (501, "HM-0003")


def test_wallet(home: Machine) -> None:
    account = home.json("wallet", "show")
    said = home.succeeds("wallet", "show").stdout.decode()
    assert account["owner"] in said
    assert "test units" in said
    assert account["bonded"] == 10**9
    assert "bonded     1 CAES" in said


def test_leases_that_are_not_there(home: Machine) -> None:
    assert "No leases begin with 'ffff'" in home.fails("lease", "release", "ffff", exit_code=5)
    assert "empty" in home.fails("lease", "release", "", exit_code=2)


def test_a_second_start_reports_its_own_failure(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "damaged")
    machine.succeeds("up")
    machine.succeeds("down")
    (machine.data / "genesis").write_bytes(b"not a genesis")
    (machine.data / "node.log").write_text("Error: an older failure\n")
    done = machine.hm("up")
    assert 1 <= done.returncode <= 9
    assert b"HM-NODE-0003" in done.stderr
    assert b"older failure" not in done.stderr
