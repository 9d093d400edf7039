"""Who stands behind a request: a machine by its key, a person by her log-in; and what they may do.

An operator's machine has scopes, an operator roles; both are the same four words:

- read: everything that operators see, nothing changed;
- operate: stations, orders, badges, drivers, sites, the desk;
- finance: contracts, accounts, money;
- admin: people, keys, personal data. Admin includes no other.

A person's roles count once a second factor has been shown. Managers and drivers have no scopes:
what they may see, the database decides by row-level security.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from psycopg import AsyncConnection

from csms import keys
from csms.store import logins

Role = Literal["read", "operate", "finance", "admin"]

ROLES: Final = ("read", "operate", "finance", "admin")
ACCESS_PREFIX: Final = "t2a_"
TOKEN_LENGTH_MAX: Final = 200
_TOUCH_GRAIN: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever asks. Exactly one of key and person stands behind it."""

    name: str  # as the audit and created_by name it: "demo" of a key, "person 7"
    roles: frozenset[str] = frozenset()  # operator's
    person_id: int | None = None
    client_id: int | None = None  # of a key that works for one client; null: none
    manages: frozenset[int] = frozenset()  # clients
    is_driver: bool = False
    login_id: int | None = None  # the log-in behind it; None: a key
    lacks_second_factor: bool = False  # roles are there, and wait for it
    language: str = "fr"

    @property
    def actor(self) -> str:
        """As the audit names it: a key's name is anybody's choice, and must not look like a
        person."""
        return self.name if self.person_id is not None else f"key {self.name}"

    @property
    def is_operator(self) -> bool:
        """Whether it sees everything."""
        return "read" in self.roles

    @property
    def reads_as_client(self) -> bool:
        """Whether it sees what belongs to clients: a manager, or a client's machine."""
        return bool(self.manages) or self.client_id is not None


async def authenticate(connection: AsyncConnection, text: str, now: datetime) -> Principal | str:
    """Whom a bearer token names, or a sentence that says why it names nobody."""
    if text.startswith(ACCESS_PREFIX):
        return await by_login(connection, text, "api", now)
    found = await keys.authenticate(connection, text, now)
    if isinstance(found, str):
        return found
    return Principal(
        name=found.name,
        roles=frozenset(found.scopes) if found.role == "operator" else frozenset(),
        client_id=found.client_id,
    )


async def by_login(
    connection: AsyncConnection,
    secret: str,
    kind: Literal["page", "api"],
    now: datetime,
    *,
    idle: timedelta | None = None,
) -> Principal | str:
    """Whom the secret of a log-in names, that of a browser or of a program; or why nobody.
    `idle`: unused for so long, it is over."""
    if len(secret) > TOKEN_LENGTH_MAX:
        return "This log-in is not known here."
    login = await logins.find_login(connection, digest(secret), kind, now)
    if login is None:
        return "This log-in is not known here."
    if login.ended_at is not None or login.secret_expires_at <= now:
        return "This log-in is over: log in again, or refresh it."
    if idle is not None and login.last_used_at <= now - idle:
        return "This log-in is over: log in again."
    if login.closed_at is not None or login.blocked_at is not None:
        return "This account is closed."
    if login.last_used_at < now - _TOUCH_GRAIN:
        await logins.touch_login(connection, login.id, now, _TOUCH_GRAIN)
    proved = login.second_factor_at is not None
    return Principal(
        name=f"person {login.person_id}",
        roles=frozenset(login.operator_roles) if proved else frozenset(),
        person_id=login.person_id,
        manages=frozenset(login.manages),
        is_driver=login.is_driver,
        login_id=login.id,
        lacks_second_factor=bool(login.operator_roles) and not proved,
        language=login.language,
    )


def digest(secret: str) -> bytes:
    """What is stored of a secret with 256 bits of chance."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
