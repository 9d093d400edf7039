"""The simulated OCPI hub: what it takes, what it complains of, how it fails, what it asks."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from simulators.cli import app
from simulators.ocpi_hub import HubComplaint, OcpiHub
from simulators.ocpi_hub.shapes import problems
from simulators.ocpi_hub.watching import Watch, watch
from tests.ocpi_cpo import CPO, NOW, Given, SmallCpo, at

BADGE, CONTRACT = "04A2B3C4D5E6F7", "FR-EMP-C12345678-X"
EXAMPLES = Path(__file__).parents[2] / "shared" / "data" / "ocpi-2.2.1-examples"
LOST = (httpx.RemoteProtocolError, httpx.ReadError)
needs_examples = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="needs the official examples")


@pytest.fixture
async def hub() -> AsyncIterator[OcpiHub]:
    hub = OcpiHub()
    hub.add_token(BADGE, CONTRACT)
    async with hub.serve():
        yield hub


@pytest.fixture
async def cpo(hub: OcpiHub) -> AsyncIterator[SmallCpo]:
    """An operator that the hub is registered with."""
    async with SmallCpo().serve() as cpo:
        await hub.register(cpo.versions_url, "token-a")
        yield cpo


def location(**changes: Any) -> dict[str, Any]:
    """A Location with all that the guide asks for."""
    connector = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_1_PHASE",
        "max_voltage": 230,
        "max_amperage": 32,
        "tariff_ids": ["T1"],
        "last_updated": at(0),
    }
    evse = {
        "uid": "E1",
        "evse_id": "FR*T2P*E0001*1",
        "status": "AVAILABLE",
        "capabilities": ["RFID_READER", "REMOTE_START_STOP_CAPABLE"],
        "connectors": [connector],
        "last_updated": at(0),
    }
    return {
        "country_code": "FR",
        "party_id": "T2P",
        "id": "L1",
        "publish": True,
        "address": "12 rue des Tilleuls",
        "city": "Lyon",
        "postal_code": "69003",
        "country": "FRA",
        "coordinates": {"latitude": "45.760000", "longitude": "4.850000"},
        "evses": [evse],
        "operator": {"name": "Time2Plug"},
        "owner": {"name": "SDC Les Tilleuls"},
        "time_zone": "Europe/Paris",
        "last_updated": at(0),
    } | changes


TOKEN = {
    "country_code": "FR",
    "party_id": "EMP",
    "uid": BADGE,
    "type": "RFID",
    "contract_id": CONTRACT,
}


def session(**changes: Any) -> dict[str, Any]:
    """A session that goes on."""
    return {
        "country_code": "FR",
        "party_id": "T2P",
        "id": "S1",
        "start_date_time": at(1),
        "kwh": 0.5,
        "cdr_token": dict(TOKEN),
        "auth_method": "WHITELIST",
        "location_id": "L1",
        "evse_uid": "E1",
        "connector_id": "1",
        "currency": "EUR",
        "status": "ACTIVE",
        "last_updated": at(2),
    } | changes


def cdr(**changes: Any) -> dict[str, Any]:
    """The record of a session of half an hour: 3.5 kWh, of which the last ten minutes are idle."""
    place = location()
    connector = place["evses"][0]["connectors"][0]
    names = ("address", "city", "postal_code", "country", "coordinates")
    cdr_location = {name: place[name] for name in names} | {
        "id": "L1",
        "evse_uid": "E1",
        "evse_id": "FR*T2P*E0001*1",
        "connector_id": "1",
        "connector_standard": connector["standard"],
        "connector_format": connector["format"],
        "connector_power_type": connector["power_type"],
    }
    periods = [
        {
            "start_date_time": at(1),
            "dimensions": [
                {"type": "ENERGY", "volume": 3.5},
                {"type": "TIME", "volume": 0.3333},
            ],
            "tariff_id": "T1",
        },
        {
            "start_date_time": at(21),
            "dimensions": [{"type": "PARKING_TIME", "volume": 0.1667}],
            "tariff_id": "T1",
        },
    ]
    return {
        "country_code": "FR",
        "party_id": "T2P",
        "id": "C1",
        "start_date_time": at(1),
        "end_date_time": at(31),
        "session_id": "S1",
        "cdr_token": dict(TOKEN),
        "auth_method": "WHITELIST",
        "cdr_location": cdr_location,
        "currency": "EUR",
        "tariffs": [tariff()],
        "charging_periods": periods,
        "total_cost": {"excl_vat": 1.05, "incl_vat": 1.26},
        "total_energy": 3.5,
        "total_energy_cost": {"excl_vat": 1.05, "incl_vat": 1.26},
        "total_time": 0.5,
        "total_parking_time": 0.1667,
        "last_updated": at(32),
    } | changes


def tariff(**changes: Any) -> dict[str, Any]:
    """A price for energy."""
    component = {"type": "ENERGY", "price": 0.3, "vat": 20.0, "step_size": 1}
    return {
        "country_code": "FR",
        "party_id": "T2P",
        "id": "T1",
        "currency": "EUR",
        "type": "REGULAR",
        "elements": [{"price_components": [component]}],
        "start_date_time": "2026-01-01T00:00:00Z",
        "last_updated": at(0),
    } | changes


async def put_location(cpo: SmallCpo, **changes: Any) -> httpx.Response:
    return await cpo.tell("PUT", "locations", *CPO, "L1", body=location(**changes))


async def put_session(cpo: SmallCpo, **changes: Any) -> httpx.Response:
    return await cpo.tell("PUT", "sessions", *CPO, "S1", body=session(**changes))


def one(hub: OcpiHub) -> str:
    """The one complaint."""
    assert len(hub.complaints) == 1, hub.complaints
    return hub.complaints[0]


# The handshake.


async def test_a_faithful_operator_gives_nothing_to_complain_of(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    assert (await put_location(cpo)).status_code == 201
    told = await cpo.tell("PUT", "tariffs", *CPO, "T1", body=tariff())
    assert told.status_code == 201
    assert (await put_session(cpo)).json()["status_code"] == 1000
    ended = {"status": "COMPLETED", "kwh": 3.5, "end_date_time": at(31), "last_updated": at(31)}
    patched = await cpo.tell("PATCH", "sessions", *CPO, "S1", body=ended)
    assert patched.json()["status_code"] == 1000
    posted = await cpo.tell("POST", "cdrs", body=cdr())
    assert posted.status_code == 201
    got = await cpo.ask("GET", posted.headers["Location"])
    assert got.json()["data"] == cdr()
    assert hub.complaints == []
    assert hub.sessions["FR", "T2P", "S1"]["status"] == "COMPLETED"
    assert hub.cdrs["FR", "T2P", "C1"]["total_energy"] == 3.5


async def test_the_hub_registers_at_the_operator_and_is_read_meanwhile(hub: OcpiHub) -> None:
    async with SmallCpo().serve() as cpo:
        await hub.register(cpo.versions_url, "token-a")
        assert [path for _, path, _ in cpo.seen] == ["versions", "2.2.1", "credentials"]
        sent = cpo.seen[0][2]
        assert sent["authorization"] == "Token " + base64.b64encode(b"token-a").decode()
        assert not any(name.startswith("ocpi-") for name in sent)
    assert [each.path for each in hub.received] == ["/ocpi/versions", "/ocpi/iop/2.2.1"]
    assert hub.complaints == []


async def test_an_operator_that_tells_before_the_handshake_is_done_is_heard(
    hub: OcpiHub,
) -> None:
    """Its first telling may overtake its answer."""
    async with SmallCpo().serve() as cpo:
        early: list[asyncio.Task[httpx.Response]] = []

        def tell(path: str, given: Given) -> None:
            if path == "credentials":
                early.append(asyncio.create_task(put_location(cpo)))

        cpo.spoil = tell
        await hub.register(cpo.versions_url, "token-a")
        assert (await early[0]).status_code == 201
    assert hub.complaints == []


async def test_the_operator_registers_at_the_hub_with_a_token_that_counts_once(
    hub: OcpiHub,
) -> None:
    async with SmallCpo().serve() as cpo:
        cpo.hub_token, cpo.hub_versions = "token-i", hub.versions_url
        assert (await cpo.ask("GET", hub.versions_url, routed=False)).status_code == 401
        hub.invite("token-i")
        await cpo.discover()
        refused = await cpo.tell("GET", "locations", *CPO, "L1")
        assert refused.status_code == 401
        cpo.token_c = "token-b"
        answer = await cpo.tell(
            "POST", "credentials", body=cpo.credentials("token-b"), routed=False
        )
        data = answer.json()["data"]
        assert problems("Credentials", data) == []
        assert [role["role"] for role in data["roles"]] == ["HUB"]
        assert (await cpo.tell("GET", "credentials", routed=False)).status_code == 401
        cpo.hub_token = data["token"]
        assert (await put_location(cpo)).status_code == 201
        again = await cpo.tell("POST", "credentials", body=cpo.credentials("x"), routed=False)
        assert again.status_code == 405
        assert (await cpo.tell("DELETE", "credentials", routed=False)).status_code == 200
        assert (await put_location(cpo)).status_code == 401


async def test_credentials_of_an_operator_that_cannot_be_reached_are_3001(hub: OcpiHub) -> None:
    async with SmallCpo().serve() as cpo:
        cpo.hub_token, cpo.hub_versions = "token-i", hub.versions_url
        hub.invite("token-i")
        await cpo.discover()
        cpo.spoil = _without("versions")
        body = cpo.credentials("token-a")
        answer = await cpo.tell("POST", "credentials", body=body, routed=False)
        assert answer.json()["status_code"] == 3002
        cpo.spoil = _without("2.2.1")
        answer = await cpo.tell("POST", "credentials", body=body, routed=False)
        assert answer.json()["status_code"] == 3003
        body["url"] = "http://127.0.0.1:9/versions"
        answer = await cpo.tell("POST", "credentials", body=body, routed=False)
        assert answer.json()["status_code"] == 3001


def _without(path: str) -> Any:
    """An operator that lacks the version, or the modules."""

    def spoil(asked: str, given: Given) -> None:
        if asked == path == "versions":
            given.data[0]["version"] = "2.1.1"
        elif asked == path:
            given.data["endpoints"] = given.data["endpoints"][:1]

    return spoil


async def test_registration_says_what_is_wrong_with_the_operator(hub: OcpiHub) -> None:
    async with SmallCpo().serve() as cpo:
        with pytest.raises(HubComplaint, match="HTTP 401"):
            await hub.register(cpo.versions_url, "another")
        cpo.spoil = _without("2.2.1")
        with pytest.raises(HubComplaint, match="has no credentials, no SENDER of sessions"):
            await hub.register(cpo.versions_url, "token-a")
        cpo.spoil = lambda path, given: None
        cpo.token_c = "token-a"
        with pytest.raises(HubComplaint, match="a new one is asked for"):
            await hub.register(cpo.versions_url, "token-a")


async def test_the_hub_takes_its_leave(hub: OcpiHub, cpo: SmallCpo) -> None:
    await hub.unregister()
    assert cpo.seen[-1][:2] == ("DELETE", "credentials")
    assert (await put_location(cpo)).status_code == 401
    with pytest.raises(HubComplaint):
        await hub.pull("locations")


async def test_credentials_are_not_updated_but_renewed(hub: OcpiHub, cpo: SmallCpo) -> None:
    answer = await cpo.tell("PUT", "credentials", body=cpo.credentials("x"), routed=False)
    assert answer.status_code == 405
    assert "no update of credentials" in one(hub)


# Headers.


@pytest.mark.parametrize(
    ("headers", "words", "status"),
    [
        ({"Authorization": None}, "Authorization is not as", 401),
        ({"Authorization": "Bearer x"}, "Authorization is not as", 401),
        ({"Authorization": "Token eHl6"}, "token is not known", 401),
        ({"X-Request-ID": None}, "X-Request-ID is missing", 201),
        ({"X-Correlation-ID": None}, "X-Correlation-ID is missing", 201),
        ({"X-Request-ID": "1"}, "X-Request-ID is '1', no UUID", 201),
        ({"OCPI-from-party-id": None}, "ocpi-from-party-id missing", 200),
        ({"OCPI-from-party-id": "XXX"}, "OCPI-from is FR*XXX", 200),
        ({"OCPI-to-country-code": None}, "ocpi-to-country-code missing", 200),
        ({"OCPI-to-party-id": "XXX"}, "OCPI-to is FR*XXX", 200),
        ({"Content-Type": "text/plain"}, "Content-Type is 'text/plain'", 201),
    ],
)
async def test_a_header_that_is_wrong_is_complained_of(
    hub: OcpiHub, cpo: SmallCpo, headers: dict[str, str | None], words: str, status: int
) -> None:
    answer = await cpo.tell("PUT", "locations", *CPO, "L1", body=location(), headers=headers)
    assert answer.status_code == status
    assert any(words in each for each in hub.complaints), hub.complaints
    assert all("PUT /ocpi/iop/2.2.1/locations/FR/T2P/L1: " in each for each in hub.complaints)
    assert bool(hub.locations) == (status == 201)


async def test_a_token_that_is_not_encoded_is_refused(hub: OcpiHub, cpo: SmallCpo) -> None:
    raw = {"Authorization": f"Token {cpo.hub_token}"}
    answer = await cpo.tell("GET", "locations", *CPO, "L1", headers=raw)
    assert answer.status_code == 401
    assert "not encoded in base 64" in hub.complaints[0]


async def test_a_request_id_is_used_once_and_both_ids_come_back(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    number = str(uuid.uuid4())
    for _ in range(2):
        answer = await cpo.tell(
            "PUT", "locations", *CPO, "L1", body=location(), headers={"X-Request-ID": number}
        )
    assert answer.headers["X-Request-ID"] == number
    assert answer.headers["OCPI-to-party-id"] == "T2P"
    assert answer.headers["OCPI-from-party-id"] == "107"
    assert "was used before" in one(hub)


async def test_configuration_is_not_routed(hub: OcpiHub, cpo: SmallCpo) -> None:
    await cpo.ask("GET", hub.versions_url)
    assert "not used with credentials and versions" in one(hub)


async def test_a_body_that_is_no_json_is_an_error_of_http(hub: OcpiHub, cpo: SmallCpo) -> None:
    answer = await cpo.tell("PUT", "sessions", *CPO, "S1", content=b"{kwh: 1}")
    assert (answer.status_code, answer.json()["status_code"]) == (400, 2001)
    assert "no JSON" in one(hub)


async def test_two_tellings_of_one_object_at_once_are_complained_of(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    hub.slow_down(0.2)
    await asyncio.gather(put_location(cpo), put_location(cpo))
    assert "is not answered yet" in one(hub)
    other = location(id="L2")
    await asyncio.gather(put_location(cpo), cpo.tell("PUT", "locations", *CPO, "L2", body=other))
    assert len(hub.complaints) == 1


# Objects.


def _spoiled(change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in location(**change).items() if value != "absent"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"last_updated": "2026-11-27T06:00:00"}, "must be a time in UTC"),
        ({"last_updated": "2026-11-27T06:00:00+00:00"}, "must be a time in UTC"),
        ({"name": None}, "is null, where what is unknown is left out"),
        ({"country": "FR"}, "ISO 3166-1 alpha-3"),
        ({"country_code": "FRA"}, "ISO 3166-1 alpha-2"),
        ({"coordinates": {"latitude": 45.76, "longitude": 4.85}}, "must be a string as"),
        ({"coordinates": {"latitude": "45.76", "longitude": "4.850000"}}, "five to seven"),
        ({"address": "a" * 46}, "a string of 1 to 45 characters"),
        ({"id": "é"}, "printable ASCII"),
        ({"publish": "true"}, "must be true or false"),
        ({"time_zone": "Paris"}, "a time zone of the IANA"),
        ({"parking_type": "GARAGE"}, "a word of ParkingType"),
        ({"city": "absent"}, "Location.city is missing"),
        ({"citty": "Lyon"}, "Location.citty is no field"),
        ({"facilities": "WIFI"}, "must be a list"),
        ({"opening_times": {"twentyfourseven": 1}}, "must be true or false"),
    ],
)
async def test_a_location_that_breaks_the_specification_is_2001(
    hub: OcpiHub, cpo: SmallCpo, change: dict[str, Any], words: str
) -> None:
    answer = await cpo.tell("PUT", "locations", *CPO, "L1", body=_spoiled(change))
    assert (answer.status_code, answer.json()["status_code"]) == (200, 2001)
    assert any(words in each for each in hub.complaints), hub.complaints
    assert hub.locations == {}


async def test_what_the_guide_asks_for_is_complained_of_and_kept(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    body = location()
    del body["owner"], body["operator"]
    evse = body["evses"][0]
    evse["capabilities"] = []
    evse["evse_id"] = "FR*ABC*E0001*1"
    del evse["connectors"][0]["tariff_ids"]
    answer = await cpo.tell("PUT", "locations", *CPO, "L1", body=body)
    assert answer.json()["status_code"] == 1000
    assert [each.split(": ")[1].split(" of ")[0] for each in hub.complaints] == [
        "the guide asks for owner.name",
        "the guide asks for operator.name",
        "the guide asks for capabilities",
        "the guide asks for tariff_ids",
        "evse_id",
    ]


async def test_opening_hours_are_of_one_kind(hub: OcpiHub, cpo: SmallCpo) -> None:
    await put_location(cpo, opening_times={"twentyfourseven": True})
    assert hub.complaints == []
    await put_location(cpo, opening_times={"twentyfourseven": False})
    assert "twentyfourseven, or have regular_hours" in one(hub)


async def test_a_removed_point_needs_no_evse_id(hub: OcpiHub, cpo: SmallCpo) -> None:
    body = location()
    evse = body["evses"][0]
    evse["status"] = "REMOVED"
    del evse["evse_id"]
    await cpo.tell("PUT", "locations", *CPO, "L1", body=body)
    assert hub.complaints == []


async def test_the_address_and_the_body_name_the_same_object(hub: OcpiHub, cpo: SmallCpo) -> None:
    answer = await cpo.tell("PUT", "locations", *CPO, "L2", body=location())
    assert answer.json()["status_code"] == 2001
    assert "id is 'L1', and the address says 'L2'" in one(hub)


async def test_an_object_of_somebody_else_is_hidden(hub: OcpiHub, cpo: SmallCpo) -> None:
    body = location(party_id="XYZ")
    answer = await cpo.tell("PUT", "locations", "FR", "XYZ", "L1", body=body)
    assert answer.status_code == 404
    assert "the object is of FR*XYZ, and FR*T2P tells it" in one(hub)
    assert hub.locations == {}


async def test_a_status_is_patched_and_lifts_what_is_above(hub: OcpiHub, cpo: SmallCpo) -> None:
    await put_location(cpo)
    change = {"status": "CHARGING", "last_updated": at(5)}
    answer = await cpo.tell("PATCH", "locations", *CPO, "L1", "E1", body=change)
    assert answer.json()["status_code"] == 1000
    kept = hub.locations["FR", "T2P", "L1"]
    assert kept["evses"][0]["status"] == "CHARGING"
    assert kept["last_updated"] == at(5)
    await put_location(cpo)  # of before
    assert "last_updated goes back" in one(hub)
    assert kept["evses"][0]["status"] == "CHARGING"


async def test_a_patch_needs_its_time_and_an_object_that_is_known(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    unknown = {"status": "CHARGING", "last_updated": at(5)}
    answer = await cpo.tell("PATCH", "locations", *CPO, "L1", "E1", body=unknown)
    assert answer.status_code == 404
    await put_location(cpo)
    answer = await cpo.tell("PATCH", "locations", *CPO, "L1", "E1", body={"status": "CHARGING"})
    assert answer.json()["status_code"] == 2001
    assert "EVSE.last_updated is missing" in one(hub)


async def test_parts_of_a_location_are_put_and_read_alone(hub: OcpiHub, cpo: SmallCpo) -> None:
    await put_location(cpo)
    evse = location()["evses"][0] | {"uid": "E2", "last_updated": at(6)}
    await cpo.tell("PUT", "locations", *CPO, "L1", "E2", body=evse)
    connector = evse["connectors"][0] | {"max_amperage": 16, "last_updated": at(7)}
    await cpo.tell("PUT", "locations", *CPO, "L1", "E2", "1", body=connector)
    got = await cpo.tell("GET", "locations", *CPO, "L1", "E2", "1")
    assert got.json()["data"] == connector
    assert hub.locations["FR", "T2P", "L1"]["last_updated"] == at(7)
    assert (await cpo.tell("GET", "locations", *CPO, "L1", "E9")).status_code == 404
    assert hub.complaints == []


async def test_methods_that_a_module_has_not_are_405(hub: OcpiHub, cpo: SmallCpo) -> None:
    for method, module in (("DELETE", "locations"), ("POST", "sessions"), ("PUT", "cdrs")):
        answer = await cpo.tell(method, module, *CPO, "X", body={})
        assert answer.status_code == 405


async def test_an_address_that_is_guessed_leads_nowhere(hub: OcpiHub, cpo: SmallCpo) -> None:
    answer = await cpo.ask("GET", f"{hub.base_url}/ocpi/2.2.1", routed=False)
    assert answer.status_code == 404
    assert "addresses are read from the versions" in one(hub)


async def test_a_tariff_never_changes_its_price(hub: OcpiHub, cpo: SmallCpo) -> None:
    await cpo.tell("PUT", "tariffs", *CPO, "T1", body=tariff())
    ended = tariff(end_date_time=at(30), last_updated=at(1))
    await cpo.tell("PUT", "tariffs", *CPO, "T1", body=ended)
    assert hub.complaints == []
    dearer = tariff(last_updated=at(2))
    dearer["elements"][0]["price_components"][0]["price"] = 0.4
    await cpo.tell("PUT", "tariffs", *CPO, "T1", body=dearer)
    assert "a tariff is immutable, and changed its elements" in one(hub)
    assert (await cpo.tell("DELETE", "tariffs", *CPO, "T1")).status_code == 200
    assert (await cpo.tell("DELETE", "tariffs", *CPO, "T1")).status_code == 404
    assert hub.tariffs == {}


# Sessions.


async def test_a_session_at_a_place_that_nobody_told_is_2003(hub: OcpiHub, cpo: SmallCpo) -> None:
    answer = await put_session(cpo)
    assert (answer.status_code, answer.json()["status_code"]) == (200, 2003)
    assert "at a place that the hub was not told of" in one(hub)
    await put_location(cpo)
    assert (await put_session(cpo, evse_uid="E9")).json()["status_code"] == 2003
    assert hub.sessions == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kwh": 0.4}, "kwh of a session goes back from 0.5 to 0.4"),
        ({"status": "PENDING"}, "status of a session goes back from ACTIVE to PENDING"),
        ({"last_updated": at(1)}, "last_updated goes back"),
        ({"currency": "CHF"}, "currency of a session changes"),
        ({"status": "COMPLETED"}, "has an end_date_time"),
        ({"end_date_time": at(0)}, "end_date_time is before start_date_time"),
        ({"authorization_reference": "made-up"}, "was not given by the hub"),
        ({"cdr_token": TOKEN | {"contract_id": "FR-EMP-X"}}, "contract_id is 'FR-EMP-X'"),
    ],
)
async def test_a_session_that_contradicts_what_was_told_is_complained_of(
    hub: OcpiHub, cpo: SmallCpo, change: dict[str, Any], words: str
) -> None:
    await put_location(cpo)
    await put_session(cpo)
    await put_session(cpo, **({"last_updated": at(3)} | change))
    assert any(words in each for each in hub.complaints), hub.complaints


async def test_a_patch_does_not_name_another_object(hub: OcpiHub, cpo: SmallCpo) -> None:
    await put_location(cpo)
    await put_session(cpo)
    answer = await cpo.tell(
        "PATCH", "sessions", *CPO, "S1", body={"id": "S2", "last_updated": at(3)}
    )
    assert answer.json()["status_code"] == 2001
    assert "id is 'S2', and the address says 'S1'" in one(hub)


async def test_a_driver_of_nobody_is_not_to_be_named_but_the_subsidy_may_count_her(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    await put_location(cpo)
    await put_session(cpo, cdr_token=TOKEN | {"uid": "11223344"})
    assert "of none of the hub's partners: tell nobody" in one(hub)
    nameless = {
        "country_code": "$$",
        "party_id": "ADV",
        "uid": "12345671234567",
        "type": "RFID",
        "contract_id": "Gireve2Advenir",
    }
    body = session(id="S2", cdr_token=nameless)
    await cpo.tell("PUT", "sessions", *CPO, "S2", body=body)
    assert len(hub.complaints) == 1


async def test_patched_periods_are_added(hub: OcpiHub, cpo: SmallCpo) -> None:
    await put_location(cpo)
    first, second = cdr()["charging_periods"]
    await put_session(cpo, charging_periods=[first])
    change = {"charging_periods": [second], "kwh": 3.5, "last_updated": at(21)}
    await cpo.tell("PATCH", "sessions", *CPO, "S1", body=change)
    assert hub.sessions["FR", "T2P", "S1"]["charging_periods"] == [first, second]
    assert hub.complaints == []


async def test_a_session_names_the_authorization_that_was_given(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    await put_location(cpo)
    where = {"location_id": "L1", "evse_uids": ["E1"]}
    info = (await cpo.tell("POST", "tokens", BADGE, "authorize", body=where)).json()["data"]
    assert (info["allowed"], info["location"]) == ("ALLOWED", where)
    assert problems("Token", info["token"]) == []
    reference = info["authorization_reference"]
    await put_session(cpo, auth_method="AUTH_REQUEST", authorization_reference=reference)
    assert hub.complaints == []
    await put_session(cpo, auth_method="AUTH_REQUEST", last_updated=at(3))
    assert "authorization_reference is missing" in one(hub)


@pytest.mark.parametrize(
    ("uid", "body", "http_status", "ocpi_status"),
    [
        ("0011223344556677"[:14], {"location_id": "L1"}, 404, 2004),
        (BADGE, None, 200, 2002),
        (BADGE, {"evse_uids": ["E1"]}, 200, 2002),
        (BADGE, {"location_id": 1}, 200, 2001),
        ("123", {"location_id": "L1"}, 200, 2001),
    ],
)
async def test_an_authorization_that_cannot_be_given_says_why(
    hub: OcpiHub, cpo: SmallCpo, uid: str, body: Any, http_status: int, ocpi_status: int
) -> None:
    answer = await cpo.tell("POST", "tokens", uid, "authorize", body=body)
    assert (answer.status_code, answer.json()["status_code"]) == (http_status, ocpi_status)
    assert "data" not in answer.json()
    assert len(hub.complaints) == (http_status == 200)  # not to know a token is no fault


async def test_a_blocked_badge_is_answered_with_its_state_and_no_reference(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    hub.add_token("AABBCCDD", "FR-EMP-C2", allowed="BLOCKED")
    hub.add_token("app-user-1", "FR-EMP-C3", type="APP_USER")
    where = {"location_id": "L1"}
    info = (await cpo.tell("POST", "tokens", "aabbccdd", "authorize", body=where)).json()["data"]
    assert info["allowed"] == "BLOCKED"
    assert "authorization_reference" not in info
    url = f"{cpo.hub_endpoints['tokens']}/app-user-1/authorize"
    assert (await cpo.ask("POST", f"{url}?type=APP_USER", where)).status_code == 200
    assert (await cpo.ask("POST", f"{url}?type=OTHER", where)).status_code == 404


# CDRs.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"total_energy": 3.6}, "total_energy is 3.6, and the charging periods sum up to 3.5"),
        ({"total_time": 0.49}, "total_time is 0.49, and the charging periods sum up to 0.5000"),
        ({"total_parking_time": 0.1}, "total_parking_time is 0.1"),
        ({"end_date_time": at(30)}, "total_time is longer than"),
        ({"total_cost": {"excl_vat": 1.07, "incl_vat": 1.26}}, "total_cost.excl_vat is 1.07"),
        ({"start_date_time": at(0)}, "does not start with the session"),
        ({"end_date_time": at(20)}, "starts after the end"),
        ({"session_id": "S9"}, "of which the hub was not told"),
        ({"cdr_location": cdr()["cdr_location"] | {"evse_uid": "E9"}}, "of a place that the hub"),
        ({"currency": "CHF"}, "currency is 'CHF', and the session's 'EUR'"),
        ({"tariffs": []}, "a charging period is of tariff 'T1'"),
        ({"id": "C" * 37}, "at most 36 characters"),
        ({"total_energy": 3.50001}, "at most four decimals"),
        ({"currency": "EURO"}, "a currency of ISO 4217"),
    ],
)
async def test_a_record_that_disagrees_with_itself_is_complained_of(
    hub: OcpiHub, cpo: SmallCpo, change: dict[str, Any], words: str
) -> None:
    await put_location(cpo)
    await put_session(cpo)
    await cpo.tell("POST", "cdrs", body=cdr(**change))
    assert any(words in each for each in hub.complaints), hub.complaints


async def test_a_record_is_told_once_and_never_otherwise(hub: OcpiHub, cpo: SmallCpo) -> None:
    await put_location(cpo)
    await put_session(cpo)
    first = await cpo.tell("POST", "cdrs", body=cdr())
    again = await cpo.tell("POST", "cdrs", body=cdr())
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["Location"] == again.headers["Location"]
    assert "posted twice" in one(hub)
    other = await cpo.tell("POST", "cdrs", body=cdr(remark="paid otherwise"))
    assert other.json()["status_code"] == 2001
    assert "a CDR is immutable" in hub.complaints[1]
    assert "remark" not in hub.cdrs["FR", "T2P", "C1"]


@pytest.mark.parametrize("fault", ["cut", "lost"])
async def test_a_record_that_got_no_whole_answer_may_be_told_again(
    hub: OcpiHub, cpo: SmallCpo, fault: str
) -> None:
    await put_location(cpo)
    await put_session(cpo)
    hub.fail(fault)
    with pytest.raises(LOST):
        await cpo.tell("POST", "cdrs", body=cdr())
    assert len(hub.cdrs) == 1
    assert hub.received[-1].http_status == 0
    assert (await cpo.tell("POST", "cdrs", body=cdr())).json()["status_code"] == 1000
    assert hub.complaints == []


# Faults.


@pytest.mark.parametrize(
    ("fault", "http_status", "ocpi_status"),
    [
        ("500", 500, 3000),
        ("503", 503, None),
        ("html", 200, None),
        ("ocpi3000", 200, 3000),
        ("ocpi2001", 200, 2001),
    ],
)
async def test_a_fault_does_nothing_and_passes(
    hub: OcpiHub, cpo: SmallCpo, fault: str, http_status: int, ocpi_status: int | None
) -> None:
    hub.fail(fault)
    assert (await put_location(cpo)).status_code == http_status
    assert hub.locations == {}
    last = hub.received[-1]
    assert (last.http_status, last.ocpi_status) == (http_status, ocpi_status)
    assert (last.body, last.headers["OCPI-from-party-id"]) == (location(), "T2P")
    assert (await put_location(cpo)).status_code == 201


async def test_a_connection_may_end_or_stay_silent(hub: OcpiHub, cpo: SmallCpo) -> None:
    hub.fail("refuse")
    with pytest.raises(LOST):
        await put_location(cpo)
    hub.fail("timeout")
    with pytest.raises(httpx.ReadTimeout):
        await cpo.tell("PUT", "locations", *CPO, "L1", body=location(), timeout_s=0.2)
    assert hub.locations == {}
    # Who gave up waiting may ask again: the request before is over.
    await asyncio.sleep(0.1)
    await put_location(cpo)
    assert hub.complaints == []


async def test_a_slow_answer_is_a_good_one(hub: OcpiHub, cpo: SmallCpo) -> None:
    hub.slow_down(0, slow_s=0.1)
    hub.fail("slow")
    assert (await put_location(cpo)).status_code == 201


async def test_faults_are_counted_and_chosen(hub: OcpiHub, cpo: SmallCpo) -> None:
    hub.fail("500", times=2, match=lambda method, path: "/sessions/" in path and method == "PUT")
    await put_location(cpo)
    statuses = [(await put_session(cpo)).status_code for _ in range(3)]
    assert statuses == [500, 500, 201]
    hub.fail("503", times=None)
    assert [(await put_session(cpo)).status_code for _ in range(3)] == [503, 503, 503]
    hub.mend()
    assert (await put_session(cpo)).status_code == 200
    with pytest.raises(ValueError, match="no fault"):
        hub.fail("flood")


async def test_the_port_refuses_and_is_back(hub: OcpiHub, cpo: SmallCpo) -> None:
    for _ in range(2):
        hub.down()
        with pytest.raises(httpx.ConnectError):
            await put_location(cpo)
        hub.up()
        assert (await put_location(cpo)).status_code in (200, 201)


async def test_a_connection_is_kept_for_the_next_request(hub: OcpiHub, cpo: SmallCpo) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(hub.base_url.split(":")[2]))
    for _ in range(2):
        writer.write(b"GET /ocpi/versions HTTP/1.1\r\nHost: x\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 401")
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        assert json.loads(await reader.readexactly(length))["status_code"] == 2000
    writer.close()
    await writer.wait_closed()


# Commands.


async def _answer_order(hub: OcpiHub, cpo: SmallCpo, result: dict[str, Any]) -> httpx.Response:
    """The small operator tells what came of its last order."""
    await cpo.is_ordered.wait()
    return await cpo.ask("POST", cpo.orders[-1][1]["response_url"], result)


async def test_a_start_is_answered_at_once_and_again_later(hub: OcpiHub, cpo: SmallCpo) -> None:
    (response, result), _ = await asyncio.gather(
        hub.start_session("L1", "E1", BADGE, connector_id="1"),
        _answer_order(hub, cpo, {"result": "ACCEPTED"}),
    )
    assert (response.result, response.timeout_s) == ("ACCEPTED", 30)
    assert result is not None and result.result == "ACCEPTED"
    name, body = cpo.orders[0]
    assert name == "START_SESSION"
    assert problems("Token", body["token"]) == []
    assert body["location_id"] == "L1"
    sent = cpo.seen[-1][2]
    assert (sent["ocpi-from-party-id"], sent["ocpi-to-party-id"]) == ("EMP", "T2P")
    assert hub.complaints == []
    await put_location(cpo)
    reference = body["authorization_reference"]
    await put_session(cpo, auth_method="COMMAND", authorization_reference=reference)
    assert hub.complaints == []


async def test_a_stop_that_gets_no_result_ends_in_time(hub: OcpiHub, cpo: SmallCpo) -> None:
    response, result = await hub.stop_session("S1", timeout_s=0.1)
    assert (response.result, result) == ("ACCEPTED", None)
    assert cpo.orders[0][1]["session_id"] == "S1"


async def test_a_refused_command_has_no_result(hub: OcpiHub, cpo: SmallCpo) -> None:
    cpo.response = {"result": "UNKNOWN_SESSION", "timeout": 0}
    response, result = await hub.stop_session("S9")
    assert (response.result, result) == ("UNKNOWN_SESSION", None)
    answer = await _answer_order(hub, cpo, {"result": "ACCEPTED"})
    assert answer.json()["status_code"] == 2001
    assert "which was not accepted" in one(hub)


async def test_a_result_that_comes_later_than_promised_is_complained_of() -> None:
    now = [datetime(2026, 11, 27, 6, tzinfo=UTC)]
    hub = OcpiHub(clock=lambda: now[0])
    async with hub.serve(), SmallCpo().serve() as cpo:
        await hub.register(cpo.versions_url, "token-a")
        await hub.stop_session("S1", timeout_s=0.01)
        now[0] += timedelta(seconds=31)
        assert (await _answer_order(hub, cpo, {"result": "FAILED"})).status_code == 200
    assert "STOP_SESSION came later than its timeout" in one(hub)


async def test_what_the_guide_does_not_offer_is_not_supported(hub: OcpiHub, cpo: SmallCpo) -> None:
    cpo.response = {"result": "NOT_SUPPORTED", "timeout": 0}
    body = {"location_id": "L1", "evse_uid": "E1", "connector_id": "1"}
    assert (await hub.command("UNLOCK_CONNECTOR", body)).result == "NOT_SUPPORTED"
    assert hub.complaints == []
    cpo.response = {"result": "ACCEPTED", "timeout": 30}
    await hub.command("UNLOCK_CONNECTOR", body)
    assert "not NOT_SUPPORTED" in one(hub)


async def test_a_start_told_twice_may_be_answered_twice_and_no_more(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    await asyncio.gather(
        hub.start_session("L1", "E1", BADGE), _answer_order(hub, cpo, {"result": "ACCEPTED"})
    )
    await hub.repeat_last("commands")
    (_, first), (_, second) = cpo.orders
    assert first == second
    requests = [headers["x-request-id"] for _, path, headers in cpo.seen if "commands" in path]
    assert len(set(requests)) == 2
    await _answer_order(hub, cpo, {"result": "ACCEPTED"})
    assert hub.complaints == []
    await _answer_order(hub, cpo, {"result": "ACCEPTED"})
    assert "told 2 times, and has 3 results" in one(hub)


async def test_a_result_of_no_command_or_of_a_wrong_word_is_complained_of(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    await cpo.tell("POST", "commands", "START_SESSION", "x", body={"result": "ACCEPTED"})
    assert "a command that the hub did not tell" in hub.complaints[0]
    await cpo.tell("POST", "commands", "START_SESSION", "x", body={"result": "OK"})
    assert "a word of CommandResultType" in hub.complaints[1]


# Lists and tokens of the operator.


async def test_lists_are_read_to_the_end(hub: OcpiHub, cpo: SmallCpo) -> None:
    cpo.lists["locations"] = [location(id=f"L{number}") for number in range(21)]
    found = await hub.pull("locations", page=5)
    assert [each["id"] for each in found] == [f"L{number}" for number in range(21)]
    assert sum(path == "locations" for _, path, _ in cpo.seen) == 5
    assert hub.complaints == []


async def test_lists_are_read_between_two_times(hub: OcpiHub, cpo: SmallCpo) -> None:
    cpo.lists["cdrs"] = [cdr(id=f"C{minute}", last_updated=at(minute)) for minute in range(10)]
    since, until = (datetime(2026, 11, 27, 6, minute, tzinfo=UTC) for minute in (2, 8))
    found = await hub.pull("cdrs", since, until, page=2)
    assert [each["id"] for each in found] == [f"C{minute}" for minute in range(2, 8)]
    assert hub.complaints == []


def _spoil_list(**changes: Any) -> Any:
    def spoil(path: str, given: Given) -> None:
        if path == "locations":
            for name, value in changes.items():
                if value is None:
                    given.headers.pop(name.replace("_", "-"), None)
                else:
                    given.headers[name.replace("_", "-")] = value

    return spoil


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        ({"X_Total_Count": None}, "X-Total-Count is ''"),
        ({"X_Total_Count": "7"}, "X-Total-Count is 7, and 6 came"),
        ({"X_Limit": None}, "X-Limit is ''"),
        ({"X_Limit": "100"}, "X-Limit is 100, and 3 were asked for"),
        ({"Link": None}, "X-Total-Count is 6, and 3 came"),
    ],
)
async def test_a_list_that_counts_wrong_is_complained_of(
    hub: OcpiHub, cpo: SmallCpo, spoiled: dict[str, str | None], words: str
) -> None:
    cpo.lists["locations"] = [location(id=f"L{number}") for number in range(6)]
    cpo.spoil = _spoil_list(**spoiled)
    await hub.pull("locations", page=3)
    assert any(words in each for each in hub.complaints), hub.complaints


async def test_a_page_that_loses_the_filter_or_repeats_is_complained_of(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    cpo.lists["locations"] = [location(id=f"L{number}") for number in range(4)]

    def spoil(path: str, given: Given) -> None:
        if "Link" in given.headers:
            given.headers["Link"] = f'<{cpo.url}/cpo/locations?offset=1&limit=3>; rel="next"'
            cpo.spoil = lambda path, given: None

    cpo.spoil = spoil
    await hub.pull("locations", datetime(2026, 11, 27, tzinfo=UTC), page=3)
    told = "\n".join(hub.complaints)
    assert "lost date_from" in told
    assert "begins at 1, and 3 came" in told
    assert "Location L1 came twice" in told


async def test_an_object_of_a_list_is_checked_as_one_that_is_told(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    cpo.lists["locations"] = [location(country="FR")]
    await hub.pull("locations")
    assert "alpha-3" in one(hub)


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        ({"echo": False}, "X-Request-ID is None, not that of the request"),
        ({"media_type": "text/plain"}, "Content-Type is 'text/plain"),
        ({"status_code": 100}, "status_code is 100"),
        ({"http_status": 404}, "HTTP 404 with OCPI 1000"),
        ({"headers": {"OCPI-to-party-id": "XYZ"}}, "ocpi-to-party-id is 'XYZ', not 'EMP'"),
    ],
)
async def test_an_answer_of_the_operator_that_is_wrong_is_complained_of(
    hub: OcpiHub, cpo: SmallCpo, spoiled: dict[str, Any], words: str
) -> None:
    def spoil(path: str, given: Given) -> None:
        for name, value in spoiled.items():
            setattr(given, name, value)

    cpo.spoil = spoil
    await hub.put_token(hub.add_token(BADGE, CONTRACT))
    assert any(words in each for each in hub.complaints), hub.complaints


async def test_an_operator_that_is_away_is_a_complaint_in_words(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    hub.link.endpoints["locations", "SENDER"] = "http://127.0.0.1:9/locations"
    with pytest.raises(HubComplaint, match="got no answer"):
        await hub.pull("locations")


async def test_an_answer_to_a_token_that_is_not_known_has_no_way_back(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    cpo.token_c = "another"
    assert (await hub.put_token(hub.add_token(BADGE, CONTRACT))).http_status == 401
    assert hub.complaints == []


async def test_tokens_are_told_changed_and_read(hub: OcpiHub, cpo: SmallCpo) -> None:
    token = hub.add_token(BADGE, CONTRACT, last_updated=at(0))
    assert (await hub.put_token(token)).is_good
    assert (await hub.patch_token(BADGE, {"valid": False, "last_updated": at(1)})).is_good
    kept = (await hub.get_token(BADGE)).data
    assert (kept["valid"], kept["last_updated"]) == (False, at(1))
    assert cpo.seen[-1][1] == f"tokens/FR/EMP/{BADGE}"
    assert (await hub.repeat_last("tokens")).http_status == 200
    assert hub.complaints == []


async def test_of_two_states_in_the_wrong_order_the_newer_must_stay(
    hub: OcpiHub, cpo: SmallCpo
) -> None:
    older = hub.add_token(BADGE, CONTRACT, last_updated=at(0))
    newer = older | {"valid": False, "last_updated": at(5)}
    assert (await hub.reorder(older, newer)).data == newer
    assert hub.complaints == []

    def forget(path: str, given: Given) -> None:
        if given.data is not None:
            given.data = older

    cpo.spoil = forget
    await hub.reorder(older, newer)
    assert "told in the wrong order" in one(hub)


# The examples of the specification.


def _example(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


@needs_examples
async def test_the_official_examples_are_taken(hub: OcpiHub) -> None:
    """Of the operator BE*BEC, in the order of a real life; what they leave out is the guide's."""
    async with SmallCpo(("BE", "BEC")).serve() as cpo:
        await hub.register(cpo.versions_url, "token-a")
        hub.add_token("012345678", "DE8ACC12E46L89", country_code="DE", party_id="TNM")
        hub.add_token("123abc", "NL-TST-C12345678-S", country_code="NL", party_id="TST")
        place = _example("location_example")
        assert (await cpo.tell("PUT", "locations", "BE", "BEC", "LOC1", body=place)).json()[
            "status_code"
        ] == 1000
        assert "owner.name" in one(hub)
        await cpo.tell(
            "PATCH",
            "locations",
            *("BE", "BEC", "LOC1", "3256"),
            body=_example("location_patch_example_status"),
        )
        ended = _example("session_example_2_short_finished")
        await cpo.tell("PUT", "sessions", "BE", "BEC", "101", body=ended)
        posted = await cpo.tell("POST", "cdrs", body=_example("cdr_example"))
        assert posted.status_code == 201
        told = [each.partition(": ")[2] for each in hub.complaints[1:]]
        assert told == [
            "the UID of a badge has 8 or 14 hexadecimal digits, not '123abc'",
            "the UID of a badge has 8 or 14 hexadecimal digits, not '012345678'",
            "session_id may be missing only where sessions are not told at all",
        ]
        assert hub.locations["BE", "BEC", "LOC1"]["evses"][0]["status"] == "CHARGING"


