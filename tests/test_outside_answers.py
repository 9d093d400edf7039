"""What somebody outside has to answer: responders of OCSP and the pool of contract certificates."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from websockets.asyncio.client import ClientConnection

from csms.config import Settings
from csms.db import Database
from csms.exchange import Question
from csms.wire.outside import CERTIFICATE_STATUS, Outside
from tests.scenarios.gate import Gate, ask, heartbeat, open_gate
from tests.test_commands import ordered
from tests.test_handshake import self_signed

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


class Peer:
    """An HTTP server on this machine that answers as it is told to."""

    def __init__(self) -> None:
        self.port = 0
        self.bodies: list[bytes] = []
        self.headers: list[str] = []
        self.status = 200
        self.answer: Callable[[bytes], bytes] = lambda body: b""
        self.gate = asyncio.Event()
        self.gate.set()
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ask"

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Peer"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
            self.gate.set()
        await asyncio.gather(*self._answering)  # none of its connections outlives it

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering = asyncio.current_task()
        assert answering is not None
        self._answering.add(answering)
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._answering.discard(answering)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1])
            for line in head.lower().split("\r\n")
            if line.startswith("content-length")
        )
        self.headers.append(head)
        self.bodies.append(await reader.readexactly(length))
        await self.gate.wait()
        body = self.answer(self.bodies[-1])
        location = b"Location: http://127.0.0.1:1/\r\n" if 300 <= self.status < 400 else b""
        writer.write(
            b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n" % (self.status, location, len(body))
            + body
        )


class Responder:
    """A CA with its OCSP responder."""

    def __init__(self, tmp_path: Any) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        path = self_signed(tmp_path, "issuer", self.key)
        self.path = path
        self.certificate = x509.load_pem_x509_certificate(path.read_bytes())
        station = self_signed(tmp_path, "station", ec.generate_private_key(ec.SECP256R1()))
        self.subject = x509.load_pem_x509_certificate(station.read_bytes())

    def data(self, url: str, serial: int | None = None) -> dict[str, Any]:
        """ocspRequestData for the certificate."""
        request = (
            ocsp.OCSPRequestBuilder()
            .add_certificate(self.subject, self.certificate, hashes.SHA256())
            .build()
        )
        return {
            "hashAlgorithm": "SHA256",
            "issuerNameHash": request.issuer_name_hash.hex(),
            "issuerKeyHash": request.issuer_key_hash.hex(),
            "serialNumber": f"{serial or request.serial_number:x}",
            "responderURL": url,
        }

    def answer(
        self,
        body: bytes,
        *,
        subject: x509.Certificate | None = None,
        until: datetime | None = None,
        key: Any = None,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    ) -> bytes:
        """A signed response to a request."""
        assert ocsp.load_der_ocsp_request(body).serial_number
        revoked = status is ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=subject or self.subject,
            issuer=self.certificate,
            algorithm=hashes.SHA256(),
            cert_status=status,
            this_update=NOW - 2 * HOUR,
            next_update=until or NOW + HOUR,
            revocation_time=NOW - HOUR if revoked else None,
            revocation_reason=None,
        )
        response = (
            builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self.certificate)
            .certificates([self.certificate])
            .sign(key or self.key, hashes.SHA256())
        )
        return response.public_bytes(Encoding.DER)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer().open() as peer:
        yield peer


@pytest.fixture
def responder(tmp_path: Any) -> Responder:
    return Responder(tmp_path)


async def status(station: ClientConnection, data: dict[str, Any], number: str) -> dict[str, Any]:
    answer: dict[str, Any] = await ask(
        station, "GetCertificateStatus", {"ocspRequestData": data}, number
    )
    return answer


@asynccontextmanager
async def listening(settings: Settings, database: Database, **more: Any) -> AsyncIterator[Gate]:
    changed: dict[str, Any] = {"ocsp_hosts": "127.0.0.1"} | more
    async with open_gate(replace(settings, **changed), database) as gate:
        await gate.add("CP1", protocol="ocpp2.0.1")
        await gate.add("CP2", protocol="ocpp2.0.1")
        yield gate


async def test_responder_is_really_asked_and_its_answer_kept(
    settings: Settings, database: Database, peer: Peer, responder: Responder
) -> None:
    peer.answer = responder.answer
    async with (
        listening(settings, database, ocsp_trust=responder.path) as gate,
        gate.connect("CP1", protocols=["ocpp2.0.1"]) as station,
    ):
        for number in range(3):
            told = await status(station, responder.data(peer.url), f"{number}")
            assert told["status"] == "Accepted"
            found = ocsp.load_der_ocsp_response(base64.b64decode(told["ocspResult"]))
            assert found.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert len(peer.bodies) == 1  # the other two from what is kept
        assert "application/ocsp-request" in peer.headers[0]


async def test_revoked_certificate_is_told_as_the_responder_tells_it(
    settings: Settings, database: Database, peer: Peer, responder: Responder
) -> None:
    peer.answer = lambda body: responder.answer(body, status=ocsp.OCSPCertStatus.REVOKED)
    async with (
        listening(settings, database) as gate,
        gate.connect("CP1", protocols=["ocpp2.0.1"]) as station,
    ):
        told = await status(station, responder.data(peer.url), "1")
        found = ocsp.load_der_ocsp_response(base64.b64decode(told["ocspResult"]))
        assert found.certificate_status is ocsp.OCSPCertStatus.REVOKED


@pytest.mark.parametrize(
    "fault", ["other", "stale", "forged", "nonsense", "huge", "refused", "moved", "unsuccessful"]
)
async def test_answer_that_proves_nothing_is_no_answer(
    settings: Settings, database: Database, peer: Peer, responder: Responder, fault: str
) -> None:
    other = responder.certificate
    forger = ec.generate_private_key(ec.SECP256R1())
    answers: dict[str, Callable[[bytes], bytes]] = {
        "other": lambda body: responder.answer(body, subject=other),
        "stale": lambda body: responder.answer(body, until=NOW - HOUR),
        "forged": lambda body: responder.answer(body, key=forger),
        "nonsense": lambda body: b"nonsense",
        "huge": lambda body: b"x" * 100_000,
        "unsuccessful": lambda body: ocsp.OCSPResponseBuilder.build_unsuccessful(
            ocsp.OCSPResponseStatus.TRY_LATER
        ).public_bytes(Encoding.DER),
    }
    peer.answer = answers.get(fault, responder.answer)
    peer.status = {"refused": 500, "moved": 302}.get(fault, 200)
    async with (
        listening(settings, database) as gate,
        gate.connect("CP1", protocols=["ocpp2.0.1"]) as station,
    ):
        assert await status(station, responder.data(peer.url), "1") == {"status": "Failed"}
        await heartbeat(station, "2")


async def test_responder_nobody_vouches_for_is_no_responder(
    settings: Settings, database: Database, peer: Peer, responder: Responder, tmp_path: Any
) -> None:
    (tmp_path / "else").mkdir()
    somebody = self_signed(tmp_path / "else", "else", ec.generate_private_key(ec.SECP256R1()))
    peer.answer = responder.answer
    async with (
        listening(settings, database, ocsp_trust=somebody) as gate,
        gate.connect("CP1", protocols=["ocpp2.0.1"]) as station,
    ):
        assert await status(station, responder.data(peer.url), "1") == {"status": "Failed"}


async def test_station_cannot_make_us_ask_in_our_own_network(
    settings: Settings, peer: Peer, responder: Responder
) -> None:
    for hosts, url in (
        (None, peer.url),
        (None, "http://localhost/"),
        (None, "http://[::1]/"),
        (None, "http://169.254.169.254/"),
        (None, "file:///etc/passwd"),
        (None, "gopher://127.0.0.1/"),
        ("ocsp.example", peer.url),
    ):
        outside = Outside(replace(settings, ocsp_hosts=hosts))
        content = {"ocspRequestData": responder.data(url)}
        assert await outside.ask(Question(CERTIFICATE_STATUS, content)) is None, url
    assert peer.bodies == []


async def test_frames_keep_their_order_behind_a_slow_answer_and_nobody_else_waits(
    settings: Settings, database: Database, peer: Peer, responder: Responder
) -> None:
    peer.answer = responder.answer
    peer.gate.clear()
    async with (
        listening(settings, database) as gate,
        gate.connect("CP1", protocols=["ocpp2.0.1"]) as slow,
        gate.connect("CP2", protocols=["ocpp2.0.1"]) as other,
    ):
        payload = {"ocspRequestData": responder.data(peer.url)}
        await slow.send(json.dumps([2, "1", "GetCertificateStatus", payload]))
        await slow.send('[2,"2","Heartbeat",{}]')
        await heartbeat(other)
        peer.gate.set()
        assert (await ordered(slow))[1] == "1"
        assert (await ordered(slow))[1] == "2"


async def test_answer_that_never_comes_is_a_no_after_a_while(
    settings: Settings, database: Database, peer: Peer, responder: Responder
) -> None:
    peer.gate.clear()
    async with (
        listening(settings, database, outside_timeout_s=0.3) as gate,
        gate.connect("CP1", protocols=["ocpp2.0.1"]) as station,
    ):
        assert await status(station, responder.data(peer.url), "1") == {"status": "Failed"}


async def test_more_questions_than_may_be_under_way_are_a_no_at_once(
    settings: Settings, database: Database, peer: Peer, responder: Responder
) -> None:
    peer.answer = responder.answer
    peer.gate.clear()
    async with (
        listening(settings, database, outside_questions_max=1) as gate,
        gate.connect("CP1", protocols=["ocpp2.0.1"]) as first,
        gate.connect("CP2", protocols=["ocpp2.0.1"]) as second,
    ):
        payload = {"ocspRequestData": responder.data(peer.url)}
        await first.send(json.dumps([2, "1", "GetCertificateStatus", payload]))
        async with asyncio.timeout(30):
            while not peer.bodies:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await status(second, responder.data(peer.url), "1") == {"status": "Failed"}
        peer.gate.set()
        assert (await ordered(first))[2]["status"] == "Accepted"


async def test_answer_survives_a_commit_that_fails_while_it_is_under_way(
    settings: Settings, database: Database, peer: Peer, responder: Responder
) -> None:
    peer.answer = responder.answer
    peer.gate.clear()
    async with (
        listening(settings, database) as gate,
        gate.connect("CP1", protocols=["ocpp2.0.1"]) as slow,
        gate.connect("CP2", protocols=["ocpp2.0.1"]) as other,
    ):
        payload = {"ocspRequestData": responder.data(peer.url)}
        await slow.send(json.dumps([2, "1", "GetCertificateStatus", payload]))
        async with asyncio.timeout(30):
            while not peer.bodies:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await gate.rows(
            "WITH login AS MATERIALIZED (SELECT set_config('role', 'none', true))"
            " SELECT pg_terminate_backend(pid) FROM login, pg_stat_activity"
            " WHERE application_name LIKE 'time2plug recorder%%'"
            " AND datname = current_database()"
        )
        await heartbeat(other)  # the recorder is back
        peer.gate.set()
        assert (await ordered(slow))[2]["status"] == "Accepted"
        rows = await gate.rows(
            "SELECT count(*) FROM station_event WHERE kind = 'get_certificate_status'"
        )
        assert rows == [(1,)]


CONTRACT = {"iso15118SchemaVersion": "urn:iso:15118:2:2013:MsgDef", "action": "Install"}


async def test_contract_is_asked_of_the_pool(
    settings: Settings, database: Database, peer: Peer
) -> None:
    peer.answer = lambda body: b'{"status":"Accepted","exiResponse":"gJgC","more":1}'
    more = {"contract_pool_url": peer.url, "contract_pool_token": "secret"}
    async with (
        listening(settings, database, **more) as gate,
        gate.connect("CP1", protocols=["ocpp2.0.1"]) as station,
    ):
        payload = CONTRACT | {"exiRequest": "gJhC"}
        told = await ask(station, "Get15118EVCertificate", payload, "1")
        assert told == {"status": "Accepted", "exiResponse": "gJgC"}
        assert json.loads(peer.bodies[0]) == payload
        assert "authorization: bearer secret" in peer.headers[0].lower()
        for number, nonsense in enumerate((b"{", b"[]", b'{"status":"Perhaps"}', b'"x"'), 2):
            peer.answer = lambda body, nonsense=nonsense: nonsense
            told = await ask(station, "Get15118EVCertificate", payload, f"{number}")
            assert told == {"status": "Failed", "exiResponse": ""}


async def test_without_a_pool_the_honest_answer_is_failed(
    settings: Settings, database: Database
) -> None:
    async with (
        listening(settings, database) as gate,
        gate.connect("CP1", protocols=["ocpp2.0.1"]) as station,
    ):
        payload = CONTRACT | {"exiRequest": "gJhC"}
        told = await ask(station, "Get15118EVCertificate", payload, "1")
        assert told == {"status": "Failed", "exiResponse": ""}
