"""The URLs of the server's resources."""

from __future__ import annotations

from urllib.parse import urlsplit

from hypermesh.trustchain.acme.encoding import base64url, drawn

ID_BYTES = 16


def new_id() -> str:
    """An id that nobody guesses: 127 random bits, base64url."""
    return base64url(drawn(ID_BYTES))


class Places:
    """URLs below `url`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self.path = urlsplit(self._url).path
        """The path that all of them begin with."""

    def at(self, path: str) -> str:
        """The URL of `path`, which begins with the path of all of them."""
        return self._url + path.removeprefix(self.path)

    def named(self, name: str) -> str:
        """A resource of the directory."""
        return f"{self._url}/{name}"

    def account(self, id_: str) -> str:
        return f"{self._url}/account/{id_}"

    def orders(self, account: str, after: str = "") -> str:
        where = f"{self._url}/account/{account}/orders"
        return f"{where}/{after}" if after else where

    def order(self, id_: str) -> str:
        return f"{self._url}/order/{id_}"

    def finalize(self, id_: str) -> str:
        return f"{self._url}/order/{id_}/finalize"

    def certificate(self, order: str) -> str:
        return f"{self._url}/certificate/{order}"

    def authorization(self, id_: str) -> str:
        return f"{self._url}/authorization/{id_}"

    def challenge(self, authorization: str, kind: str) -> str:
        return f"{self._url}/challenge/{authorization}/{kind}"

    def account_id(self, url: str) -> str | None:
        """The id in the URL of an account; None where it is no such URL."""
        start = f"{self._url}/account/"
        return url.removeprefix(start) if url.startswith(start) else None
