"""A process that issues one certificate and is killed at a named instant; see `test_issuing`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypermesh.crypto.keystore import KeyStore
from hypermesh.postgresql.place import Place
from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.ceremony import read_pem
from hypermesh.trustchain.ca.issuing import Order, open_issuing
from hypermesh.trustchain.ca.profile import Kind
from hypermesh.trustchain.ca.signer import stored_signer

from .companies import EVERYTHING, NOW, store_in
from .memory_log import MemoryLog


def kill(*_: object) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """What `inner` is, but for the method `name`."""

    def __init__(self, inner: object, name: str, instead: Callable[..., Any]) -> None:
        self._inner = inner
        setattr(self, name, instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def main(directory: Path, instant: str, url: str | None = None) -> None:
    online = directory / "online"
    root = read_pem((directory / "offline" / "root.pem").read_bytes())[0]
    signer, _ = stored_signer(KeyStore(online / "keys"), "issuing", KeyKind.P256, is_hybrid=False)
    log: Any = MemoryLog(NOW * 1000, directory / "log.json")
    record = log.record
    if instant == "before log":
        log = Dying(log, "record", kill)
    elif instant == "after log":
        log = Dying(log, "record", lambda each: kill(record(each)))
    kept = store_in(online, None if url is None else Place(url))
    authority = open_issuing(online, root, signer, None, log, EVERYTHING, store=kept)
    store: Any = authority.store
    if instant == "before store":
        authority._store = Dying(store, "complete", kill)
    elif instant == "after store":
        authority._store = Dying(store, "complete", lambda *each: kill(store.complete(*each)))
    request = (directory / "request.der").read_bytes()
    authority.issue(Order(request, Kind.SERVICE, "tester"), NOW)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
