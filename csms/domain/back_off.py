"""How long to wait before trying again: pure, the chance in it comes from a seed."""

from hashlib import blake2b
from typing import Final

_STEPS: Final = 1 << 32
_DOUBLINGS_MAX: Final = 30


def luck(seed: str, attempts: int) -> float:
    """From 0 to below 1, the same for the same seed and number of attempts: what failed together is
    not tried together, and a test knows when."""
    digest = blake2b(f"{seed}:{attempts}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / _STEPS


def back_off_s(first_s: float, longest_s: float, attempts: int, chance: float) -> float:
    """The wait after so many attempts (1 or more): doubled each time, never above the longest;
    `chance` from 0 to 1 takes up to half of it away."""
    doubled = first_s * 2.0 ** min(max(attempts, 1) - 1, _DOUBLINGS_MAX)
    return min(doubled, longest_s) * (1 - chance / 2)
