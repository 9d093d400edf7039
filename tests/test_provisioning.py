"""The import: all or nothing, told line by line, and twice the same."""

from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from csms import passwords, provisioning
from csms.provisioning import ImportReport
from csms.store import sites, static_changes, stations

EXAMPLE = Path(provisioning.__file__).parent.parent / "data" / "stations-example.csv"
IRVE_HEADER = (
    "nom_amenageur,nom_enseigne,id_station_itinerance,id_station_local,nom_station,"
    "adresse_station,code_insee_commune,coordonneesXY,nbre_pdc,id_pdc_itinerance,id_pdc_local,"
    "puissance_nominale,prise_type_ef,prise_type_2,prise_type_combo_ccs,prise_type_chademo,"
    "prise_type_autre,cable_t2_attache"
)


@pytest.fixture
def load(pool: AsyncConnectionPool, tmp_path: Path) -> Any:
    """Import a text (or bytes) as a file."""

    async def load(content: str | bytes, **options: Any) -> ImportReport:
        path = tmp_path / "import.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return await provisioning.import_file(pool, path, **options)

    return load


async def count(pool: AsyncConnectionPool, what: str = "station") -> int:
    async with pool.connection() as connection:
        if what == "site":
            return await sites.count_sites(connection, client_id=None)
        return await stations.count_stations(connection)


async def station(pool: AsyncConnectionPool, station_id: str) -> stations.Station:
    async with pool.connection() as connection:
        found = await stations.get_station(connection, station_id)
    assert found is not None
    return found


def told(report: ImportReport) -> list[tuple[int, str | None]]:
    """Where the problems are."""
    return [(problem.line, problem.column) for problem in report.problems]


async def test_shipped_example_is_good_and_twice_the_same(pool: AsyncConnectionPool) -> None:
    first = await provisioning.import_file(pool, EXAMPLE)
    assert first.problems == []
    assert dict(first.created) == {
        "client": 2,
        "site": 2,
        "station": 4,
        "EVSE": 4,
        "connector": 5,
    }
    assert set(first.generated_passwords) == {"TILLEULS-01", "TILLEULS-02", "HORIZON-01"}
    horizon = await station(pool, "HORIZON-01")
    assert (horizon.client, horizon.security_profile) == ("Société Horizon", 2)
    assert [evse["evse_uid"] for evse in horizon.evses] == ["FRT2PE690010", "FRT2PE690011"]
    assert [k["type"] for k in horizon.evses[0]["connectors"]] == ["sType2", "sCEE-7-7"]
    assert horizon.evses[0]["power_w_max"] == 22000
    assert (await station(pool, "DEPOT-TEST")).client == "Time2Plug"
    second = await provisioning.import_file(pool, EXAMPLE)
    assert second.problems == []
    assert not +second.created
    assert not +second.updated
    assert second.generated_passwords == {}


async def test_generated_password_opens_the_door(pool: AsyncConnectionPool, load: Any) -> None:
    report = await load("station_id,password\nCP-1,generate\n")
    async with pool.connection() as connection, connection.transaction():
        config = await stations.lock_config(connection, "CP-1")
    assert config is not None
    assert config.password_hash is not None
    assert passwords.is_fast(config.password_hash)
    assert passwords.verify(config.password_hash, report.generated_passwords["CP-1"].encode())
    assert config.security_profile == 1


async def test_chosen_password_is_kept_when_it_is_the_same(
    pool: AsyncConnectionPool, load: Any
) -> None:
    text = "station_id,password\nCP-1,correct horse battery\n"
    await load(text)
    again = await load(text)
    assert again.unchanged["station"] == 1
    changed = await load(text.replace("battery", "staple"))
    assert changed.updated["station"] == 1


