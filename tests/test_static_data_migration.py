"""What was stored before static data had members: moved, and nothing of it lost."""

import json
import shutil
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from csms import static_data
from csms.db import Database, connect, migrate
from csms.static_data import EvseStatic, SiteStatic, StationStatic

SQL = Path(__file__).parent.parent / "csms" / "sql"
IRVE = {
    "nom_amenageur": "Société X",
    "siren_amenageur": "130025265",
    "contact_amenageur": "",
    "contact_operateur": "bornes@example.org",
    "telephone_operateur": "111111111",
    "id_station_itinerance": "FRA68P68021001",
    "implantation_station": "Voirie",
    "adresse_station": "1 avenue de la Paix 75001 Paris",
    "coordonneesxy": "[7.48710500,48.345345]",
    "id_pdc_itinerance": "FRA68E680210015",
    "puissance_nominale": "22",
    "prise_type_2": "true",
    "gratuit": "False",
    "paiement_acte": "peut-être",
    "condition_acces": "Accès libre",
    "accessibilite_pmr": "Accessible mais non réservé PMR",
    "horaires": "24/7",
    "date_maj": "2021-04-05",
    "code_postal": "75001",
    "local_id": "FRA68E680210015",
}


async def one(connection: AsyncConnection, statement: str) -> Any:
    cursor = await connection.execute(statement.encode())
    row = await cursor.fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


async def test_everything_stored_is_moved_and_nothing_lost(
    empty_database: Database, tmp_path: Path
) -> None:
    (mine,) = SQL.glob("*_csms_static_data.sql")
    for path in SQL.glob("[0-9]*.sql"):
        if path.name < mine.name:
            shutil.copy(path, tmp_path)
    await migrate(empty_database, [tmp_path])
    site = {"address": "1 rue X", "longitude": 7.48, "latitude": "48", "gate": {"code": 1}}
    async with await connect(empty_database, owner=True) as connection:
        await connection.execute(
            "INSERT INTO site (id, static) VALUES ('free', %s), ('irve', %s), ('none', '{}')",
            (json.dumps(site), json.dumps({"address": "1 avenue de la Paix"})),
        )
        await connection.execute(
            """INSERT INTO station (id, site_id, static, retired_at)
               VALUES ('A', 'irve', '{"floor": -1, "colour": "red"}', NULL),
                      ('B', 'none', '{}', NULL), ('C', NULL, '{}', now())"""
        )
        await connection.execute(
            """INSERT INTO evse (station_key, evse_id, evse_uid, static)
               SELECT station_key, n, uid, CASE WHEN uid LIKE 'FRA68%%' AND id = 'A' THEN %s::jsonb
                                                ELSE '{}' END
                 FROM station JOIN (VALUES ('A', 1, 'FRA68E680210015'), ('A', 2, 'fr*abc*e2'),
                                           ('B', 1, 'FRABCE2'), ('B', 2, 'number 2'),
                                           ('B', 3, NULL), ('C', 1, 'FRABCE2'))
                                   AS v (station, n, uid)
                   ON station.id = v.station""",
            (json.dumps(IRVE),),
        )
    shutil.copy(mine, tmp_path)
    assert await migrate(empty_database, [tmp_path]) == [mine.name]
    async with await connect(empty_database, owner=True) as connection:
        assert await one(connection, "SELECT static FROM site WHERE id = 'free'") == {
            "address": "1 rue X",
            "longitude": 7.48,
            "other": {"latitude": "48", "gate": {"code": 1}},
        }
        moved = await one(connection, "SELECT static FROM site WHERE id = 'irve'")
        assert moved == {
            "address": "1 avenue de la Paix",
            "owner_name": "Société X",
            "owner_siren": "130025265",
            "operator_email": "bornes@example.org",
            "afirev_station_id": "FRA68P68021001",
            "implantation": "street",
            "access": "open",
            "opening_hours": "24/7",
        }
        assert await one(connection, "SELECT static FROM site WHERE id = 'none'") == {}
        box = await one(connection, "SELECT static FROM station WHERE id = 'A'")
        assert box == {"floor": -1, "other": {"colour": "red"}}
        point = await one(connection, "SELECT static FROM evse WHERE evse_uid = 'FRA68E680210015'")
        assert point == {
            "free": False,
            "pmr_access": "accessible",
            "other": {
                "irve": {
                    "telephone_operateur": "111111111",
                    "paiement_acte": "peut-être",
                    "date_maj": "2021-04-05",
                    "code_postal": "75001",
                }
            },
        }
        for model, stored in (
            (SiteStatic, moved),
            (StationStatic, box),
            (EvseStatic, point),
        ):
            assert static_data.flaws(model, stored) == []
        cursor = await connection.execute(
            """SELECT s.id, e.evse_id, e.evse_uid, e.static #>> '{other,former_evse_uid}', in_force
                 FROM evse e JOIN station s USING (station_key) ORDER BY 1, 2"""
        )
        assert await cursor.fetchall() == [
            ("A", 1, "FRA68E680210015", None, True),
            ("A", 2, "FRABCE2", None, True),
            ("B", 1, None, "FRABCE2", True),
            ("B", 2, None, "NUMBER2", True),
            ("B", 3, None, None, True),
            ("C", 1, "FRABCE2", None, False),
        ]
