"""Something between a client and a PostgreSQL server that breaks connections at an instant."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from pathlib import Path

SOCKET = ".s.PGSQL.5432"
PIECE = 1 << 16


class Proxy:
    """Listens in `directory` and passes everything on to the server whose socket is in `server`."""

    def __init__(self, server: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hm-pgx-"))
        self._server = server
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._cut_at = ""
        self._left = 0
        self._is_away = self._away_then = False
        self._kept: list[tuple[socket.socket, socket.socket]] = []
        self.refused = threading.Semaphore(0)
        """Released for each connection that was refused while away."""
        self.was_cut = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.directory / SOCKET))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self, instant: str, *, after: int = 0, away: bool = False) -> None:
        """Break the connection at the next commit, or the one `after` that many: "before" the
        server has it, or "after" it did it and before its answer is passed on. `away`: let nobody
        in from then on."""
        assert instant in ("before", "after")
        with self._lock:
            self._cut_at, self._left, self._away_then = instant, after, away
            self.was_cut.clear()

    def let_in(self) -> None:
        self._is_away = False

    def leave(self) -> None:
        """Break all connections and let nobody in."""
        self._is_away = True
        self._break()

    def forget(self) -> None:
        """Break connections to the clients alone: the server does not see it."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            self._kept += pairs
        for client, _ in pairs:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._is_away = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)
        self._break()
        for pair in self._kept:
            self._end(pair)
        (self.directory / SOCKET).unlink()
        self.directory.rmdir()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_away:
                client.close()
                self.refused.release()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server / SOCKET))
            pair = (client, server)
            with self._lock:
                self._pairs.append(pair)
            answered = threading.Event()
            for work in (self._ask, self._answer):
                threading.Thread(target=work, args=(pair, answered), daemon=True).start()

    def _ask(self, pair: tuple[socket.socket, socket.socket], doing: threading.Event) -> None:
        client, server = pair
        with contextlib.suppress(OSError):
            while data := client.recv(PIECE):
                instant = self._reached(data)
                if instant == "before":
                    break
                if instant == "after":
                    doing.set()
                server.sendall(data)
        if pair in self._pairs:
            self._end(pair)

    def _answer(self, pair: tuple[socket.socket, socket.socket], doing: threading.Event) -> None:
        client, server = pair
        with contextlib.suppress(OSError):
            while data := server.recv(PIECE):
                if doing.is_set():
                    break
                client.sendall(data)
        if pair in self._pairs:
            self._end(pair)

    def _reached(self, data: bytes) -> str:
        with self._lock:
            if not self._cut_at or b"COMMIT\0" not in data:
                return ""
            if self._left:
                self._left -= 1
                return ""
            instant, self._cut_at = self._cut_at, ""
            self._is_away = self._is_away or self._away_then
            self.was_cut.set()
            return instant

    def _break(self) -> None:
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            if pair in self._pairs:
                self._pairs.remove(pair)
        for each in pair:
            # Wakes the thread that waits for it, which a close would not.
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
