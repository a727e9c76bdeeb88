"""`hm` as a user types it, against two real nodes: home, and a lender that anybody may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .shell import Machine


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("cli"), "home")
    try:
        machine.succeeds("up", "--name", "home", "--share", "10%")
        yield machine
    finally:
        machine.hm("down")


@pytest.fixture(scope="session")
def lender(home: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("cli"), "lender")
    token = home.succeeds("invite").stdout.decode().strip()
    try:
        machine.succeeds(
            "join", token, "--name", "lender", "--share", "20%", "--level", "full_public"
        )
        yield machine
    finally:
        machine.hm("down")


@pytest.fixture(scope="session")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine without a node."""
    return Machine(tmp_path_factory.mktemp("cli"), "nowhere")


@pytest.fixture(scope="session")
def memory(home: Machine, lender: Machine) -> str:
    """The address of the lender's memory."""
    listed = home.json("asset", "ls", "--kind", "memory")["items"]
    return next(str(each["address"]) for each in listed if each["host_name"] == "lender")