async def test_changed_row_updates_and_empty_cells_keep(
    pool: AsyncConnectionPool, load: Any
) -> None:
    await load(
        "station_id,site_id,vendor,model,evse_id,connector_type,power_w_max\n"
        "CP-1,north,Acme,W1,1,type2,7400\nCP-2,north,Acme,W1,1,type2,7400\n"
    )
    report = await load("station_id,vendor,model,evse_id,power_w_max\nCP-1,,W2,1,11000\nCP-2,,,,\n")
    assert report.problems == []
    assert dict(+report.updated) == {"station": 1, "EVSE": 1, "connector": 1}
    changed = await station(pool, "CP-1")
    assert (changed.vendor, changed.model, changed.site_id) == ("Acme", "W2", "north")
    connector = changed.evses[0]["connectors"][0]
    assert (connector["type"], connector["power_w_max"]) == ("sType2", 11000)


async def test_semicolons_and_a_byte_order_mark_are_understood(
    pool: AsyncConnectionPool, load: Any
) -> None:
    text = 'Station_ID;site_id;site_name;latitude\r\nCP-1;n;"Garage; nord";48,85\r\n\r\n'
    report = await load(b"\xef\xbb\xbf" + text.encode())
    assert report.problems == []
    async with pool.connection() as connection:
        site = await sites.get_site(connection, "n")
    assert site is not None
    assert (site.name, site.static) == ("Garage; nord", {"latitude": 48.85})


async def test_one_bad_line_refuses_the_whole_file(pool: AsyncConnectionPool, load: Any) -> None:
    report = await load("station_id,site_id,power_w_max,evse_id\nCP-1,n,7400,1\nCP-2,n,7.4,1\n")
    assert told(report) == [(3, "power_w_max")]
    assert report.problems[0].value == "7.4"
    assert "watts" in str(report.problems[0])
    assert "Nothing was imported" in report.summary()
    assert (await count(pool), await count(pool, "site")) == (0, 0)


async def test_dry_run_writes_nothing(pool: AsyncConnectionPool, load: Any) -> None:
    report = await load("station_id,site_id,password\nCP-1,n,generate\n", dry_run=True)
    assert report.created["station"] == 1
    assert report.generated_passwords == {}
    assert "dry run" in report.summary()
    assert (await count(pool), await count(pool, "site")) == (0, 0)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("", [(1, None)]),
        ("name\nx\n", [(1, "name"), (1, "station_id")]),
        ("station_id,station_id\nx,x\n", [(1, "station_id")]),
        ("station_id,protocol\n,ocpp1.6\n", [(2, "station_id")]),
        ("station_id,protocol\nA,ocpp1.5\n", [(2, "protocol")]),
        ("station_id,protocol\nA\n", [(2, None)]),
        ("station_id,security_profile\nA,2\n", [(2, "security_profile")]),
        ("station_id,password\nA,short\n", [(2, "password")]),
        ("station_id,site_name\nA,North\n", [(2, "site_name")]),
        ("station_id,site_id,time_zone\nA,n,Europe\n", [(2, "time_zone")]),
        ("station_id,site_id,latitude\nA,n,91\n", [(2, "latitude")]),
        ("station_id,evse_id\nA,0\n", [(2, "evse_id")]),
        ("station_id,evse_id\nA,²\n", [(2, "evse_id")]),
        ("station_id,connector_type\nA,type2\n", [(2, "connector_type")]),
        ("station_id,evse_id,connector_type\nA,1,usb\n", [(2, "connector_type")]),
        ("station_id,evse_id,power_w_max\nA,1,22\n", [(2, "power_w_max")]),
        ("station_id,evse_id\nA,1\nA,1\n", [(3, "connector_id")]),
        ("station_id,vendor\nA,x\nA,y\n", [(3, "vendor")]),
        ("station_id,site_id\nA,x\nA,y\n", [(3, "site_id")]),
        ("station_id,site_id,client\nA,x,one\nB,x,two\n", [(3, "client")]),
        ("station_id,evse_id,evse_uid\nA,1,FR*T2P*E1\nB,1,frt2pe1\n", [(3, "evse_uid")]),
        ("station_id,evse_id,evse_uid\nA,1,12\n", [(2, "evse_uid")]),
        ('station_id,vendor\nA,"x\n', [(2, None)]),
        ("station_id\nA\x00\n", [(2, None)]),
        ("station_id\nA\x07B\n", [(2, "station_id")]),
        (b"station_id\nA\nB\xe9\n", [(3, None)]),
    ],
)
async def test_refusal_says_line_and_column(
    load: Any, pool: AsyncConnectionPool, text: str | bytes, places: list[tuple[int, str | None]]
) -> None:
    assert told(await load(text)) == places
    assert await count(pool) == 0


