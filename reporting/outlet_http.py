"""What requests of outlets over HTTP have in common: whom to trust, what was not sent for certain,
how long a peer asks to be left alone, and an error in few words."""

import ssl
from typing import Final

import httpx

from csms.config import Settings

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
RETRY_AFTER_S_MAX: Final = 86_400.0

#: The request did not leave; of all other failures nobody knows what the peer took.
UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
FAILED: Final = (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError)


def trust(settings: Settings) -> ssl.SSLContext:
    """Who vouches for peers: the usual ones, and those of the settings."""
    context = ssl.create_default_context()
    if settings.outside_trust is not None:
        context.load_verify_locations(settings.outside_trust)
    return context


def seconds(retry_after: str | None) -> float | None:
    """A Retry-After in seconds, bounded; None where it says none."""
    if retry_after is None or not retry_after.isascii() or not retry_after.isdecimal():
        return None
    return min(float(retry_after), RETRY_AFTER_S_MAX)


def told(error: Exception) -> str:
    """What failed, for the record."""
    return f"{type(error).__name__} {error}".strip()[:300]
