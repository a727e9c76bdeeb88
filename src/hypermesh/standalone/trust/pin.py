"""The PIN of a PKCS#11 token: from a file that nobody else may read, or from the environment. It is
in no setting, for settings are copied and shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hypermesh.standalone.trust.errors import PinUnusable
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
        with file.open() as opened:
            mode = os.fstat(opened.fileno()).st_mode
            pin = opened.read(PIN_BYTES_MAX).strip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PinUnusable(f"{file} cannot be read", why=str(error)) from error
    if stat.S_IMODE(mode) & 0o077:
        raise PinUnusable(f"Others may read {file}", fix=f"chmod 600 {file}")
    if not pin:
        raise PinUnusable(f"{file} holds no PIN")
    return pin
