"""Dead letters of outlets, settled by a person: sent again, or given up."""

from datetime import datetime, timedelta

from psycopg import AsyncConnection

from csms.config import Settings
from csms.registry import Conflict, NotThere
from reporting import store_outlet as store
from reporting.store_outlet import ItemRow


async def get(connection: AsyncConnection, item_id: int) -> ItemRow:
    """An item. Raises: NotThere."""
    found = await store.list_items(connection, item_id=item_id)
    if not found:
        raise NotThere(f"There is no item {item_id}.")
    return found[0]


async def retry(
    connection: AsyncConnection, settings: Settings, item_id: int, by: str, now: datetime
) -> ItemRow:
    """Let a dead letter wait again, one in doubt too: who asks has looked. Raises: NotThere,
    Conflict."""
    give_up_at = now + timedelta(seconds=settings.outlet_give_up_s)
    if not await store.retry_dead(connection, item_id, by, now, give_up_at):
        await _refuse(connection, item_id)
    return await get(connection, item_id)


async def retry_all(
    connection: AsyncConnection, settings: Settings, outlet: str, by: str, now: datetime
) -> int:
    """Let all dead letters of an outlet wait again, after the account was mended for instance; not
    those in doubt, which want a look each. How many. Raises: NotThere."""
    if outlet not in {state.name for state in await store.list_states(connection)}:
        raise NotThere(f"There is no outlet {outlet}.")
    give_up_at = now + timedelta(seconds=settings.outlet_give_up_s)
    return await store.retry_all_dead(connection, outlet, by, now, give_up_at)


async def give_up(
    connection: AsyncConnection, item_id: int, by: str, note: str, now: datetime
) -> ItemRow:
    """Take a dead letter off the desk for good. Raises: NotThere, Conflict."""
    if not await store.give_up_dead(connection, item_id, by, note, now):
        await _refuse(connection, item_id)
    return await get(connection, item_id)


async def _refuse(connection: AsyncConnection, item_id: int) -> None:
    """Raises: NotThere, Conflict."""
    found = await get(connection, item_id)
    raise Conflict(f"Item {item_id} is no dead letter: it is {found.status}.")
