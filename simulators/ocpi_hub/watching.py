"""A hub that somebody watches: it registers, reads what there is, and says whatever comes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from simulators.ocpi_hub.hub import OcpiHub
from simulators.ocpi_hub.pages import KINDS
from simulators.ocpi_hub.wire import Received

LOOK_EVERY_S: Final = 0.2


@dataclass(frozen=True)
class Watch:
    """What the hub is to do. `duration_s` 0: until it is interrupted.

    `badges`: UID and contract; `cpo_url` with `token_a`: register there; `invitation`: let the CPO
    register with that token; `pulls`: read all lists of the CPO after registration.
    """

    host: str = "127.0.0.1"
    port: int = 9400
    badges: tuple[tuple[str, str], ...] = ()
    cpo_url: str | None = None
    token_a: str | None = None
    invitation: str | None = None
    pulls: bool = True
    duration_s: float = 0.0


async def watch(hub: OcpiHub, plan: Watch, say: Callable[[str], None]) -> None:
    """Serve and tell. Raises: HubComplaint where the registration fails, OSError for the port."""
    for uid, contract in plan.badges:
        hub.add_token(uid, contract)
    teller = _Teller(hub, say)
    async with hub.serve(plan.host, plan.port):
        say(f"the hub {'*'.join(hub.party)} is at {hub.versions_url}")
        telling = asyncio.create_task(teller.run())
        try:
            await _connect(hub, plan, say)
            await asyncio.sleep(plan.duration_s or float("inf"))
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            teller.tell(all_of_it=True)


async def _connect(hub: OcpiHub, plan: Watch, say: Callable[[str], None]) -> None:
    if plan.invitation is not None:
        hub.invite(plan.invitation)
    if plan.cpo_url is None or plan.token_a is None:
        return
    await hub.register(plan.cpo_url, plan.token_a)
    say(f"registered with {', '.join('*'.join(party) for party in hub.link.parties)}")
    if plan.pulls:
        for module in KINDS:
            say(f"{module}: {len(await hub.pull(module))}")


class _Teller:
    """Says every request once it is answered, and every complaint, in their order."""

    def __init__(self, hub: OcpiHub, say: Callable[[str], None]) -> None:
        self._hub, self._say = hub, say
        self._requests = self._complaints = 0

    async def run(self) -> None:
        """Tell on, until it is cancelled."""
        while True:
            self.tell()
            await asyncio.sleep(LOOK_EVERY_S)

    def tell(self, *, all_of_it: bool = False) -> None:
        """What is new; an unanswered request holds up those after it, unless all is asked for."""
        for received in self._hub.received[self._requests :]:
            if not received.is_over and not all_of_it:
                break
            self._requests += 1
            self._say(f"{received.words}: {_answered(received)}")
        for words in self._hub.complaints[self._complaints :]:
            self._complaints += 1
            self._say(f"COMPLAINT {words}")


def _answered(received: Received) -> str:
    if received.http_status == 0:
        return "no answer"
    ocpi = "" if received.ocpi_status is None else f", OCPI {received.ocpi_status}"
    return f"HTTP {received.http_status}{ocpi}"