@needs_examples
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Location", "location_example_parking_garage_opening_hours"),
        ("Tariff", "tariff_4_complex"),
        ("Tariff", "tariff_17_reservation_with_expire_fee"),
        ("Token", "token_example_1_app_user"),
        ("Token", "token_example_2_full_rfid"),
        ("Credentials", "credentials_example3"),
        ("Session", "session_example_1_simple_start"),
    ],
)
def test_an_official_example_breaks_nothing(kind: str, name: str) -> None:
    example = _example(name)
    assert problems(kind, example) == []
    for field in example:  # and each of its fields is looked at
        spoiled = deepcopy(example) | {field: None}
        assert any(field in words for words in problems(kind, spoiled)), field


async def test_identifiers_and_the_time_may_be_given() -> None:
    numbers = (str(uuid.UUID(int=number)) for number in range(1, 99))
    then = datetime(2026, 11, 27, 6, tzinfo=UTC)
    hub = OcpiHub(clock=lambda: then, new_id=lambda: next(numbers))
    async with hub.serve(), SmallCpo().serve() as cpo:
        await hub.register(cpo.versions_url, "token-a")
        assert cpo.hub_token == f"hub-b-{uuid.UUID(int=5)}"
        assert hub.received[0].at == then
        answer = await cpo.tell("GET", "sessions", *CPO, "S1")
        assert answer.json()["timestamp"] == NOW


