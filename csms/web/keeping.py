"""Who may change drivers, groups and badges: operators all, managers those of their clients.

A manager's change is judged here, and then made as the machines' role makes it; what she is shown
of it afterwards comes through row-level security, as everything that she reads.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms import group_requests
from csms.clients import Actor
from csms.config import Settings
from csms.db import acting
from csms.driver_badges import DRIVERS_REASONS
from csms.drivers import checked_email
from csms.principals import Principal
from csms.registry import NotThere
from csms.store import drivers, groups
from csms.web.driver_models import AskedOut
from csms.web.guard import Anybody
from csms.web.problems import Problem


class Keeping:
    """Whoever changes something of drivers, and of which clients' she may."""

    def __init__(self, request: Request, principal: Principal) -> None:
        self.actor = Actor(principal.actor, principal.person_id)
        self.now = datetime.now(UTC)
        #: None: an operator, who may change all
        self.clients = None if "operate" in principal.roles else principal.manages
        self._person_id = principal.person_id
        self._pool: AsyncConnectionPool = request.app.state.pool
        self._people: AsyncConnectionPool = request.app.state.people

    @property
    def reasons(self) -> tuple[str, ...] | None:
        """For which she may block a badge, and undo it; None: all."""
        return None if self.clients is None else DRIVERS_REASONS

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection to show with what came of it."""
        if self.clients is None:
            return self._pool.connection()
        return acting(self._people, person_id=self._person_id)

    def check_client(self, client_id: int) -> None:
        """Raises: NotThere where she does not keep the client."""
        if self.clients is not None and client_id not in self.clients:
            raise NotThere(f"There is no client {client_id}.")

    async def check_group(self, connection: AsyncConnection, group_id: int) -> None:
        """Raises: NotThere where the group is of no client that she keeps."""
        group = await groups.lock_group(connection, group_id)
        if group is None or (self.clients is not None and group.client_id not in self.clients):
            raise NotThere(f"There is no group {group_id}.")

    async def ask(
        self,
        connection: AsyncConnection,
        settings: Settings,
        group_id: int,
        values: Mapping[str, Any],
        *,
        from_at: datetime | None = None,
        to_at: datetime | None = None,
    ) -> bool:
        """Whether the person of the address in `values` is not this manager's to add, and was asked
        instead; never for an operator. Raises: Refusal."""
        if self.clients is None:
            return False
        email = checked_email(values["email"])
        if await group_requests.find_own(connection, email, self.clients, self.now):
            return False
        await group_requests.ask(
            connection,
            settings,
            group_id,
            values,
            self.actor,
            self.now,
            from_at=from_at,
            to_at=to_at,
        )
        return True

    async def check_driver(
        self, connection: AsyncConnection, person_id: int, *, alone: bool = False
    ) -> None:
        """Raises: NotThere where the driver is in no group of a client that she keeps; with `alone`
        Problem (403) where she is in one of another client's too."""
        if self.clients is None:
            return
        theirs = await drivers.clients_of_driver(connection, person_id, self.now)
        if not theirs & self.clients:
            raise NotThere(f"There is no driver {person_id}.")
        if alone and theirs - self.clients:
            raise Problem(403, "This driver is with another client too: ask the operator.")


def asked(email: str, group_id: int) -> Response:
    """The same answer whoever has the address, and if nobody has."""
    told = AskedOut(email=email, group_id=group_id)
    return JSONResponse(told.model_dump(), status_code=202)


async def _keeping(request: Request, principal: Anybody) -> Keeping:
    """An operator who may change, or a manager. Raises: Problem (403)."""
    if "operate" not in principal.roles and not principal.manages:
        if principal.lacks_second_factor:
            raise Problem(403, "This takes the second factor: log in with your code.")
        raise Problem(403, "This takes the role operator, operate; or a client to manage.")
    return Keeping(request, principal)


Keeper = Annotated[Keeping, Depends(_keeping)]
