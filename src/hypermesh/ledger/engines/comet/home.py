"""CometBFT's own directory: what we write into it before a start, and what must never get lost.

    config/config.toml                our settings; written anew at each start
    config/genesis.json               the engine's genesis document, as ours leads to it
    config/priv_validator_key.json    the key that signs votes (Ed25519), made by the engine
    data/priv_validator_state.json    what that key signed last; without it, it may sign twice
    data/                             blocks, votes, the engine's write-ahead log

The directory is made whole under another name and renamed, so a crash leaves it there or not. The
lock beside it is held by us and by the engine process, for as long as either lives.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from hypermesh.ledger.engines.comet.errors import (
    EngineInUse,
    EngineMissing,
    EngineRefused,
    SigningStateLost,
)
from hypermesh.ledger.errors import AnotherNetwork
from hypermesh.ledger.kernel import TRANSACTION_BYTES_MAX
from hypermesh.wire.block import Genesis
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import GenesisId

VERSION: Final = "v0.39.3"
"""Of the engine; `make cometbft` builds it into .tools/cometbft-<version>."""
INIT_S_MAX: Final = 30
CLAIM_S_MAX: Final = 15.0
CLAIM_PAUSE_S: Final = 0.05
SOCKET_PATH_BYTES_MAX: Final = 107
"""What the kernel takes as the address of a UNIX socket (unix(7), sun_path)."""

BLOCK_MAX_BYTES: Final = 3 << 20
"""The engine's limit for a block, votes and header included; the kernel's own limit is below."""
EVIDENCE_MAX_BYTES: Final = 64 << 10
EVIDENCE_AGE_BLOCKS: Final = 100_000
EVIDENCE_AGE_S: Final = 48 * 3600
MEMPOOL_TRANSACTIONS: Final = 10_000
MEMPOOL_BYTES: Final = 32 << 20
RPC_BODY_BYTES: Final = 2 << 20
"""A transaction of the largest size in base64, in JSON."""
RPC_CONNECTIONS: Final = 64
FUTURE_TOLERANCE_S: Final = 60
"""The engine refuses a block whose time is further ahead of its own clock."""


def chain_id(genesis_id: GenesisId) -> str:
    """The engine's name for the network: the whole genesis id, so that every vote binds all of it
    (base64url, 46 characters; the engine takes 50)."""
    return "hm-" + base64.urlsafe_b64encode(genesis_id).decode("ascii").rstrip("=")


def app_state(genesis_id: GenesisId) -> dict[str, str]:
    """What the engine's genesis document says to our InitChain."""
    return {"genesis_id": genesis_id.hex()}


def genesis_document(
    genesis: Genesis, genesis_id: GenesisId, validators: list[dict[str, Any]]
) -> dict[str, Any]:
    """The engine's genesis document. Its time is that of our genesis, so the first block's is, too.

    `validators` are as the engine writes them: `pub_key`, `power`, `name`.
    """
    return {
        "genesis_time": _rfc3339(genesis.created_ms),
        "chain_id": chain_id(genesis_id),
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(BLOCK_MAX_BYTES), "max_gas": "-1"},
            "evidence": {
                "max_age_num_blocks": str(EVIDENCE_AGE_BLOCKS),
                "max_age_duration": str(EVIDENCE_AGE_S * 10**9),
                "max_bytes": str(EVIDENCE_MAX_BYTES),
            },
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "1"},
            "abci": {"vote_extensions_enable_height": "0"},
        },
        "validators": validators,
        "app_hash": "",
        "app_state": app_state(genesis_id),
    }


def configuration(abci_socket: Path, rpc_socket: Path, pace_ms: int) -> str:
    """config.toml: the settings that we need to differ from the engine's own, or to stay as they
    are. `pace_ms` is the time between a block and the next one."""
    return f"""\
proxy_app = {_toml(f"unix://{abci_socket}")}
abci = "socket"
moniker = "hypermesh"
db_backend = "goleveldb"
log_level = "error"
log_format = "plain"
filter_peers = false

[rpc]
laddr = {_toml(f"unix://{rpc_socket}")}
grpc_laddr = ""
pprof_laddr = ""
unsafe = false
max_open_connections = {RPC_CONNECTIONS}
max_body_bytes = {RPC_BODY_BYTES}

[p2p]
laddr = "tcp://[::1]:0"
pex = false
max_num_inbound_peers = 0
max_num_outbound_peers = 0

[mempool]
type = "flood"
recheck = true
broadcast = true
wal_dir = ""
size = {MEMPOOL_TRANSACTIONS}
max_txs_bytes = {MEMPOOL_BYTES}
cache_size = {MEMPOOL_TRANSACTIONS}
keep-invalid-txs-in-cache = false
max_tx_bytes = {TRANSACTION_BYTES_MAX}

[statesync]
enable = false

[consensus]
timeout_propose = "1s"
timeout_propose_delta = "500ms"
timeout_prevote = "500ms"
timeout_prevote_delta = "500ms"
timeout_precommit = "500ms"
timeout_precommit_delta = "500ms"
timeout_commit = "{pace_ms}ms"
skip_timeout_commit = false
create_empty_blocks = true
create_empty_blocks_interval = "0s"
block_time_tolerance = "{FUTURE_TOLERANCE_S}s"

[storage]
discard_abci_responses = true

[tx_index]
indexer = "null"

[instrumentation]
prometheus = false
"""


