"""One charge point by itself, in real time: for people who try a central system out."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ssl import SSLContext
from urllib.parse import quote

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.headers import build_authorization_basic

from simulators.driver import Driver, running

KNOCK_TIMEOUT_S = 10
SETTLE_TIMEOUT_S = 30
_REFUSALS = {
    401: "wants its password: --password",
    403: "forbids it",
    404: "does not know it: create it there first (`time2plug station create`)",
}


async def knock(
    url: str, identity: str, password: str | None, tls: SSLContext | None
) -> str | None:
    """Why the central system does not want this station, as a sentence; None: it does.

    Also None when it is not there at all: it may be away for a while, and the driver waits for it.
    """
    secret = None if password is None else password.replace("{id}", identity)
    headers = {}
    if secret is not None:
        headers["Authorization"] = build_authorization_basic(identity, secret)
    address = f"{url.rstrip('/')}/{quote(identity, safe='')}"
    try:
        async with connect(
            address,
            additional_headers=headers,
            ssl=tls,
            proxy=None,
            open_timeout=KNOCK_TIMEOUT_S,
        ):
            return None
    except InvalidStatus as error:
        status = error.response.status_code
        reason = _REFUSALS.get(status)
        return None if reason is None else f"{identity} is refused with {status}: {url} {reason}"
    except (OSError, InvalidHandshake, TimeoutError):
        return None


@dataclass(frozen=True)
class Rhythm:
    """What a station does by itself; sessions 0: until it is stopped.

    sample_s: until an order sets another interval.
    """

    badge: str
    sessions: int
    charge_s: float
    pause_s: float
    sample_s: float


async def charge_on(driver: Driver, rhythm: Rhythm, tell: Callable[[str], None]) -> int:
    """Charge again and again, and obey; returns how many messages were never answered."""
    station = driver.station
    station.settings.put("sample_s", str(max(1, round(rhythm.sample_s))))
    done = 0
    heard = asyncio.ensure_future(_tell_orders(driver, tell))
    try:
        async with running(driver):
            while not rhythm.sessions or done < rhythm.sessions:
                await _charge_once(driver, rhythm, tell)
                done += 1
                await asyncio.sleep(rhythm.pause_s)
            await driver.settled(SETTLE_TIMEOUT_S)
            return station.unanswered
    finally:
        heard.cancel()
        await asyncio.gather(heard, return_exceptions=True)


async def _charge_once(driver: Driver, rhythm: Rhythm, tell: Callable[[str], None]) -> None:
    """One car comes to a free EVSE, charges and leaves; none free: it waits as long."""
    station = driver.station
    now = driver.clock()
    evse_id = random.choice(list(station.evses))
    free = station.evses[evse_id].session is None and not station.evses[evse_id].plugged
    if free:
        station.plug_in(evse_id, now)
        if station.start(evse_id, rhythm.badge, now) is not None:
            tell(f"{now:%H:%M:%S} EVSE {evse_id} charges")
    until = now + timedelta(seconds=rhythm.charge_s)
    while (now := driver.clock()) < until:
        left_s = (until - now).total_seconds()
        await asyncio.sleep(min(station.settings.number("sample_s") or left_s, left_s))
        station.sample_all(driver.clock())
    if free:
        station.unplug(evse_id, driver.clock())
    told = [session for session in station.sessions if session.ended_at is not None]
    energy_wh = sum(session.energy_wh or 0 for session in told)
    tell(f"{driver.clock():%H:%M:%S} {len(told)} sessions, {energy_wh} Wh")


async def _tell_orders(driver: Driver, tell: Callable[[str], None]) -> None:
    """Say each order that comes in, and what becomes of it."""
    station = driver.station
    told = 0
    while True:
        seen = told
        await driver.until(lambda seen=seen: station.orders_heard > seen)  # type: ignore[misc]
        fresh = list(station.heard)[seen - station.orders_heard :]
        told = station.orders_heard
        for order in fresh:
            tell(f"{driver.clock():%H:%M:%S} order {order.action}: {order.behaviour}")
