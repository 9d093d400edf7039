"""How often somebody may try to log in. It stops guessing, and cannot be used against others.

Counted are attempts that fail, by whom and from where, under digests with a server's secret:

- on an account from one place (an IPv4 address, an IPv6 network of 64 bits): a few are free, then
  each waits twice as long as the one before. Nobody elsewhere notices;
- from one place on any account: likewise, after more;
- on an account from everywhere: that holds nobody back. When it is attacked from many places, a
  place from which it was never used has a single free attempt instead of a few. So a new place
  always has its first attempt, whatever others did;
- in a browser in which this person has logged in before (its cookie says so), only what failed in
  that very browser counts. Whoever shares her network, or attacks her account, cannot keep her out.

The second factor is asked after the right password alone. Its codes are few, so it is counted for
the account as a whole, but in browsers that are known: whoever knows the password can keep its
owner waiting elsewhere, until she changes it.

An attempt is counted before it is made and taken back when it succeeds: a thousand at once are let
through one by one, on however many nodes. What was refused does not count. All is forgotten after
a day.
"""

import hashlib
import hmac
import ipaddress
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import AsyncConnection

from csms import secrets
from csms.config import Settings
from csms.principals import digest
from csms.refusals import ComeLater
from csms.store import failures, links, logins

_FREE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was let through, and what to do when it succeeds."""

    forget: bytes  # these failures are over
    take_back: tuple[bytes, ...]  # this one was none
    is_trusted: bool  # made in a browser that is known
    is_known_place: bool


def place_of(address: str) -> str:
    """Where an address is, as failures are counted: an IPv4 address, an IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def key(settings: Settings, *parts: object) -> bytes:
    """What something is counted under: nobody learns an address from it."""
    text = "\0".join(str(part) for part in parts)
    secret = secrets.derive(settings, "login failures")
    return hmac.new(secret, text.encode("utf-8", "replace"), hashlib.sha256).digest()


async def admit(
    connection: AsyncConnection,
    settings: Settings,
    *,
    account: str,
    person_id: int | None,
    address: str,
    device: str | None,
    now: datetime,
) -> Attempt:
    """Let an attempt on the account with this address (`account`; person_id: whose it is) through.

    `device`: what the browser says it is. Takes the same steps for an account that is not there.
    Raises: ComeLater; then the transaction must be rolled back.
    """
    place = place_of(address)
    nobody = 0
    trusted = device is not None and await links.knows_device(
        connection, person_id or nobody, digest(device), now
    )
    since = now - timedelta(seconds=settings.trusted_device_s)
    used = await logins.list_addresses(connection, person_id or nobody, since)
    known = place in {place_of(former) for former in used}
    if trusted:
        own = key(settings, "device", account, device)
        await _count(connection, settings, own, settings.account_failures_max, now)
        return Attempt(own, (), True, known)
    # Always in this order, so that two attempts never wait for each other.
    everywhere = key(settings, "account", account)
    total = await _count(connection, settings, everywhere, _FREE, now)
    attacked = total > settings.attacked_failures_max and not known
    own = key(settings, "account and place", account, place)
    await _count(connection, settings, own, 1 if attacked else settings.account_failures_max, now)
    around = key(settings, "place", place)
    await _count(connection, settings, around, settings.source_failures_max, now)
    return Attempt(own, (everywhere, around), False, known)


async def succeed(connection: AsyncConnection, attempt: Attempt) -> None:
    """The attempt that was let through has not failed."""
    for counted in attempt.take_back[:1]:
        await failures.take_back_attempt(connection, [counted])
    await failures.forget_failures(connection, [attempt.forget])
    for counted in attempt.take_back[1:]:
        await failures.take_back_attempt(connection, [counted])


async def admit_code(
    connection: AsyncConnection,
    settings: Settings,
    *,
    person_id: int,
    device: str | None,
    now: datetime,
) -> Attempt:
    """Let a code of the second factor through, whose password was right. Raises: ComeLater."""
    trusted = device is not None and await links.knows_device(
        connection, person_id, digest(device), now
    )
    own = key(settings, "code", person_id, device if trusted else "")
    await _count(connection, settings, own, settings.code_failures_max, now)
    return Attempt(own, (), trusted, False)


async def admit_check(
    connection: AsyncConnection, settings: Settings, login_id: int, now: datetime
) -> Attempt:
    """Let a password or code through that somebody shows again within a log-in. Raises:
    ComeLater."""
    own = key(settings, "log-in", login_id)
    await _count(connection, settings, own, settings.account_failures_max, now)
    return Attempt(own, (), False, False)


async def admit_request(
    connection: AsyncConnection, settings: Settings, what: str, address: str, now: datetime
) -> None:
    """Let a request for a mail through; from a place, or of a person ("person 7"), that asks too
    often: later. Raises: ComeLater."""
    counted = key(settings, what, place_of(address))
    await _count(connection, settings, counted, settings.source_failures_max, now)


async def forget(connection: AsyncConnection, before: datetime) -> int:
    """Delete failures that last happened before then; how many."""
    return await failures.forget_old_failures(connection, before)


async def _count(
    connection: AsyncConnection, settings: Settings, counted: bytes, free: int, now: datetime
) -> int:
    """Raises: ComeLater."""
    total = await failures.count_attempt(
        connection,
        counted,
        now,
        free=free,
        wait_s=settings.failure_wait_s,
        wait_max_s=settings.failure_wait_max_s,
        kept=timedelta(seconds=settings.failures_kept_s),
    )
    if total is not None:
        return total
    found = await failures.get_failures(connection, counted)
    wait_s = 0.0
    if found is not None:
        count, last_at = found
        due_s = min(
            settings.failure_wait_max_s, settings.failure_wait_s * 2.0 ** min(count - free, 30)
        )
        wait_s = (last_at - now).total_seconds() + due_s
    retry_s = max(1, math.ceil(wait_s))
    raise ComeLater("wait", f"Too many attempts: try again in {retry_s} s.", retry_s)
