"""CometBFT's own interface (JSON-RPC 2.0 over HTTP on a UNIX socket), as far as we call it."""

from __future__ import annotations

import base64
import socket
from pathlib import Path
from typing import Any, Final

import httpx

from hypermesh.ledger.engines.comet.errors import EngineRefused
from hypermesh.ledger.errors import LedgerUnavailable, QueueFull
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import HyperMeshError, Problem, error_from

CALL_S_MAX: Final = 15.0
_IN_CACHE: Final = "tx already exists in cache"
_FULL: Final = "mempool is full"


class Rpc:
    """Calls of one engine. Any thread may call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        transport = httpx.HTTPTransport(uds=str(path))
        self._client = httpx.Client(
            transport=transport, base_url="http://localhost", timeout=CALL_S_MAX
        )

    def close(self) -> None:
        self._client.close()

    def listening(self) -> bool:
        """Whether anybody listens; asked first, for httpx leaves a socket open that it could not
        connect."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._path))
            except OSError:
                return False
        return True

    def broadcast(self, entry: bytes) -> HyperMeshError | None:
        """Hand `entry` to the engine and wait until our own CheckTx has seen it.

        None where it waits for a block now, or did before; otherwise the refusal. Raises
        `QueueFull`, `LedgerUnavailable` where the engine does not answer, and `EngineRefused`.
        """
        params = {"tx": base64.b64encode(entry).decode("ascii")}
        try:
            result = self.call("broadcast_tx_sync", params)
        except EngineRefused as error:
            if _IN_CACHE in error.why:
                return None
            if _FULL in error.why:
                raise QueueFull(why=error.why) from error
            raise
        return None if result["code"] == 0 else _refusal(result)

    def height(self) -> int:
        """The height of the engine's last block."""
        return int(self.call("status", {})["sync_info"]["latest_block_height"])

    def takes_transactions(self) -> bool:
        """Whether the engine has caught up with the other validators."""
        return not self.call("status", {})["sync_info"]["catching_up"]

    def block(self, height: int) -> dict[str, Any]:
        """The engine's block at `height`, in its own JSON form."""
        block: dict[str, Any] = self.call("block", {"height": str(height)})["block"]
        return block

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """The result of one call. Raises `LedgerUnavailable` or `EngineRefused`."""
        if not self._path.exists():
            raise LedgerUnavailable("The BFT engine does not run", why=f"there is no {self._path}")
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            answer = self._client.post("/", json=request).json()
        except httpx.TransportError as error:
            raise LedgerUnavailable(
                "The BFT engine does not answer", why=f"{type(error).__name__}: {error}"
            ) from error
        except ValueError as error:
            raise EngineRefused(why=f"{method}: the answer is not JSON") from error
        if "error" in answer:
            details = answer["error"]
            raise EngineRefused(why=f"{method}: {details.get('data') or details.get('message')}")
        return answer["result"]


def _refusal(result: dict[str, Any]) -> HyperMeshError:
    """The refusal that our own CheckTx gave to the engine, as it was."""
    try:
        return error_from(decode(Problem, bytes.fromhex(result["data"])))
    except (HyperMeshError, ValueError, KeyError, TypeError):
        return EngineRefused(why=str(result.get("log", "")))
