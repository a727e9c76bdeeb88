"""Which database, as a URL of libpq's (https://www.postgresql.org/docs/15/libpq-connect.html,
section 34.1.1.2) that anybody may read: the password comes from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from hypermesh.postgresql.errors import DatabaseNameInvalid, DatabaseUnfit

SCHEMES: Final = ("postgresql", "postgres")
URL_LENGTH_MAX: Final = 2048
PASSWORD_BYTES_MAX: Final = 1024
PARAMETERS: Final = frozenset(
    {"host", "port", "user", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"}
)
"""What a URL may say. `options` and `passfile` are not among it: the first could take back what the
stores rely on."""
_NEAR: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Place:
    """`url` has no password in it; `password` is the file that has, where there is one."""

    url: str
    password: Path | None = None

    def secret(self) -> str | None:
        """The first line of the password's file; None where there is none, and then libpq looks
        into `PGPASSWORD` and its own password file, or the server asks for none (peer). Raises
        `DatabaseUnfit`."""
        if self.password is None:
            return None
        try:
            if self.password.stat().st_mode & 0o007:
                raise DatabaseUnfit(
                    f"Everybody may read the database's password in {self.password}",
                    fix=f"chmod 600 {self.password}",
                )
            with self.password.open("rb") as opened:
                read = opened.read(PASSWORD_BYTES_MAX + 1)
            text = read.decode().splitlines()[0] if read else ""
        except (OSError, UnicodeDecodeError) as error:
            raise DatabaseUnfit(
                f"The database's password in {self.password} cannot be read", why=str(error)
            ) from error
        if not text or len(read) > PASSWORD_BYTES_MAX or "\0" in text:
            raise DatabaseUnfit(f"{self.password} holds no password")
        return text

    def parameters(self) -> dict[str, str]:
        """Parameters of the connection beyond the URL. To a host that is reached over a network
        the server's certificate is checked, unless the URL says otherwise."""
        said = dict(parse_qsl(urlsplit(self.url).query))
        hosts = {urlsplit(self.url).hostname or "", *said.get("host", "").split(",")}
        is_near = all(each in _NEAR or each.startswith("/") for each in hosts)
        return {} if is_near or "sslmode" in said else {"sslmode": "verify-full"}


def parse_place(url: str, password: Path | None = None) -> Place:
    """Raises `DatabaseNameInvalid`, whose words never hold the URL: it may carry a password."""
    if len(url) > URL_LENGTH_MAX:
        raise DatabaseNameInvalid(f"A database's URL has at most {URL_LENGTH_MAX} characters")
    try:
        parts = urlsplit(url)
        port = parts.port
        said = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise DatabaseNameInvalid(why="it is no URL") from error
    del port
    if parts.scheme not in SCHEMES:
        raise DatabaseNameInvalid(why="it does not begin with postgresql://")
    if parts.password is not None or any(name == "password" for name, _ in said):
        raise DatabaseNameInvalid(
            "A database's URL holds no password here",
            why="settings are shown, copied and backed up",
            fix="Put it into a file of mode 0600 and name that, or use the peer authentication of "
            "a UNIX socket",
        )
    for name, _ in said:
        if name not in PARAMETERS:
            raise DatabaseNameInvalid(
                why=f"it may not say {name[:40]!r}", fix=f"Of {', '.join(sorted(PARAMETERS))}"
            )
    if parts.fragment or not (parts.path.strip("/") or any(name == "dbname" for name, _ in said)):
        raise DatabaseNameInvalid(why="it names no database of the server")
    return Place(url, password)
