"""From the invitation to the history: everything over HTTP, a mail and a charge point between.

An operator's key makes the client, the site, the station, the group and the driver; from the link
in her mail on, the driver is alone.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from csms import db, keys
from csms.config import Settings
from csms.db import Database
from csms.serve import open_service
from simulators.driver import Driver, DriverConfig, running, utc_now
from simulators.model import OCPP16, OCPP201, StationConfig
from simulators.station import Station
from tests.scenarios.gate import PATIENCE_S, Gate
from tests.scenarios.mail import MailServer, mail_server, text_of
from tests.test_api_me import events

EMAIL = "conductrice@example.org"
PASSWORD = "une phrase assez longue 7"
QUICK = {
    "command_poll_s": 0.1,
    "live_period_s": 0.05,
    "live_refresh_s": 0.5,
    "notification_poll_s": 0.1,
}


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


async def done(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


async def operate(api: httpx.AsyncClient) -> None:
    """All that an operator enters before a driver can be invited, and the invitation."""
    client = await done(await api.post("/clients", json={"name": "Résidence Exemple"}))
    site = {
        "id": "exemple",
        "client_id": client["id"],
        "name": "Parking",
        "static": {"address": "1 rue de l’Exemple", "latitude": 43.838, "longitude": 4.361},
    }
    await done(await api.post("/sites", json=site))
    station = {"id": "CP1", "site_id": "exemple", "auto_configure": False}
    await done(await api.post("/stations", json=station | {"evses": [{"evse_id": 1}]}))
    group = {"client_id": client["id"], "name": "Résidents", "kind": "residents"}
    group_id = (await done(await api.post("/groups", json=group)))["id"]
    await done(await api.post(f"/groups/{group_id}/access", json={"site_id": "exemple"}))
    person = {"email": EMAIL, "given_name": "Conductrice", "group_id": group_id, "invite": True}
    await done(await api.post("/drivers", json=person))


async def let_in(api: httpx.AsyncClient, mails: MailServer) -> None:
    """The driver follows the link of her mail, chooses a password, and logs in by it."""
    await mails.arrived.wait()
    (mail,) = mails.mails
    assert mail["To"] is not None and EMAIL in mail["To"]
    link = re.search(r"/invitation/(\S+)", text_of(mail))
    assert link is not None
    accepted = {"token": link[1], "password": PASSWORD}
    await done(await api.post("/auth/invitations/accept", json=accepted))
    again = await api.post("/auth/invitations/accept", json=accepted)
    assert again.status_code in (409, 422), "a link is good once"
    entered = {"email": EMAIL, "password": PASSWORD}
    token = (await done(await api.post("/auth/log-in", json=entered)))["access_token"]
    api.headers["Authorization"] = f"Bearer {token}"


async def charge(api: httpx.AsyncClient, driver: Driver) -> int:
    """Find the point, start, follow, stop; the session."""
    near = {"lat": 43.84, "lon": 4.36, "radius_m": 1_000}
    (point,) = (await done(await api.get("/me/points", params=near)))["items"]
    assert (point["state"], point["access"]["open"]) == ("free", True)
    begun = await done(await api.post("/me/sessions", json={"point_id": point["point_id"]}))
    session_id = int(begun["session_id"])
    told = []
    async with api.stream("GET", f"/me/sessions/{session_id}/events") as stream:
        async for _, event, data in events(stream):
            told.append(event)
            if told == ["session"]:
                driver.station.sample(1, utc_now())
            elif event == "session" and data["power_w"] is not None:
                await done(await api.post(f"/me/sessions/{session_id}/stop"))
    assert told[-1] == "ended"
    return session_id


@pytest.mark.parametrize("protocol", [OCPP16, OCPP201])
async def test_a_driver_is_invited_logs_in_charges_and_looks_back(
    settings: Settings, database: Database, mails: MailServer, protocol: str
) -> None:
    settings = mails.settings(settings, **QUICK)
    async with await db.connect(database) as connection:
        key, _ = await keys.create(connection, name="desk", role="operator", expires_at=None)
    base_url = f"http://127.0.0.1:{settings.http_port}/api/v1"
    config = StationConfig(identity="CP1", protocol=protocol)
    driver = Driver(
        Station(config, utc_now()),
        DriverConfig(
            url=f"ws://127.0.0.1:{settings.ocpp_port}/ocpp", backoff_min_s=0.01, backoff_max_s=0.05
        ),
    )
    async with open_service(settings), httpx.AsyncClient(base_url=base_url, timeout=60) as api:
        api.headers["Authorization"] = f"Bearer {key}"
        await operate(api)
        del api.headers["Authorization"]
        await let_in(api, mails)
        async with running(driver):
            await driver.settled(PATIENCE_S)
            await Gate(settings, database).eventually(
                [(None,)], "SELECT disconnected_at FROM station_connection"
            )
            session_id = await charge(api, driver)
        (session,) = (await done(await api.get("/me/sessions")))["items"]
        assert (session["id"], session["state"]) == (session_id, "ended")
        assert session["energy_wh"] is not None
