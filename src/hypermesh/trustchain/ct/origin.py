"""What the logs of a network are called: its genesis id, a number, and what is in the log.

    hm.internal/<genesis id, 64 hex digits>/<number>/certificates
    hm.internal/<genesis id, 64 hex digits>/<number>/acts

The name has the whole genesis id, so no two networks have one; and each number has its own keys.
"""

from __future__ import annotations

from hypermesh.wire.ids import GenesisId

HOST = "hm.internal"
PURPOSES = ("certificates", "acts")
NUMBER_MAX = 1 << 20
_DIGITS_MAX = 7


def origin(genesis: GenesisId, number: int) -> str:
    """The origin that the two logs of generation `number` have in common."""
    return f"{HOST}/{genesis.hex()}/{number}"


def read_origin(genesis: GenesisId, text: str) -> tuple[int, str] | None:
    """Generation and purpose (`certificates`, `acts`) of a log of the network; None where `text` is
    no origin of one."""
    head, _, purpose = text.rpartition("/")
    _, _, digits = head.rpartition("/")
    if not digits.isascii() or not digits.isdigit() or len(digits) > _DIGITS_MAX:
        return None
    number = int(digits)
    if purpose not in PURPOSES or not 1 <= number <= NUMBER_MAX:
        return None
    return (number, purpose) if text == f"{origin(genesis, number)}/{purpose}" else None
