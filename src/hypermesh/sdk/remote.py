"""A node that is reached from elsewhere: TLS 1.3, a token, and a certificate below its network's
root."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from hypermesh.wire.errors import HyperMeshError, InvalidInput

if TYPE_CHECKING:
    import ssl

PORT = 8444


class NotTrusted(HyperMeshError):
    """What answers has no certificate of the node that was asked for. Nothing was sent to it."""

    code = "HM-SDK-0012"
    status = 502
    exit_code = 9
    title = "What answers there is not the node"
    remedy = "See `hm token create` there for the node's server name and its network's root"


class Remote(msgspec.Struct, frozen=True):
    """Where and how to reach a node that is not this machine's. `server_name` is the name in its
    certificate, `root` its network's root certificate (PEM), `token` who we are."""

    host: str
    port: int
    server_name: str
    root: str
    token: str

    @classmethod
    def of(cls, url: str, *, token: str, root: str, server_name: str | None = None) -> Remote:
        """Raises `InvalidInput` where `url` is no `https://host:port`."""
        parts = urlsplit(url)
        try:
            port = parts.port or PORT
        except ValueError as error:
            raise InvalidInput(f"{url!r} has no such port", why=str(error)) from error
        if parts.scheme != "https" or not parts.hostname or parts.path.strip("/"):
            raise InvalidInput(f"{url!r} is no place of a node", fix="Say it as https://HOST:8444")
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise InvalidInput("The token is none", fix="Make one there: `hm token create`")
        return cls(parts.hostname, port, server_name or parts.hostname, root, token)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"

    def context(self) -> ssl.SSLContext:
        """What checks the certificate. Raises `InvalidInput` for a root that is none."""
        import ssl

        try:
            context = ssl.create_default_context(cadata=self.root)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidInput("The root is no certificate", why=str(error)) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context