async def test_refused_password_is_not_shown(load: Any) -> None:
    report = await load("station_id,password\nA,hunter2\n")
    assert "hunter2" not in str(report.problems[0])
    contradiction = await load("station_id,password\nA,hunter2hunter2\nA,hunter3hunter3\n")
    assert told(contradiction) == [(3, "password")]
    assert "hunter" not in str(contradiction.problems[0])


async def test_uid_of_another_evse_is_refused(load: Any) -> None:
    await load("station_id,evse_id,evse_uid\nA,1,FRT2PE1\n")
    report = await load("station_id,evse_id,evse_uid\nB,1,FRT2PE1\n")
    assert told(report) == [(2, "evse_uid")]
    assert "station A" in report.problems[0].reason


async def test_site_given_to_a_client_takes_its_stations_along(
    pool: AsyncConnectionPool, load: Any
) -> None:
    await load("station_id,site_id\nA,n\nB,n\n")
    report = await load("station_id,site_id,client\nA,n,Les Tilleuls\n")
    assert report.problems == []
    assert [(await station(pool, name)).client for name in "AB"] == ["Les Tilleuls"] * 2


async def test_retired_station_comes_back(pool: AsyncConnectionPool, load: Any) -> None:
    await load("station_id\nA\n")
    async with pool.connection() as connection:
        await connection.execute("UPDATE station SET retired_at = now()")
    report = await load("station_id\nA\n")
    assert report.created["station"] == 1
    assert await count(pool) == 1


def irve_row(pdc: str, **changes: str) -> str:
    row = {
        "nom_amenageur": "Société X",
        "nom_enseigne": "Réseau",
        "id_station_itinerance": "FRA68P68021001",
        "id_station_local": "",
        "nom_station": "Picpus",
        "adresse_station": "1 avenue de la Paix 75001 Paris",
        "code_insee_commune": "75101",
        "coordonneesXY": '"[7.48710500,48.345345]"',
        "nbre_pdc": "2",
        "id_pdc_itinerance": pdc,
        "id_pdc_local": "",
        "puissance_nominale": "22",
        "prise_type_ef": "true",
        "prise_type_2": "true",
        "prise_type_combo_ccs": "false",
        "prise_type_chademo": "false",
        "prise_type_autre": "FALSE",
        "cable_t2_attache": "",
    } | changes
    return ",".join(row.values())


async def test_irve_file_becomes_public_stations(pool: AsyncConnectionPool, load: Any) -> None:
    text = "\n".join(
        [
            IRVE_HEADER,
            irve_row("FRA68E680210015"),
            irve_row("FR*A68*E680210016", cable_t2_attache="true", puissance_nominale="7.4"),
        ]
    )
    report = await load(text)
    assert (report.problems, report.warnings) == ([], [])
    found = await station(pool, "FRA68P68021001")
    assert (found.site_id, found.public, found.client) == ("FRA68P68021001", True, "Time2Plug")
    assert [(e["evse_id"], e["evse_uid"], e["power_w_max"]) for e in found.evses] == [
        (1, "FRA68E680210015", 22000),
        (2, "FRA68E680210016", 7400),
    ]
    assert [k["type"] for k in found.evses[0]["connectors"]] == ["sCEE-7-7", "sType2"]
    assert found.evses[1]["connectors"][1]["type"] == "cType2"
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT static FROM evse WHERE evse_id = 1")
        ((static,),) = await cursor.fetchall()
        site = await sites.get_site(connection, "FRA68P68021001")
    assert static == {}
    assert site is not None
    assert site.static["owner_name"] == "Société X"
    assert site.static["afirev_station_id"] == "FRA68P68021001"
    assert (site.static["postal_code"], site.static["city"]) == ("75001", "Paris")
    assert (site.name, site.static["longitude"]) == ("Picpus", 7.487105)
    turned = "\n".join([text.splitlines()[i] for i in (0, 2, 1)])
    again = await load(turned)
    assert not +again.created
    assert not +again.updated


