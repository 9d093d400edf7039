"""API keys: 256 bits of chance, shown once, stored as a digest."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from psycopg import AsyncConnection

from csms.store import keys as store

PREFIX = "t2p_"
ROLES = ("operator",)
KEY_LENGTH_MAX = 200
_TOUCH_GRAIN = timedelta(minutes=1)


async def create(
    connection: AsyncConnection, *, name: str, role: str, expires_at: datetime | None
) -> tuple[str, store.ApiKey]:
    """A new key: its text, which nobody can read again, and its record."""
    key = PREFIX + secrets.token_urlsafe(32)
    record = await store.add_key(
        connection, name=name, role=role, key_sha256=digest(key), expires_at=expires_at
    )
    return key, record


async def authenticate(
    connection: AsyncConnection, key: str, now: datetime
) -> store.StoredKey | str:
    """The record of a key that is good now, or a sentence that says why it is not."""
    if len(key) > KEY_LENGTH_MAX:
        return "This key is not known here."
    sha256 = digest(key)
    record = await store.find_key(connection, sha256)
    if record is None or not hmac.compare_digest(record.key_sha256, sha256):
        return "This key is not known here."
    if record.revoked_at is not None:
        return "This key has been revoked."
    if record.expires_at is not None and record.expires_at <= now:
        return "This key has expired."
    if record.last_used_at is None or record.last_used_at < now - _TOUCH_GRAIN:
        await store.touch_key(connection, record.id, now, _TOUCH_GRAIN)
    return record


def digest(key: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
