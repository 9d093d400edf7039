"""Thousands of hostile frames against one live gateway: promise 8, with strangers looking on.

Every CALL whose message id can be read gets exactly one answer, right in id, code and schema; no
exception is logged; a canary on a connection of its own is served all the time; the journal holds
exactly the frames that were sent.
"""

import asyncio
import functools
import itertools
import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from websockets.asyncio.client import ClientConnection, connect

from csms import db
from csms.config import Settings
from csms.db import Database
from csms.serve import open_service
from csms.wire.dispatch import VERSIONS
from csms.wire.schema import load_schema
from tests.scenarios.frames import PROTOCOLS, Case, cases, due

CASES_MIN = 5_000
BATCH = 25
STATIONS_PER_PROTOCOL = 2
ANSWER_TIMEOUT_S = 20.0
UNSTORABLE = {0x00: "\ufffd", 0x1D: "\ufffd", 0x1E: "\ufffd"}  # the journal replaces these
CODES = {
    "ocpp1.6": {
        "NotImplemented",
        "NotSupported",
        "FormationViolation",
        "PropertyConstraintViolation",
        "OccurenceConstraintViolation",
        "TypeConstraintViolation",
    },
    "ocpp2.0.1": {
        "NotImplemented",
        "NotSupported",
        "FormatViolation",
        "MessageTypeNotSupported",
        "PropertyConstraintViolation",
        "OccurrenceConstraintViolation",
        "RpcFrameworkError",
        "TypeConstraintViolation",
    },
}


class Peer:
    """A station's connection that knows what it is owed."""

    def __init__(self, identity: str, protocol: str, socket: ClientConnection) -> None:
        self.identity = identity
        self.protocol = protocol
        self.socket = socket
        self.sent: Counter[str] = Counter()

    async def play(self, texts: list[str], fence: str) -> list[list[Any]]:
        """Send all frames and a Heartbeat; the answers up to that of the Heartbeat."""
        for text in [*texts, f'[2,"{fence}","Heartbeat",{{}}]']:
            await self.socket.send(text)
            self.sent[text.translate(UNSTORABLE)] += 1
        answers: list[list[Any]] = []
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while True:
                answer = json.loads(await self.socket.recv())
                if answer[0] == 2:
                    continue  # an order of ours, which some frames call for; it stays unanswered
                if answer[1] == fence:
                    assert answer[0] == 3, answer
                    return answers
                answers.append(answer)


class Arena:
    """A live gateway in a thread of its own, its peers, and the canary."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = replace(settings, frames_per_s_max=1e6, frames_burst_max=10**6)
        self.settings = replace(self.settings, ocsp_hosts="none.invalid")
        self.database = database
        self.loop = asyncio.new_event_loop()
        self.peers: dict[str, list[Peer]] = {}
        self.numbers = itertools.count(1)
        self.cases = 0
        self.tweets = 0  # answered to the canary
        self._stack = AsyncExitStack()
        self._canary: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def do(self, work: Coroutine[Any, Any, Any], timeout_s: float = 60) -> Any:
        """Run something in the gateway's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    @contextmanager
    def open(self) -> Iterator["Arena"]:
        """The gateway, running within the block."""
        self._thread.start()
        try:
            self.do(self._open())
            yield self
            self.do(self._close_peers())
        finally:
            self.do(self._close())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    async def _open(self) -> None:
        await self._stack.enter_async_context(open_service(self.settings, parts=("gateway", "web")))
        for protocol in PROTOCOLS:
            self.peers[protocol] = [
                await self.peer(f"FUZZ-{protocol}-{number}", protocol)
                for number in range(STATIONS_PER_PROTOCOL)
            ]
        canary = await self.peer("CANARY", PROTOCOLS[0])
        self._canary = asyncio.create_task(self._sing(canary))

    async def _close_peers(self) -> None:
        assert self._canary is not None
        assert not self._canary.done(), "the canary is dead"
        for peer in itertools.chain(*self.peers.values()):
            assert await peer.play([], "last") == [], "answers that nobody is owed"

    async def _close(self) -> None:
        if self._canary is not None:
            self._canary.cancel()
            await asyncio.gather(self._canary, return_exceptions=True)
        await self._stack.aclose()

    async def peer(self, identity: str, protocol: str) -> Peer:
        """A new station, connected."""
        connection = await db.connect(self.database)
        await connection.execute(
            "INSERT INTO station (id) VALUES (%s) ON CONFLICT DO NOTHING", [identity]
        )
        await connection.close()
        socket = await self._stack.enter_async_context(
            connect(
                f"ws://127.0.0.1:{self.settings.ocpp_port}/ocpp/{identity}",
                subprotocols=[protocol],  # type: ignore[list-item]
                compression=None,
                ping_interval=None,
                proxy=None,
            )
        )
        return Peer(identity, protocol, socket)

    async def _sing(self, canary: Peer) -> None:
        for number in itertools.count():
            assert await canary.play([], f"tweet-{number}") == []
            self.tweets += 1
            await asyncio.sleep(0.02)

    def play(self, batch: list[Case]) -> None:
        """Play a batch over all peers at once and judge the answers."""
        number = next(self.numbers)
        plays = []
        for peer in itertools.chain(*self.peers.values()):
            place = self.peers[peer.protocol].index(peer)
            mine = [case for case in batch if case.protocol == peer.protocol]
            chosen = mine[place::STATIONS_PER_PROTOCOL]
            told = [(case, case.text(next(self.numbers))) for case in chosen]
            plays.append((peer, told))
        answers = self.do(self._play(plays, f"fence-{number}"))
        for (peer, told), got in zip(plays, answers, strict=True):
            judge(peer.protocol, told, got)
        self.cases += len(batch)

    async def _play(
        self, plays: list[tuple[Peer, list[tuple[Case, str]]]], fence: str
    ) -> list[list[list[Any]]]:
        return await asyncio.gather(
            *(
                peer.play([text for case, text in told for _ in range(case.times)], fence)
                for peer, told in plays
            )
        )

    async def journal(self, peer: Peer) -> Counter[str]:
        """The peer's frames that the journal holds."""
        async with await db.connect(self.database) as connection:
            cursor = await connection.execute(
                "SELECT frame FROM ocpp_message JOIN station t USING (station_key)"
                " WHERE t.id = %s AND direction = 'in'",
                [peer.identity],
            )
            return Counter([row[0] for row in await cursor.fetchall()])