# The command line.


async def test_a_watched_hub_says_what_comes_and_what_is_wrong() -> None:
    told: list[str] = []
    async with SmallCpo().serve() as cpo:
        cpo.lists["locations"] = [location(country="FR")]
        plan = Watch(
            port=0,
            badges=((BADGE, CONTRACT),),
            cpo_url=cpo.versions_url,
            token_a="token-a",
            duration_s=0.01,
        )
        await watch(OcpiHub(), plan, told.append)
    assert told[0].startswith("the hub FR*107 is at http://127.0.0.1:")
    assert "registered with FR*T2P" in told
    assert "locations: 1" in told
    assert "GET /ocpi/versions: HTTP 200, OCPI 1000" in told
    assert [each for each in told if each.startswith("COMPLAINT ") and "alpha-3" in each]


async def test_an_unanswered_request_is_said_to_be_one() -> None:
    told: list[str] = []
    listens = asyncio.Event()

    def say(text: str) -> None:
        told.append(text)
        listens.set()

    hub = OcpiHub()
    hub.fail("refuse")
    async with SmallCpo().serve() as cpo:
        cpo.hub_token = "unknown"
        watching = asyncio.create_task(watch(hub, Watch(port=0), say))
        await listens.wait()
        with pytest.raises(LOST):
            await cpo.ask("GET", hub.versions_url, routed=False)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert told[1:] == ["GET /ocpi/versions: no answer"]


def test_the_verb_ends_with_1_where_it_cannot_register() -> None:
    command = ["ocpi-hub", "--port", "0", "--cpo-url", "http://127.0.0.1:9/", "--token", "x"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "got no answer" in done.output
    for wrong in (command[:-2], [*command, "--party", "FR107"], [*command, "--badge", "AABBCCDD"]):
        assert CliRunner().invoke(app, wrong).exit_code == 2
    quiet = CliRunner().invoke(app, ["ocpi-hub", "--port", "0", "--duration-s", "0.01"])
    assert quiet.exit_code == 0, quiet.output