class Home:
    """The engine's directory. `claim` it, `prepare` it, run the engine in it, `release` it."""

    def __init__(self, directory: Path, binary: Path) -> None:
        """Raises `InvalidInput` where the sockets' paths would be too long."""
        self.directory = directory
        self.binary = binary
        self.abci_socket = directory / "abci.sock"
        self.rpc_socket = directory / "rpc.sock"
        self.log = directory / "engine.log"
        longest = len(os.fsencode(self.abci_socket))
        if longest > SOCKET_PATH_BYTES_MAX:
            raise InvalidInput(
                f"The path {self.abci_socket} is too long for a socket",
                why=f"it has {longest} bytes, {SOCKET_PATH_BYTES_MAX} are possible",
                fix="Choose a data directory with a shorter path",
            )
        self._claim: int | None = None

    @property
    def claim_descriptor(self) -> int:
        """To hand to the engine process, which then holds the claim for as long as it lives."""
        if self._claim is None:
            raise RuntimeError("the directory is not claimed")
        return self._claim

    def claim(self) -> None:
        """Hold the directory. Waits up to `CLAIM_S_MAX` seconds for the engine of an earlier run,
        which ends by itself once its application is gone. Raises `EngineInUse`."""
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        lock = self.directory.with_name(self.directory.name + ".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + CLAIM_S_MAX
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    raise EngineInUse(why=f"{lock} is held") from error
                time.sleep(CLAIM_PAUSE_S)
            else:
                self._claim = descriptor
                return

    def release(self) -> None:
        """Give the directory up."""
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def prepare(self, genesis: Genesis, genesis_id: GenesisId, pace_ms: int) -> None:
        """Make what is missing, and check what is there.

        Raises `EngineMissing`; `AnotherNetwork` for a directory of another network;
        `SigningStateLost`.
        """
        if not os.access(self.binary, os.X_OK):
            raise EngineMissing(why=f"there is no {self.binary}")
        if not self.directory.exists():
            self._make(genesis, genesis_id)
        document = json.loads(self._genesis.read_text(encoding="utf-8"))
        if document["chain_id"] != chain_id(genesis_id):
            raise AnotherNetwork(why=f"{self.directory} belongs to {document['chain_id']}")
        for path in (self._key, self._state):
            if not path.exists():
                raise SigningStateLost(why=f"{path} is gone")
        settings = configuration(self.abci_socket, self.rpc_socket, pace_ms)
        (self.directory / "config" / "config.toml").write_text(settings, encoding="utf-8")
        for socket in (self.abci_socket, self.rpc_socket):
            socket.unlink(missing_ok=True)

    @property
    def _genesis(self) -> Path:
        return self.directory / "config" / "genesis.json"

    @property
    def _key(self) -> Path:
        return self.directory / "config" / "priv_validator_key.json"

    @property
    def _state(self) -> Path:
        return self.directory / "data" / "priv_validator_state.json"

    def _make(self, genesis: Genesis, genesis_id: GenesisId) -> None:
        making = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        done = subprocess.run(
            [str(self.binary), "init", "--home", str(making)],
            capture_output=True,
            timeout=INIT_S_MAX,
            umask=0o077,
            check=False,
        )
        if done.returncode != 0:
            raise EngineRefused(
                "The engine could not make its directory",
                why=done.stderr.decode(errors="replace")[-2000:].strip(),
            )
        path = making / "config" / "genesis.json"
        # The engine has written its key into a genesis document of its own; only that is kept.
        validators = json.loads(path.read_text(encoding="utf-8"))["validators"]
        document = genesis_document(genesis, genesis_id, validators)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        for directory, _, names in os.walk(making, topdown=False):
            for name in names:
                _sync(Path(directory) / name)
            _sync(Path(directory))
        making.rename(self.directory)
        _sync(self.directory.parent)


def _rfc3339(time_ms: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _toml(text: str) -> str:
    """A TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(text)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