async def test_irve_points_without_roaming_use_their_local_ids(
    pool: AsyncConnectionPool, load: Any
) -> None:
    local = {
        "id_station_itinerance": "Non concerné",
        "id_station_local": "GARAGE 7",
        "nbre_pdc": "1",
    }
    text = f"{IRVE_HEADER}\n{irve_row('Non concerné', id_pdc_local='P1', **local)}\n"
    assert (await load(text)).problems == []
    found = await station(pool, "GARAGE 7")
    assert [evse["evse_uid"] for evse in found.evses] == [None]
    assert not +(await load(text)).created


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"puissance_nominale": "22000"}, "puissance_nominale"),
        ({"puissance_nominale": "0"}, "puissance_nominale"),
        ({"coordonneesXY": "48.3"}, "coordonneesxy"),
        ({"prise_type_ef": "false", "prise_type_2": "false"}, None),
        ({"prise_type_2": "peut-être"}, "prise_type_2"),
        ({"id_station_itinerance": "?"}, "id_station_itinerance"),
        ({"id_station_itinerance": "Non concerné"}, "id_station_local"),
        ({"nom_station": ""}, "nom_station"),
    ],
)
async def test_irve_refusal_says_line_and_column(
    load: Any, changes: dict[str, str], column: str | None
) -> None:
    report = await load(f"{IRVE_HEADER}\n{irve_row('FRA68E680210015', nbre_pdc='1', **changes)}\n")
    assert told(report) == [(2, column)]


async def test_irve_oddities_are_taken_and_told(load: Any) -> None:
    report = await load(f"{IRVE_HEADER}\n{irve_row('FRA68E680210015', puissance_nominale='600')}\n")
    assert report.problems == []
    assert [w.column for w in report.warnings] == ["puissance_nominale", "nbre_pdc"]


async def test_irve_columns_become_members_and_what_breaks_a_rule_is_kept_as_written(
    pool: AsyncConnectionPool, load: Any
) -> None:
    more = {
        "siren_amenageur": "130025265",
        "telephone_operateur": "111111111",
        "implantation_station": "Voirie",
        "horaires": '"Mo-Fr 08:00-12:00,Th 08:00-18:00"',
        "accessibilite_pmr": "Réservé PMR",
        "gratuit": "FALSE",
        "date_maj": "2021-04-05",
        "exploitant_local": "Ville",
    }
    row = irve_row("FRA68E680210015", nbre_pdc="1") + "," + ",".join(more.values())
    text = f"{IRVE_HEADER},{','.join(more)}\n{row}\n"
    report = await load(text)
    assert report.problems == []
    assert [warning.column for warning in report.warnings] == ["telephone_operateur"]
    (point,) = (await station(pool, "FRA68P68021001")).evses
    assert point["static"] == {
        "free": False,
        "pmr_access": "reserved",
        "other": {
            "irve": {
                "telephone_operateur": "111111111",
                "date_maj": "2021-04-05",
                "exploitant_local": "Ville",
            }
        },
    }
    async with pool.connection() as connection:
        site = await sites.get_site(connection, "FRA68P68021001")
    assert site is not None
    assert site.static["implantation"] == "street"
    assert site.static["opening_hours"] == "Mo-Fr 08:00-12:00,Th 08:00-18:00"
    assert site.static["owner_siren"] == "130025265"
    assert not +(await load(text)).updated