def judge(protocol: str, told: list[tuple[Case, str]], answers: list[list[Any]]) -> None:
    """Compare the answers with what was due."""
    must: Counter[str] = Counter()
    may: Counter[str] = Counter()
    actions: dict[str, str] = {}
    for case, text in told:
        owed = due(text, protocol)
        message_id = owed.message_id
        must["-1"] += owed.anonymous_min * case.times
        may["-1"] += owed.anonymous_max * case.times
        if message_id is not None:
            must[message_id] += owed.named_min * case.times
            may[message_id] += owed.named_max * case.times
            actions[message_id] = case.action if owed.named_min else ""
    got = Counter(str(answer[1]) for answer in answers)
    texts = [text[:500] for _, text in told]
    assert must <= got, f"no answer: {must - got} after {texts}"
    assert got <= may, f"nobody asked: {got - may} after {texts}"
    for answer in answers:
        judge_answer(protocol, actions.get(answer[1], ""), answer)
    for message_id in got:
        first, *others = [answer for answer in answers if answer[1] == message_id]
        same = all(other == first for other in others)
        assert same or message_id == "-1", f"asked once, answered {first} and {others}"


def judge_answer(protocol: str, action: str, answer: list[Any]) -> None:
    """One answer by its schema, or by its version's error codes."""
    if answer[0] == 3:
        assert len(answer) == 3, answer
        assert action in VERSIONS[protocol].requests, answer
        response_validator(protocol, action).validate(answer[2])
        return
    kind, _, code, description, details = answer
    assert kind == 4
    assert code in CODES[protocol], answer
    assert len(description) <= 255
    assert details == {}


@functools.cache
def response_validator(protocol: str, action: str) -> Draft7Validator:
    return Draft7Validator(load_schema(protocol, action, response=True))


@pytest.fixture
def complaints() -> Iterator[list[logging.LogRecord]]:
    """What the product logs at ERROR and above."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append  # type: ignore[method-assign,assignment]
    logging.getLogger("csms").addHandler(handler)
    yield records
    logging.getLogger("csms").removeHandler(handler)


@pytest.mark.timeout(300)
def test_every_frame_gets_its_answer_and_nobody_else_notices(
    settings: Settings, database: Database, complaints: list[logging.LogRecord]
) -> None:
    with Arena(settings, database).open() as arena:

        @hypothesis.settings(
            max_examples=CASES_MIN // BATCH + 10,
            deadline=None,
            derandomize=bool(os.environ.get("CI")),
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(cases(), min_size=BATCH, max_size=BATCH))
        def storm(batch: list[Case]) -> None:
            arena.play(batch)
            assert not complaints, complaints[0].getMessage()

        storm()
        for peer in itertools.chain(*arena.peers.values()):
            kept = arena.do(arena.journal(peer))
            assert not peer.sent - kept, "frames were lost"
            assert not kept - peer.sent, "frames that nobody sent"
    assert arena.cases >= CASES_MIN
    assert arena.tweets > 50


def test_a_frame_that_cannot_be_taken_closes_its_own_connection_only(
    settings: Settings, database: Database, complaints: list[logging.LogRecord]
) -> None:
    with Arena(settings, database).open() as arena:
        arena.do(overdo(arena))
        assert arena.tweets > 0
    assert not complaints, complaints[0].getMessage()


async def overdo(arena: Arena) -> None:
    """Frames up to the limit are taken; beyond it, or without UTF-8, the connection ends."""
    limit = arena.settings.frame_bytes_max
    head, tail = '[2,"1","DataTransfer",{"vendorId":"V","data":"', '"}]'
    for protocol in PROTOCOLS:
        peer = await arena.peer(f"OVERDONE-{protocol}", protocol)
        largest = head + "x" * (limit - len(head) - len(tail)) + tail
        answers = await peer.play([largest, largest.replace('"1"', '"2"', 1)], "fence")
        assert [answer[:2] for answer in answers] == [[3, "1"], [3, "2"]]
        assert sum((await arena.journal(peer)).values()) == 3
        await peer.socket.send(head + "x" * limit + tail)
        assert await close_code(peer) == 1009
        for broken in (b'[2,"1","Heartbeat",{"\xff":1}]', b"\xed\xa0\xbd", b"\xc3"):
            peer = await arena.peer(f"OVERDONE-{protocol}", protocol)
            await peer.socket.send(broken, text=True)
            assert await close_code(peer) == 1007
        peer = await arena.peer(f"OVERDONE-{protocol}", protocol)
        assert await peer.play([], "back") == []


async def close_code(peer: Peer) -> int | None:
    """How the gateway ended the connection."""
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        await peer.socket.wait_closed()
    return peer.socket.close_code
