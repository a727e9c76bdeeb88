"""base64url without padding (RFC 7515 section 2), one text for one value."""

from __future__ import annotations

import binascii
import secrets

from hypermesh.trustchain.acme.problem import malformed


def drawn(size: int) -> bytes:
    """`size` random bytes whose first bit is 0, so that their text begins with a letter: one with a
    `-` in front is an option to the command lines that people paste it into."""
    data = secrets.token_bytes(size)
    return bytes([data[0] & 0x7F]) + data[1:]


_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_+/=", b"+/   ")
"""The second makes what is not of this alphabet a character of none."""


def base64url(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The bytes of `text`. Raises `AcmeRefusal`: `malformed`, also where another text stands for
    the same bytes, or an altered request could pass for the one that was signed."""
    try:
        plain = text.encode("ascii").translate(_FROM_URL)
        data = binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)
    except ValueError as error:
        raise malformed("A member is not base64url") from error
    if base64url(data) != text:
        raise malformed("A member is not base64url as this protocol writes it")
    return data
