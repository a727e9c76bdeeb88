"""The engine's directory: what is written into it, and when a start is refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from hypermesh.crypto.digest import digest
from hypermesh.ledger.engines.comet import home as module
from hypermesh.ledger.engines.comet.errors import EngineInUse, EngineMissing, SigningStateLost
from hypermesh.ledger.engines.comet.home import (
    SOCKET_PATH_BYTES_MAX,
    Home,
    chain_id,
    configuration,
    genesis_document,
)
from hypermesh.ledger.errors import AnotherNetwork
from hypermesh.ledger.kernel import BLOCK_BYTES_MAX, TRANSACTION_BYTES_MAX
from hypermesh.wire.errors import InvalidInput

from .network import START_MS, Network

PACE_MS = 500
OTHER = digest("test", b"another network")


@pytest.fixture
def home(tmp_path: Path, network: Network) -> Home:
    """A directory as an earlier start has left it."""
    program = tmp_path / "engine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    home = Home(tmp_path / "comet", program)
    for name in ("config", "data"):
        (home.directory / name).mkdir(parents=True)
    document = genesis_document(network.genesis, network.genesis_id, [])
    (home.directory / "config" / "genesis.json").write_text(json.dumps(document))
    (home.directory / "config" / "priv_validator_key.json").write_text("{}")
    (home.directory / "data" / "priv_validator_state.json").write_text("{}")
    return home


def test_the_chain_id_binds_the_whole_genesis_id() -> None:
    ids = {chain_id(bytes(31) + bytes([last])) for last in range(256)}
    assert len(ids) == 256
    assert all(len(each) <= 50 and each.isascii() for each in ids)


def test_the_genesis_document_begins_with_ours(network: Network) -> None:
    document = genesis_document(network.genesis, network.genesis_id, [{"power": "10"}])
    assert document["genesis_time"] == "2027-01-15T08:00:00.000Z"
    assert START_MS == 1_800_000_000_000
    assert document["app_state"] == {"genesis_id": network.genesis_id.hex()}
    assert document["validators"] == [{"power": "10"}]
    assert document["consensus_params"]["abci"]["vote_extensions_enable_height"] == "0"
    assert int(document["consensus_params"]["block"]["max_bytes"]) > BLOCK_BYTES_MAX


def test_the_configuration_listens_nowhere_but_here(tmp_path: Path) -> None:
    awkward = tmp_path / 'quo"te\\d'
    written = configuration(awkward / "abci.sock", awkward / "rpc.sock", PACE_MS)
    settings = tomllib.loads(written)
    assert settings["proxy_app"] == f"unix://{awkward}/abci.sock"
    assert settings["rpc"]["laddr"] == f"unix://{awkward}/rpc.sock"
    assert settings["rpc"]["grpc_laddr"] == settings["rpc"]["pprof_laddr"] == ""
    assert settings["p2p"]["laddr"] == "tcp://[::1]:0"
    assert not settings["p2p"]["pex"]
    assert not settings["instrumentation"]["prometheus"]
    assert settings["consensus"]["timeout_commit"] == "500ms"
    assert settings["mempool"]["max_tx_bytes"] == TRANSACTION_BYTES_MAX
    assert settings["rpc"]["max_body_bytes"] > TRANSACTION_BYTES_MAX * 4 // 3 + 200


def test_a_start_writes_the_settings_and_keeps_the_rest(home: Home, network: Network) -> None:
    before = (home.directory / "config" / "genesis.json").read_bytes()
    home.abci_socket.write_text("left over")
    home.prepare(network.genesis, network.genesis_id, PACE_MS)
    assert tomllib.loads((home.directory / "config" / "config.toml").read_text())
    assert (home.directory / "config" / "genesis.json").read_bytes() == before
    assert not home.abci_socket.exists()


def test_a_missing_engine_is_answered_with_the_command_that_builds_it(
    tmp_path: Path, network: Network
) -> None:
    home = Home(tmp_path / "comet", tmp_path / "nothing here")
    with pytest.raises(EngineMissing, match="make cometbft"):
        home.prepare(network.genesis, network.genesis_id, PACE_MS)


def test_the_directory_of_another_network_is_refused(home: Home, network: Network) -> None:
    with pytest.raises(AnotherNetwork):
        home.prepare(network.genesis, OTHER, PACE_MS)


@pytest.mark.parametrize(
    "name", ["config/priv_validator_key.json", "data/priv_validator_state.json"]
)
def test_without_the_record_of_what_it_signed_it_does_not_start(
    home: Home, network: Network, name: str
) -> None:
    (home.directory / name).unlink()
    with pytest.raises(SigningStateLost, match=name.rsplit("/", 1)[1]):
        home.prepare(network.genesis, network.genesis_id, PACE_MS)


def test_one_at_a_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLAIM_S_MAX", 0.1)
    home.claim()
    other = Home(home.directory, home.binary)
    with pytest.raises(EngineInUse):
        other.claim()
    home.release()
    other.claim()
    other.release()
    other.release()


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * SOCKET_PATH_BYTES_MAX)
    with pytest.raises(InvalidInput, match="shorter path"):
        Home(directory, tmp_path / "engine")
