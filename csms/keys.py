"""API keys: 256 bits of chance, shown once, stored as a digest.

A key of role operator sees everything and may do what its scopes say (see csms.principals); one of
role client works for one client's machine, and reads what is that client's.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from psycopg import AsyncConnection

from csms.registry import NotThere, Refusal
from csms.store import audit, sites
from csms.store import keys as store

PREFIX = "t2p_"
ROLES = ("operator", "client")
SCOPES = ("read", "operate", "finance", "admin")
KEY_LENGTH_MAX = 200
_TOUCH_GRAIN = timedelta(minutes=1)
#: what else acts, as it stands beside orders, webhooks and what was settled
_OTHERS = re.compile(r"(person \d+|system|nobody|command line)", re.IGNORECASE)


async def create(
    connection: AsyncConnection,
    *,
    name: str,
    role: str,
    expires_at: datetime | None,
    scopes: Collection[str] = SCOPES,
    client_id: int | None = None,
    created_by: str | None = None,
) -> tuple[str, store.ApiKey]:
    """A new key: its text, which nobody can read again, and its record. A client's key (client_id)
    only ever reads, whatever the scopes say."""
    key = PREFIX + secrets.token_urlsafe(32)
    record = await store.add_key(
        connection,
        name=name,
        role=role,
        scopes=["read"] if role == "client" else [s for s in SCOPES if s in scopes],
        client_id=client_id,
        key_sha256=digest(key),
        expires_at=expires_at,
        created_by=created_by,
    )
    return key, record


async def grant(
    connection: AsyncConnection,
    *,
    name: str,
    role: str,
    scopes: Collection[str],
    client_id: int | None,
    expires_at: datetime | None,
    actor: str,
    person_id: int | None,
    now: datetime,
) -> tuple[str, store.ApiKey]:
    """As `create`, checked, and noted in the audit. Raises: Refusal, NotThere."""
    if role not in ROLES:
        raise Refusal(f"There is no role {role!r}; roles are: {', '.join(ROLES)}.", "role")
    if _OTHERS.fullmatch(name.strip()):
        raise Refusal("A key is called like nobody else who acts.", "name")
    if (role == "client") != (client_id is not None):
        raise Refusal("A client's key, and no other, names its client.", "client_id")
    if client_id is not None and await sites.get_client(connection, client_id) is None:
        raise NotThere(f"There is no client {client_id}.", "client_id")
    for scope in scopes:
        if scope not in SCOPES:
            raise Refusal(f"There is no scope {scope!r}; they are: {', '.join(SCOPES)}.", "scopes")
    if role == "client" and set(scopes) != {"read"}:
        raise Refusal("A client's key only reads.", "scopes")
    if not scopes:
        raise Refusal("A key has one scope at least.", "scopes")
    if expires_at is not None and expires_at <= now:
        raise Refusal("A key expires in the future.", "expires_at")
    key, record = await create(
        connection,
        name=name,
        role=role,
        expires_at=expires_at,
        scopes=scopes,
        client_id=client_id,
        created_by=actor,
    )
    await audit.add_entry(
        connection,
        now,
        actor=actor,
        person_id=person_id,
        client_id=client_id,
        action="key created",
        subject=f"key {record.id}",
        detail={"role": role, "scopes": record.scopes},
    )
    return key, record


async def revoke(
    connection: AsyncConnection,
    key_id: int,
    *,
    actor: str,
    person_id: int | None,
    now: datetime,
) -> bool:
    """Revoke a key for good; False when there is no such key."""
    revoked = await store.revoke_key(connection, key_id, now)
    if revoked:
        await audit.add_entry(
            connection,
            now,
            actor=actor,
            person_id=person_id,
            action="key revoked",
            subject=f"key {key_id}",
        )
    return revoked


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
