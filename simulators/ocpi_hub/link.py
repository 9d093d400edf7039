"""The connection between the hub and the CPO: tokens, endpoints, the handshake from both sides."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from simulators.ocpi_hub.calling import Call, Caller, HubComplaint, Party, Reply, described
from simulators.ocpi_hub.held import Document, Refusal
from simulators.ocpi_hub.shapes import problems

VERSION: Final = "2.2.1"
SETTLE_MAX_S: Final = 5.0
#: What a CPO must have for roaming. The role of `credentials` is to be disregarded.
NEEDED: Final = (
    *(("locations", "SENDER"), ("sessions", "SENDER"), ("cdrs", "SENDER"), ("tariffs", "SENDER")),
    *(("tokens", "RECEIVER"), ("commands", "RECEIVER")),
)


class _Unfit(HubComplaint):
    """What the CPO shows of itself does not do; with the OCPI status that says so."""

    def __init__(self, ocpi_status: int, words: str) -> None:
        super().__init__(words)
        self.ocpi_status = ocpi_status


class Link:
    """Who may call whom, with which token. `ours`: what the CPO calls us with; `theirs`: what we
    call it with; `invited`, `pending`: tokens that open versions and credentials only."""

    def __init__(
        self,
        caller: Caller,
        complain: Callable[[str], None],
        new_id: Callable[[], str],
        credentials: Callable[[str], Document],
    ) -> None:
        self.ours: str | None = None
        self.theirs: str | None = None
        self.invited: set[str] = set()
        self.pending: set[str] = set()
        self.endpoints: dict[tuple[str, str], str] = {}
        self.roles: list[Document] = []
        self.visits: list[str] = []  # what was read with the token of a handshake under way
        self._settled = asyncio.Event()
        self._settled.set()
        self._caller, self._complain, self._new_id = caller, complain, new_id
        self.credentials = credentials

    @property
    def parties(self) -> list[Party]:
        """The CPOs that the other side speaks for."""
        return [
            (role["country_code"], role["party_id"]) for role in self.roles if role["role"] == "CPO"
        ]

    def url(self, module: str, role: str) -> str:
        """Where the CPO has the module. Raises: HubComplaint before the handshake."""
        if (module, role) not in self.endpoints:
            raise HubComplaint(f"no {role} of {module} is known: there was no handshake yet")
        return self.endpoints[module, role].rstrip("/")

    async def settle(self) -> None:
        """When no handshake of the hub's own is under way, or one that lasts too long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), SETTLE_MAX_S)

    async def register(self, versions_url: str, token_a: str) -> None:
        """Register from the hub. Raises: HubComplaint in words."""
        if self.theirs is not None:
            raise HubComplaint("the hub is registered already: unregister it first")
        endpoints = await self._discover(versions_url, token_a)
        token_b = f"hub-b-{self._new_id()}"
        self.pending.add(token_b)
        self.visits.clear()
        self._settled.clear()
        try:
            call = Call("POST", endpoints["credentials", ""], token_a, self.credentials(token_b))
            answer = await self._caller.ask(call)
            self._check_credentials(call, answer, token_a)
            for wanted in ("versions", "details"):
                if wanted not in self.visits:
                    self._complain(f"{call.words}: the CPO did not read the hub's {wanted}")
            self.ours, self.theirs = token_b, answer["token"]
            self.endpoints, self.roles = endpoints, answer["roles"]
        finally:
            self.pending.discard(token_b)
            self._settled.set()

    def _check_credentials(self, call: Call, answer: Any, token_a: str) -> None:
        found = problems("Credentials", answer)
        if not found and answer["token"] == token_a:
            found = ["the token is the one of before, where a new one is asked for"]
        if not found and not any(role["role"] == "CPO" for role in answer["roles"]):
            found = ["no role is CPO"]
        if found:
            raise self._caller.complaint(call, f"was answered with credentials where {found[0]}")

    async def accept(self, body: Any) -> Document:
        """Register at the CPO's wish: the hub's credentials. Raises: Refusal."""
        found = problems("Credentials", body)
        if found:
            raise Refusal(2001, "; ".join(found))
        try:
            endpoints = await self._discover(body["url"], body["token"])
        except _Unfit as unfit:
            raise Refusal(unfit.ocpi_status, str(unfit)) from unfit
        except HubComplaint as complaint:
            raise Refusal(3001, str(complaint)) from complaint
        token_c = f"hub-c-{self._new_id()}"
        self.ours, self.theirs = token_c, body["token"]
        self.endpoints, self.roles = endpoints, body["roles"]
        self.invited.clear()
        return self.credentials(token_c)

    async def unregister(self) -> None:
        """Tell the CPO that its credentials are void. Raises: HubComplaint."""
        if self.theirs is None:
            raise HubComplaint("the hub is not registered")
        await self._caller.ask(Call("DELETE", self.url("credentials", ""), self.theirs))
        self.forget()

    def forget(self) -> None:
        """No token counts any more."""
        self.ours = self.theirs = None
        self.endpoints, self.roles = {}, []

    async def _discover(self, versions_url: str, token: str) -> dict[tuple[str, str], str]:
        """The CPO's endpoints of 2.2.1; that of credentials under the role ''."""
        call = Call("GET", versions_url, token)
        versions = self._listed(call, await self._caller.send(call), "Version")
        urls = [each["url"] for each in versions if each["version"] == VERSION]
        if not urls:
            self._complain(f"{call.words}: {VERSION} is not among the versions")
            raise _Unfit(3002, f"{VERSION} is not among the versions at {versions_url}")
        call = Call("GET", urls[0], token)
        reply = await self._caller.send(call)
        if not reply.is_good:
            raise self._caller.complaint(call, f"was answered {described(reply)}")
        found = problems("VersionDetails", reply.data)
        if found:
            raise self._caller.complaint(call, f"was answered with details where {found[0]}")
        endpoints = {
            (each["identifier"], each["role"]): each["url"] for each in reply.data["endpoints"]
        }
        return self._complete(call, endpoints)

    def _complete(
        self, call: Call, endpoints: dict[tuple[str, str], str]
    ) -> dict[tuple[str, str], str]:
        for (module, _), url in list(endpoints.items()):
            if module == "credentials":
                endpoints["credentials", ""] = url
        missing = [
            f"{role} of {module}" for module, role in NEEDED if (module, role) not in endpoints
        ]
        if ("credentials", "") not in endpoints:
            missing.insert(0, "credentials")
        if missing:
            self._complain(f"{call.words}: there is no {', no '.join(missing)}")
            raise _Unfit(3003, f"{call.url} has no {', no '.join(missing)}")
        return endpoints

    def _listed(self, call: Call, reply: Reply, kind: str) -> list[Document]:
        if not reply.is_good:
            raise self._caller.complaint(call, f"was answered {described(reply)}")
        if not isinstance(reply.data, list):
            raise self._caller.complaint(call, f"was answered with no list of {kind}")
        found = [words for each in reply.data for words in problems(kind, each)]
        if found:
            raise self._caller.complaint(call, f"was answered with a list where {found[0]}")
        return reply.data
