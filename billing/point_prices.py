"""What a driver pays at a point if she begins to charge there now."""

from datetime import datetime

from psycopg import AsyncConnection

from billing import tariffs
from billing.preview import is_vat_free
from billing.store import pricing as store
from billing.tariff import describe
from billing.tariffs import NoTariff
from csms import deadlines
from csms.store.points import PointRow


async def sentences(
    connection: AsyncConnection, point: PointRow, person_id: int, now: datetime, language: str
) -> list[str] | None:
    """The prices in words, those of her group where it has its own; None: no tariff holds there.

    `connection` is one of the machines' role: contracts and tariffs are not a driver's to read.
    """
    known = await tariffs.load(connection, point.client_id)
    memberships = await store.fetch_memberships(connection, sorted(known.group_ids), [person_id])
    group_ids = [
        group_id
        for _, group_id, from_at, to_at in memberships
        if from_at <= now and (to_at is None or now < to_at)
    ]
    version = known.find(point.site_id, point.station_key, point.evse_id, group_ids, now)
    if isinstance(version, NoTariff):
        return None
    vat_free = await is_vat_free(connection, point.client_id, deadlines.paris_day(now))
    return describe(version.tariff, language, vat_free=vat_free)