async def test_rows_of_an_irve_station_that_differ_are_told_and_the_first_is_kept(
    pool: AsyncConnectionPool, load: Any
) -> None:
    rows = [irve_row("FRA68E1"), irve_row("FRA68E2", nom_amenageur="Société Y")]
    report = await load("\n".join([IRVE_HEADER, *rows]))
    assert report.problems == []
    assert [(warning.line, warning.value) for warning in report.warnings] == [(3, "Société Y")]


async def test_own_columns_of_static_data_find_their_member_or_stay_beside(
    pool: AsyncConnectionPool, load: Any
) -> None:
    header = (
        "station_id,site_id,evse_id,static_commissioned_on,static_colour,site_static_free,"
        "site_static_facilities,site_static_height_max_m,evse_static_label,evse_static_power_source\n"
    )
    text = header + 'A,n,1,2026-03-02,red,oui,"cafe, hotel","2,1",12,solar\n'
    assert (await load(text)).problems == []
    found = await station(pool, "A")
    assert found.static == {"commissioned_on": "2026-03-02", "other": {"colour": "red"}}
    assert found.evses[0]["static"] == {"label": "12", "other": {"power_source": "solar"}}
    async with pool.connection() as connection:
        site = await sites.get_site(connection, "n")
    assert site is not None
    assert site.static == {"free": True, "facilities": ["cafe", "hotel"], "height_max_m": 2.1}
    assert not +(await load(text)).updated
    kept = await load("station_id,static_size\nA,XL\n")
    assert kept.updated["station"] == 1
    assert (await station(pool, "A")).static["other"] == {"colour": "red", "size": "XL"}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("station_id,static_installed_on\nA,soon\n", (2, "static_installed_on"), "date"),
        ("station_id,evse_static_label\nA,x\n", (2, "evse_static_label"), "evse_id"),
        ("station_id,site_static_free\nA,true\n", (2, "site_static_free"), "site_id"),
        (
            "station_id,site_id,longitude,latitude\nA,n,48.8,2.4\n",
            (2, "latitude"),
            "look swapped",
        ),
        (
            "station_id,static_installed_on,static_commissioned_on\nA,2026-02-01,2026-01-01\n",
            (2, None),
            "before",
        ),
        ("station_id,evse_id,evse_uid\nA,1,FRABCP1\n", (2, "evse_uid"), "letter E"),
    ],
)
async def test_refusal_of_static_data_says_place_and_remedy(
    load: Any, text: str, place: tuple[int, str | None], words: str
) -> None:
    report = await load(text)
    assert told(report) == [place]
    assert words in report.problems[0].reason


async def test_station_identifier_of_another_site_is_refused(
    pool: AsyncConnectionPool, load: Any
) -> None:
    header = "station_id,site_id,site_static_afirev_station_id\n"
    assert told(await load(header + "A,n,FRABCP1\nB,m,FRABCP1\n")) == [(3, "afirev_station_id")]
    await load(header + "A,n,FRABCP1\n")
    report = await load(header + "B,m,FR*ABC*P1\n")
    assert told(report) == [(2, "afirev_station_id")]
    assert "site n" in report.problems[0].reason
    assert await count(pool) == 1


async def test_import_stands_in_the_history(pool: AsyncConnectionPool, load: Any) -> None:
    text = "station_id,site_id,evse_id,connector_type,power_w_max\nA,n,1,type2,7400\n"
    await load(text, actor="key demo")
    await load(text, actor="key demo")
    await load(text.replace("7400", "11000"), actor="another")
    async with pool.connection() as connection:
        history = await static_changes.list_changes(connection, site_id="n", limit=9, cursor=None)
    assert [(change.actor, change.kind) for change in history] == [
        ("another", "evse"),
        ("key demo", "evse"),
        ("key demo", "station"),
        ("key demo", "site"),
    ]
    assert history[0].before["power_w_max"] == 7_400
    assert history[0].after["power_w_max"] == 11_000
