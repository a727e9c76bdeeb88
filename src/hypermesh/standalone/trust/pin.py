"""The PIN of a PKCS#11 token: from a file that nobody else may read, or from the environment. It is
in no setting, for settings are copied and shown."""

from __future__ import annotations

import os
from pathlib import Path

from hypermesh.standalone.trust.errors import PinUnusable
from hypermesh.standalone.trust.private_file import read_private
from hypermesh.standalone.trust.settings import Pkcs11

PIN_BYTES_MAX = 256


def read_pin(pkcs11: Pkcs11) -> str:
    """The PIN that the settings point to. Raises `PinUnusable`."""
    if pkcs11.pin_environment:
        pin = os.environ.get(pkcs11.pin_environment, "")
        if not pin:
            raise PinUnusable(f"The variable {pkcs11.pin_environment} holds no PIN")
        return pin
    file = Path(pkcs11.pin_file)
    try:
        pin = read_private(file, PIN_BYTES_MAX, PinUnusable).decode().strip("\n")
    except UnicodeDecodeError as error:
        raise PinUnusable(f"{file} cannot be read", why=str(error)) from error
    if not pin:
        raise PinUnusable(f"{file} holds no PIN")
    return pin
