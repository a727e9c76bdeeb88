"""A PostgreSQL server of one's own for the tests of one worker, on a UNIX socket; it listens to no
network."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from hypermesh.postgresql.place import Place

WAIT_S = 120.0
PLACES = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/bin"))
ROLE = "hm"
SECRET_ROLE = "secret"
SECRET = "a password of the tests"
_RULES = f"""
local all {SECRET_ROLE} scram-sha-256
local all {ROLE} trust
local all all peer
"""
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "logging_collector": "off",
    "log_min_messages": "warning",
}


def missing() -> str:
    """Why no server can run here; empty where one can."""
    if _program("initdb") is None or _program("postgres") is None:
        return "no PostgreSQL server is installed (make clients)"
    if os.geteuid() == 0 and (_user() is None or shutil.which("setpriv") is None):
        return "PostgreSQL does not run as root, and there is no other user to run it"
    return ""


def _program(name: str) -> str | None:
    found = (folder / name for folder in PLACES)
    return next((str(path) for path in found if path.exists()), None) or shutil.which(name)


def _user() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


class Server:
    """A server, started; `stop` removes all of it. `settings` go before those of the tests."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        # Not below pytest's directories, which no other user may enter.
        self.directory = Path(tempfile.mkdtemp(prefix="hm-pg-"))
        self._prefix: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        self._empty: list[Place] = []
        if os.geteuid() == 0:
            user = _user()
            assert user is not None
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self._prefix = [
                "setpriv",
                f"--reuid={user.pw_uid}",
                f"--regid={user.pw_gid}",
                "--clear-groups",
            ]
        # The tests' own user has to find the socket.
        self.directory.chmod(0o755)
        self._do("initdb", "-D", self._data, "-U", ROLE, "-E", "UTF8", "--locale=C", "--no-sync")
        (self._data / "pg_hba.conf").write_text(_RULES)
        with (self._data / "postgresql.conf").open("a") as file:
            place = {"unix_socket_directories": str(self.directory)}
            for name, value in {**_SETTINGS, **(settings or {}), **place}.items():
                file.write(f"{name} = '{value}'\n")
        self.start()
        self.run(f"CREATE ROLE {SECRET_ROLE} LOGIN PASSWORD '{SECRET}'")

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def start(self) -> None:
        """Start it, and return when it answers."""
        end = time.monotonic() + WAIT_S
        while True:
            log = (self.directory / "log").open("ab")
            with log:
                self._process = subprocess.Popen(
                    self._command("postgres", "-D", self._data), stdout=log, stderr=log
                )
            while self._process.poll() is None:
                with contextlib.suppress(psycopg.OperationalError), self.connect():
                    return
                assert time.monotonic() < end, self.said()
                time.sleep(0.05)
            # Processes of one that was killed may still hold its shared memory.
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL to the server and all its processes at once."""
        assert self._process is not None
        children = self.children()
        # Stopped first, so that none sees another end and does something about it.
        for pid in (self._process.pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        for pid in (self._process.pid, *children, *self.children()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(WAIT_S)

    def children(self) -> list[int]:
        """The processes of this server, but for the first."""
        assert self._process is not None
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[1]) == self._process.pid:
                    found.append(int(stat.parent.name))
        return found

    def end(self) -> None:
        """End it as an operator would; connections are cut."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(WAIT_S)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of an operator's, to look into it."""
        return psycopg.connect(
            host=str(self.directory), dbname=database, user=ROLE, autocommit=True
        )

    def run(self, statement: str, database: str = "postgres") -> None:
        with self.connect(database) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def set(self, setting: str, value: str) -> None:
        """Change a setting of the whole server, and return when new connections see it."""
        self.run(f"ALTER SYSTEM SET {setting} = {value}")
        self.run("SELECT pg_reload_conf()")
        end = time.monotonic() + WAIT_S
        while True:
            with self.connect() as connection:
                if connection.execute(f"SHOW {setting}").fetchone() == (value,):  # type: ignore[call-overload]
                    return
            assert time.monotonic() < end
            time.sleep(0.02)

    def database(self, owner: str = ROLE) -> str:
        """A new, empty database; its name."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} OWNER {owner}")
        return name

    def url(self, database: str, role: str = ROLE, socket: Path | None = None) -> str:
        return f"postgresql://{role}@/{database}?host={socket or self.directory}"

    def place(self) -> Place:
        """An empty database; who is done with it may give it back."""
        if self._empty:
            return self._empty.pop()
        return Place(self.url(self.database()))

    def give_back(self, place: Place) -> None:
        """Empty the database `place` for others: one more has 300 files more."""
        name = urlsplit(place.url).path.strip("/")
        with self.connect(name) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            schemas = connection.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'trustchain%'"
            ).fetchall()
            for (schema,) in schemas:
                connection.execute(f"DROP SCHEMA {schema} CASCADE")  # type: ignore[call-overload]
        self._empty.append(place)

    def said(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-4000:]

    def _command(self, program: str, *words: object) -> list[str]:
        found = _program(program)
        assert found is not None
        return [*self._prefix, found, *map(str, words)]

    def _do(self, program: str, *words: object) -> None:
        done = subprocess.run(
            self._command(program, *words),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def cut(pids: Sequence[int]) -> None:
    """SIGKILL to processes of a server, as a crash of them."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
