"""Security profile 3 and what leads to it, over real TLS: who comes in, who signs, who renews."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidHandshake

from csms import db, pki
from csms.commands import give_up
from csms.config import SettingError, Settings
from csms.db import Database
from csms.pki import RequestRefused
from csms.wire import certificates
from csms.wire.tls import server_context
from tests.scenarios.gate import Gate, ask, boot, heartbeat, open_gate
from tests.test_commands import boot_201, client_of, obey, ordered, place, until
from tests.test_handshake import self_signed

NOW = datetime.now(UTC)
ORGANIZATION = "Opérateur d'essai"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
BOTH = pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])


class Authority:
    """A CA of its own, in two files."""

    def __init__(self, folder: Path, name: str, *, days: int = 30, now: datetime = NOW) -> None:
        certificate, key = pki.make_authority(name, ORGANIZATION, validity_days=days, now=now)
        self.certificate = folder / f"{name}-ca.pem"
        self.key = folder / f"{name}-ca.key"
        self.certificate.write_text(certificate)
        self.key.write_text(key)

    def issue(self, csr: str, *, days: int = 30, now: datetime = NOW) -> str:
        authority = pki.load_authority(self.certificate, self.key, None)
        return pki.sign(authority, pki.read_request(csr, 10_000), validity_days=days, now=now)


def request(name: str, key: Key | None = None, organization: str | None = ORGANIZATION) -> str:
    """A CSR of a station, PEM."""
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        names.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def client(gate: Gate, folder: Path, chain: str | None, key: Key | None) -> ssl.SSLContext:
    """A station's side of TLS, with its certificate if it has one."""
    context = ssl.create_default_context(cafile=str(gate.settings.tls_cert[0]))
    if chain is not None and key is not None:
        path = folder / "station.pem"
        path.write_text(chain)
        secret = folder / "station.key"
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context.load_cert_chain(path, secret)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
async def gate(
    settings: Settings, database: Database, tmp_path: Path, authority: Authority
) -> AsyncIterator[Gate]:
    async with open_secure(settings, database, tmp_path, authority) as gate:
        yield gate


@asynccontextmanager
async def open_secure(
    settings: Settings, database: Database, folder: Path, authority: Authority, **more: Any
) -> AsyncIterator[Gate]:
    server = self_signed(folder, "server", ec.generate_private_key(ec.SECP256R1()))
    changed: dict[str, Any] = {
        "tls_cert": (server,),
        "tls_key": (server.with_suffix(".key"),),
        "station_ca_cert": authority.certificate,
        "station_ca_key": authority.key,
        "certificate_organization": ORGANIZATION,
        "command_poll_s": 0.1,
    } | more
    async with open_gate(replace(settings, **changed), database) as gate:
        yield gate


# --- Who comes in -------------------------------------------------------------------------------


async def test_station_of_profile_3_comes_in_with_its_own_certificate_only(
    gate: Gate, tmp_path: Path, authority: Authority
) -> None:
    """Field case 34: a good certificate of another station is no way in."""
    await gate.add("CP1", security_profile=3)
    await gate.add("CP2", security_profile=3, serial="S-0002")
    key = ec.generate_private_key(ec.SECP256R1())
    own = client(gate, tmp_path, authority.issue(request("CP1", key)), key)
    async with gate.connect("CP1", tls=own) as socket:
        await heartbeat(socket)
    assert await gate.status("CP2", tls=own) == 401
    by_serial = client(gate, tmp_path, authority.issue(request("S-0002", key)), key)
    assert await gate.status("CP2", tls=by_serial) == 101
    assert await gate.status("CP1", tls=by_serial) == 401
    assert await gate.status("CP1") == 401  # without TLS
    assert await gate.status("CP1", tls=client(gate, tmp_path, None, None)) == 401
    assert await gate.status("CP1", password="anything") == 401
    foreign = client(gate, tmp_path, authority.issue(request("CP1", key, "Another")), key)
    assert await gate.status("CP1", tls=foreign) == 401
    await gate.refused("CP1", "certificate")
    await gate.refused("CP2", "certificate")


async def test_stations_of_lower_profiles_need_no_certificate(gate: Gate, tmp_path: Path) -> None:
    await gate.add("CP1")
    async with gate.connect("CP1", tls=client(gate, tmp_path, None, None)) as socket:
        await heartbeat(socket)


@pytest.mark.parametrize("fault", ["foreign", "expired", "not yet", "self-signed"])
async def test_certificate_that_proves_nothing_ends_in_tls(
    gate: Gate, tmp_path: Path, authority: Authority, fault: str
) -> None:
    await gate.add("CP1", security_profile=3)
    key = ec.generate_private_key(ec.SECP256R1())
    csr = request("CP1", key)
    if fault == "foreign":
        chain = Authority(tmp_path, "theirs").issue(csr)
    elif fault == "self-signed":
        chain = self_signed(tmp_path, "CP1", key).read_text()
    else:
        old = Authority(tmp_path, "old", days=900, now=NOW - timedelta(days=600))
        authority.certificate.write_text(old.certificate.read_text())
        at = NOW - timedelta(days=400) if fault == "expired" else NOW + timedelta(days=30)
        chain = old.issue(csr, days=30, now=at)
        context = server_context(gate.settings)
        assert context.verify_mode is ssl.CERT_OPTIONAL
    with pytest.raises((ssl.SSLError, ConnectionError, InvalidHandshake)):
        async with gate.connect("CP1", tls=client(gate, tmp_path, chain, key)) as socket:
            await heartbeat(socket)
    await gate.connected("CP1", False)


async def test_intermediate_ca_is_trusted_without_its_root(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    root = Authority(tmp_path, "root")
    signer = pki.load_authority(root.certificate, root.key, None)
    sub, sub_key = Authority(tmp_path, "sub"), ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sub")]))
        .issuer_name(signer.certificate.subject)
        .public_key(sub_key.public_key())
        .serial_number(77)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=20))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(signer.key, hashes.SHA256())
    )
    sub.certificate.write_text(pki.pem_of([certificate]))
    sub.key.write_bytes(
        sub_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    async with open_secure(settings, database, tmp_path, sub) as gate:
        await gate.add("CP1", security_profile=3)
        key = ec.generate_private_key(ec.SECP256R1())
        tls = client(gate, tmp_path, sub.issue(request("CP1", key)), key)
        assert await gate.status("CP1", tls=tls) == 101
        stranger = client(gate, tmp_path, root.issue(request("CP1", key)), key)
        with pytest.raises((ssl.SSLError, ConnectionError, InvalidHandshake)):
            async with gate.connect("CP1", tls=stranger) as socket:
                await heartbeat(socket)


async def test_revoked_certificate_is_refused(
    gate: Gate, tmp_path: Path, authority: Authority
) -> None:
    await gate.add("CP1", security_profile=3)
    key = ec.generate_private_key(ec.SECP256R1())
    async with await db.connect(gate.database) as connection, client_of(gate) as api:
        tls = client(gate, tmp_path, authority.issue(request("CP1", key)), key)
        await ask_to_sign(gate, api, tls, request("CP1", key), "ocpp2.0.1")
        await certificates.work(connection, gate.settings, NOW)
        (waiting,) = (await api.get("/certificate-requests")).json()["items"]
        assert waiting["status"] == "waiting"
        address = f"/certificate-requests/{waiting['id']}"
        assert (await api.post(f"{address}/approve")).json()["status"] == "approved"
        assert (await api.post(f"{address}/approve")).status_code == 409
        assert await certificates.work(connection, gate.settings, NOW) == 1
        async with gate.connect("CP1", tls=tls, protocols=["ocpp2.0.1"]) as station:
            await boot_201(station, "b2")
            order = await obey(station)
        assert order[2] == "CertificateSigned"
        issued = client(gate, tmp_path, order[3]["certificateChain"], key)
        assert await gate.status("CP1", tls=issued) == 101
        (certificate,) = (await api.get("/certificates")).json()["items"]
        assert (await api.post(f"/certificates/{certificate['id']}/revoke")).status_code == 204
        assert await gate.status("CP1", tls=issued) == 401
        assert await gate.status("CP1", tls=tls) == 101  # the other one is good


async def ask_to_sign(
    gate: Gate, api: httpx.AsyncClient, tls: ssl.SSLContext, csr: str, protocol: str
) -> None:
    """SignCertificate, accepted."""
    async with gate.connect("CP1", tls=tls, protocols=[protocol]) as station:
        await (boot if protocol == "ocpp1.6" else boot_201)(station, "b1")
        await station.send(json.dumps([2, "csr", "SignCertificate", {"csr": csr}]))
        assert await ordered(station) == [3, "csr", {"status": "Accepted"}]


async def test_serial_that_a_station_reports_makes_it_no_other_station(
    settings: Settings, database: Database, tmp_path: Path, authority: Authority
) -> None:
    """Field case 34: who boots with another's name as its serial gets no certificate of that."""
    async with (
        open_secure(
            settings, database, tmp_path, authority, certificate_signing="automatic"
        ) as gate,
        client_of(gate) as api,
        await db.connect(database) as connection,
    ):
        await gate.add("CP1", security_profile=3)
        await gate.add("CP2", serial="S-0002")
        boot_as_another = {
            "chargePointVendor": "V",
            "chargePointModel": "M",
            "chargePointSerialNumber": "CP1",
        }
        async with gate.connect("CP2") as station:
            await ask(station, "BootNotification", boot_as_another, "b")
            for number, name in enumerate(("CP1", "S-0002")):
                assert await ask(station, "SignCertificate", {"csr": request(name)}, str(number))
                await certificates.work(connection, gate.settings, NOW)
        wanted = [("CP1", "rejected"), ("S-0002", "signed")]
        found = await gate.rows("SELECT csr, status FROM certificate_request ORDER BY id")
        assert [
            (pki.read_request(csr, 10_000).common_name, status) for csr, status in found
        ] == wanted
        shown = (await api.get("/stations/CP2")).json()
        assert (shown["serial"], shown["reported_serial"]) == ("S-0002", "CP1")
        key = ec.generate_private_key(ec.SECP256R1())
        await gate.rows("UPDATE station SET security_profile = 3 WHERE id = 'CP2' RETURNING id")
        theirs = client(gate, tmp_path, authority.issue(request("CP1", key)), key)
        assert await gate.status("CP2", tls=theirs) == 401


# --- Who signs ----------------------------------------------------------------------------------


@BOTH
async def test_request_is_signed_and_answered_without_a_person_where_the_setting_says_so(
    settings: Settings, database: Database, tmp_path: Path, authority: Authority, protocol: str
) -> None:
    """From a password over TLS to a certificate, to its renewal."""
    async with (
        open_secure(
            settings, database, tmp_path, authority, certificate_signing="automatic"
        ) as gate,
        client_of(gate) as api,
        await db.connect(database) as connection,
    ):
        body = {
            "id": "CP1",
            "security_profile": 2,
            "password": "correct-horse-1",
            "protocol": protocol,
        }
        assert (await api.post("/stations", json=body)).is_success
        key = ec.generate_private_key(ec.SECP256R1())
        plain = client(gate, tmp_path, None, None)
        async with gate.connect(
            "CP1", tls=plain, password="correct-horse-1", protocols=[protocol]
        ) as station:
            await (boot if protocol == "ocpp1.6" else boot_201)(station, "b1")
            csr = request("CP1", key)
            await station.send(json.dumps([2, "csr", "SignCertificate", {"csr": csr}]))
            assert await ordered(station) == [3, "csr", {"status": "Accepted"}]
            assert await certificates.work(connection, gate.settings, NOW) == 1
            order = await obey(station)
            assert order[2] == "CertificateSigned"
            assert await certificates.work(connection, gate.settings, NOW) == 0
            # Told to use profile 3: the floor rises when it has come in so, and not before.
            asked = asyncio.create_task(place(api, "CP1", profile_order(protocol)))
            await obey(station)
            assert (await asked).json()["status"] == "accepted"
        own = client(gate, tmp_path, order[3]["certificateChain"], key)
        assert (
            await gate.status("CP1", protocols=[protocol], tls=plain, password="correct-horse-1")
            == 101
        )
        assert await gate.status("CP1", protocols=[protocol], tls=own) == 101
        await gate.eventually([(3,)], "SELECT security_profile FROM station")
        assert (
            await gate.status("CP1", protocols=[protocol], tls=plain, password="correct-horse-1")
            == 401
        )
        # Near its end the station is asked to renew, once.
        later = NOW + timedelta(days=25)
        assert await certificates.watch_ends(connection, gate.settings, later) == 1
        assert await certificates.watch_ends(connection, gate.settings, later) == 0
        async with gate.connect("CP1", tls=own, protocols=[protocol]) as station:
            await (boot if protocol == "ocpp1.6" else boot_201)(station, "b2")
            assert (await obey(station))[3]["requestedMessage"].startswith("SignCharg")
            fresh = ec.generate_private_key(ec.SECP256R1())
            csr = request("CP1", fresh)
            await station.send(json.dumps([2, "csr2", "SignCertificate", {"csr": csr}]))
            assert await ordered(station) == [3, "csr2", {"status": "Accepted"}]
            assert await certificates.work(connection, gate.settings, NOW) == 1
            renewed = (await obey(station))[3]["certificateChain"]
        assert (
            await gate.status(
                "CP1", protocols=[protocol], tls=client(gate, tmp_path, renewed, fresh)
            )
            == 101
        )
        events = (await api.get("/stations/CP1/events?kind=certificate_expiring")).json()
        assert events["total"] == 1


def profile_order(protocol: str) -> dict[str, Any]:
    """The order to use security profile 3."""
    if protocol == "ocpp1.6":
        payload: dict[str, Any] = {"key": "SecurityProfile", "value": "3"}
        return {"action": "ChangeConfiguration", "payload": payload}
    connection = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": "wss://192.0.2.1:9443/ocpp",
        "messageTimeout": 30,
        "securityProfile": 3,
        "ocppInterface": "Wired0",
    }
    return {
        "action": "SetNetworkProfile",
        "payload": {"configurationSlot": 1, "connectionData": connection},
    }


async def test_request_that_cannot_be_granted_is_on_the_list_with_its_reason(
    settings: Settings, database: Database, tmp_path: Path, authority: Authority
) -> None:
    async with (
        open_secure(
            settings, database, tmp_path, authority, certificate_signing="automatic"
        ) as gate,
        client_of(gate) as api,
        await db.connect(database) as connection,
    ):
        await gate.add("CP1", protocol="ocpp2.0.1")
        weak = rsa.generate_private_key(65537, 1024)
        csrs = {
            "CP1; this station": request("CP9"),
            "1024 bits": request("CP1", weak),
            "no PKCS #10": "nonsense",
            "organization": request("CP1", None, "Another"),
        }
        async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
            await boot_201(station)
            for number, csr in enumerate(csrs.values()):
                payload = {"csr": csr}
                await station.send(json.dumps([2, f"{number}", "SignCertificate", payload]))
                assert (await ordered(station))[2] == {"status": "Accepted"}
            assert await certificates.work(connection, gate.settings, NOW) == 0
        listed = (await api.get("/certificate-requests")).json()["items"]
        assert {item["status"] for item in listed} == {"rejected"}
        reasons = [item["reason"] for item in reversed(listed)]
        assert "'CP9'" in reasons[0]
        for words, reason in zip(list(csrs)[1:], reasons[1:], strict=True):
            assert words in reason


async def test_without_a_ca_the_honest_answer_is_no(settings: Settings, database: Database) -> None:
    async with open_gate(settings, database) as gate:
        await gate.add("CP1")
        async with gate.connect("CP1") as station:
            await station.send(json.dumps([2, "1", "SignCertificate", {"csr": request("CP1")}]))
            assert await ordered(station) == [3, "1", {"status": "Rejected"}]


async def test_no_station_gets_certificates_without_end(
    settings: Settings, database: Database, tmp_path: Path, authority: Authority
) -> None:
    more = {"certificate_signing": "automatic", "certificates_per_day_max": 2}
    async with (
        open_secure(settings, database, tmp_path, authority, **more) as gate,
        await db.connect(database) as connection,
    ):
        await gate.add("CP1", protocol="ocpp1.6")
        async with gate.connect("CP1") as station:
            for number in range(4):
                payload = {"csr": request("CP1")}
                await station.send(json.dumps([2, f"{number}", "SignCertificate", payload]))
                await ordered(station)
        assert await certificates.work(connection, gate.settings, NOW) == 2
        tomorrow = NOW + timedelta(hours=25)
        assert await certificates.work(connection, gate.settings, tomorrow) == 2


class RemoteAuthority:
    """Somebody else's CA behind HTTPS, speaking what `csms.wire.certificates` says."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.asked: list[dict[str, str]] = []
        self.answer: bytes | None = None  # None: as a CA should
        self.status = "200 OK"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")[1:]
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines) if k}
        self.asked.append(headers)
        csr = (await reader.readexactly(int(headers["content-length"]))).decode()
        body = self.answer or self.authority.issue(csr).encode()
        head = f"HTTP/1.1 {self.status}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


async def test_somebody_elses_ca_signs_behind_its_interface(
    settings: Settings, database: Database, tmp_path: Path, authority: Authority
) -> None:
    remote = RemoteAuthority(authority)
    certificate = self_signed(tmp_path, "remote", ec.generate_private_key(ec.SECP256R1()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    server = await asyncio.start_server(remote.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    more = {
        "station_ca_cert": None,
        "station_ca_key": None,
        "tls_ca": authority.certificate,
        "station_ca_url": f"https://127.0.0.1:{port}/sign",
        "station_ca_token": "secret",
        "station_ca_trust": certificate,
        "certificate_signing": "automatic",
    }
    async with (
        server,
        open_secure(settings, database, tmp_path, authority, **more) as gate,
        await db.connect(database) as connection,
    ):
        await gate.add("CP1", protocol="ocpp1.6")
        key = ec.generate_private_key(ec.SECP256R1())
        async with gate.connect("CP1") as station:
            await boot(station)
            payload = {"csr": request("CP1", key)}
            await station.send(json.dumps([2, "1", "SignCertificate", payload]))
            await ordered(station)
            assert await certificates.work(connection, gate.settings, NOW) == 1
            chain = (await obey(station))[3]["certificateChain"]
            assert pki.facts_of(pki.read_chain(chain)[0]).common_name == "CP1"
            assert remote.asked[0]["authorization"] == "Bearer secret"
            # What is no certificate for the key that asked is not passed on.
            for answer in (b"nonsense", authority.issue(request("CP1")).encode(), b"x" * 200_000):
                remote.answer = answer
                payload = {"csr": request("CP1", ec.generate_private_key(ec.SECP256R1()))}
                message_id = f"{len(answer)}"
                await station.send(json.dumps([2, message_id, "SignCertificate", payload]))
                await ordered(station)
                await certificates.work(connection, gate.settings, NOW)
            await heartbeat(station, "quiet")
            # One in trouble is asked again, one that says no is not.
            remote.answer, found = None, {}
            for message_id, status in (("away", "503 No"), ("no", "422 No")):
                remote.status = status
                await station.send(json.dumps([2, message_id, "SignCertificate", payload]))
                await ordered(station)
                await certificates.work(connection, gate.settings, NOW)
                query = "SELECT status, reason FROM certificate_request ORDER BY id"
                found[message_id] = (await gate.rows(query))[-1]
            assert found["away"] == ("waiting", "The CA answers 503.")
            assert found["no"] == ("rejected", "The CA refused the request: 422.")
        rows = await gate.rows("SELECT status FROM certificate_request ORDER BY id")
        assert rows[:4] == [("signed",), ("rejected",), ("rejected",), ("rejected",)]


def test_own_ca_that_cannot_sign_is_told_in_a_sentence(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    with pytest.raises(SettingError, match="is not that of the certificate"):
        pki.load_authority(ours.certificate, theirs.key, None)
    with pytest.raises(SettingError, match="cannot be used"):
        pki.load_authority(tmp_path / "nowhere.pem", ours.key, None)
    ended = Authority(tmp_path, "ended", days=1, now=NOW - timedelta(days=10))
    with pytest.raises(RequestRefused, match="must be renewed"):
        ended.issue(request("CP1"))


# --- TLS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [False, True])
async def test_rsa_key_exchange_is_spoken_by_setting_only(
    settings: Settings, database: Database, tmp_path: Path, allowed: bool
) -> None:
    server = self_signed(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    settings = replace(
        settings,
        tls_cert=(server,),
        tls_key=(server.with_suffix(".key"),),
        tls_rsa_key_exchange=allowed,
    )
    async with open_gate(settings, database) as gate:
        await gate.add("CP1")
        tls = ssl.create_default_context(cafile=str(server))
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384"):
            tls.set_ciphers(suite)
            if allowed:
                assert await gate.status("CP1", tls=tls) == 101
            else:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await gate.status("CP1", tls=tls)


# --- Passwords by order ---------------------------------------------------------------------------


def password_order(protocol: str, password: str) -> dict[str, Any]:
    if protocol == "ocpp1.6":
        payload: dict[str, Any] = {"key": "AuthorizationKey", "value": password}
        return {"action": "ChangeConfiguration", "payload": payload}
    variable = {
        "attributeValue": password,
        "component": {"name": "SecurityCtrlr"},
        "variable": {"name": "BasicAuthPassword"},
    }
    return {"action": "SetVariables", "payload": {"setVariableData": [variable]}}


async def take(station: ClientConnection, protocol: str, word: str) -> None:
    """Answer the order to change the password."""
    order = await ordered(station)
    if protocol == "ocpp1.6":
        answer: dict[str, Any] = {"status": word}
    else:
        result = {
            "attributeStatus": word,
            "component": {"name": "SecurityCtrlr"},
            "variable": {"name": "BasicAuthPassword"},
        }
        answer = {"setVariableResult": [result]}
    await station.send(json.dumps([3, order[1], answer]))


HEX = "30313233343536373839616243646546"


@BOTH
@pytest.mark.parametrize("word", ["Accepted", "RebootRequired", "Rejected"])
async def test_password_that_a_station_takes_becomes_what_is_expected(
    settings: Settings, database: Database, protocol: str, word: str
) -> None:
    """Field case 35: as text and as the bytes that its hex means; a refused one does not."""
    async with (
        open_gate(replace(settings, command_poll_s=0.1), database) as gate,
        client_of(gate) as api,
    ):
        body = {"id": "CP1", "password": "correct-horse-1", "protocol": protocol}
        assert (await api.post("/stations", json=body)).is_success
        async with gate.connect("CP1", password="correct-horse-1", protocols=[protocol]) as station:
            await (boot if protocol == "ocpp1.6" else boot_201)(station, "b")
            asked = asyncio.create_task(place(api, "CP1", password_order(protocol, HEX)))
            await take(station, protocol, word)
            told = (await asked).json()
        assert HEX not in json.dumps(told)
        forms = (HEX, bytes.fromhex(HEX))
        if word == "Rejected":
            assert [
                await gate.status("CP1", protocols=[protocol], password=form) for form in forms
            ] == [401, 401]
            assert await gate.status("CP1", protocols=[protocol], password="correct-horse-1") == 101
        else:
            assert (
                await gate.status("CP1", protocols=[protocol], password="correct-horse-1") == 101
            )  # not yet used
            assert [
                await gate.status("CP1", protocols=[protocol], password=form) for form in forms
            ] == [101, 101]
            await gate.eventually([(None,)], "SELECT password_hash_next FROM station")
            assert await gate.status("CP1", protocols=[protocol], password="correct-horse-1") == 401
            assert await gate.status("CP1", protocols=[protocol], password=forms[1]) == 101
        for table in ("command", "ocpp_message", "station_event"):
            rows = await gate.rows(f"SELECT to_jsonb(t)::text FROM {table} t")
            assert HEX not in str(rows), table


async def test_password_whose_order_was_never_answered_is_taken_beside_the_other(
    settings: Settings, database: Database
) -> None:
    async with (
        open_gate(replace(settings, command_poll_s=0.1), database) as gate,
        client_of(gate) as api,
    ):
        body = {"id": "CP1", "password": "correct-horse-1", "protocol": "ocpp1.6"}
        assert (await api.post("/stations", json=body)).is_success
        async with gate.connect("CP1", password="correct-horse-1") as station:
            await boot(station)
            asked = asyncio.create_task(place(api, "CP1", password_order("ocpp1.6", HEX)))
            await ordered(station)
            station.transport.abort()
            assert (await asked).json()["status"] == "failed"
        assert await gate.status("CP1", password="correct-horse-1") == 101
        assert await gate.status("CP1", password=HEX) == 101
        # A person who sets a password has the last word.
        assert (await api.patch("/stations/CP1", json={"password": "another-one-2"})).is_success
        assert await gate.status("CP1", password=HEX) == 401
        assert await gate.status("CP1", password="another-one-2") == 101
        assert (await until(api, 1, "failed"))["payload"]["value"] == "***"


@BOTH
async def test_new_password_goes_to_the_station_and_nobody_else_sees_it(
    settings: Settings, database: Database, protocol: str
) -> None:
    async with (
        open_gate(replace(settings, command_poll_s=0.1), database) as gate,
        client_of(gate) as api,
    ):
        body = {"id": "CP1", "password": "correct-horse-1", "protocol": protocol}
        assert (await api.post("/stations", json=body)).is_success
        async with gate.connect("CP1", password="correct-horse-1", protocols=[protocol]) as station:
            await (boot if protocol == "ocpp1.6" else boot_201)(station, "b")
            placed = await api.post("/stations/CP1/rotate-password")
            assert placed.status_code == 202
            order = await ordered(station)
            if protocol == "ocpp1.6":
                told, answer = order[3]["value"], {"status": "Accepted"}
                assert len(bytes.fromhex(told)) == 20
            else:
                (item,) = order[3]["setVariableData"]
                told = item.pop("attributeValue")
                answer = {"setVariableResult": [item | {"attributeStatus": "Accepted"}]}
            await station.send(json.dumps([3, order[1], answer]))
            shown = await until(api, placed.json()["command_id"], "accepted")
            assert told not in json.dumps(shown)
        assert await gate.status("CP1", protocols=[protocol], password=told) == 101
        await gate.eventually([(None,)], "SELECT password_hash_next FROM station")
        assert (await gate.status("CP1", protocols=[protocol], password="correct-horse-1")) == 401


async def test_no_third_password_is_sent_while_two_may_be_in_use(
    settings: Settings, database: Database
) -> None:
    async with (
        open_gate(replace(settings, command_poll_s=0.1), database) as gate,
        client_of(gate) as api,
    ):
        body = {"id": "CP1", "password": "correct-horse-1", "protocol": "ocpp1.6"}
        assert (await api.post("/stations", json=body)).is_success
        async with gate.connect("CP1", password="correct-horse-1") as station:
            await boot(station)
            first = (await api.post("/stations/CP1/rotate-password")).json()["command_id"]
            taken = (await obey(station))[3]["value"]
            await until(api, first, "accepted")
            second = (await api.post("/stations/CP1/rotate-password")).json()["command_id"]
            refused = await until(api, second, "failed")
            assert "not known yet" in refused["error"]["description"]
        assert await gate.status("CP1", password="correct-horse-1") == 101
        async with gate.connect("CP1", password=taken) as station:
            await gate.eventually([(None,)], "SELECT password_hash_next FROM station")
            await boot(station)
            third = (await api.post("/stations/CP1/rotate-password")).json()["command_id"]
            await obey(station, "Rejected")
            await until(api, third, "rejected")
        assert await gate.status("CP1", password=taken) == 101
        # It came in again with the former one, and not just now: then it does not use the new one.
        async with gate.connect("CP1", password=taken) as station:
            await boot(station)
            await gate.rows(
                "UPDATE station SET password_hash_next = 'x', "
                "password_next_at = now() - interval '1 hour' RETURNING id"
            )
            await gate.rows(
                "UPDATE station_connection SET connected_at = now() - interval '2 minutes'"
                " RETURNING node"
            )
            fourth = (await api.post("/stations/CP1/rotate-password")).json()["command_id"]
            await obey(station)
            await until(api, fourth, "accepted")


async def test_order_that_is_over_before_it_was_sent_keeps_no_password(
    settings: Settings, database: Database
) -> None:
    async with (
        open_gate(replace(settings, command_poll_s=0.1), database) as gate,
        client_of(gate) as api,
        await db.connect(database) as connection,
    ):
        assert (await api.post("/stations", json={"id": "CP1", "protocol": "ocpp1.6"})).is_success
        bodies = [
            password_order("ocpp1.6", HEX) | {"wait_s": 0, "expires_in_s": seconds}
            for seconds in (3_600, 60)
        ]
        cancelled, expired = [(await place(api, "CP1", body)).json() for body in bodies]
        assert (await api.delete(f"/commands/{cancelled['command_id']}")).is_success
        await give_up(connection, gate.settings, datetime.now(UTC) + timedelta(minutes=10))
        await until(api, expired["command_id"], "expired")
        assert HEX not in str(await gate.rows("SELECT payload FROM command"))


async def test_profile_is_raised_only_when_all_is_there(gate: Gate, settings: Settings) -> None:
    async with client_of(gate) as api:
        await gate.add("CP1", protocol="ocpp1.6")
        await gate.add("CP2", protocol="ocpp2.0.1", security_profile=2, password_hash="x")
        for station_id, body, words in (
            ("CP1", {"profile": 2}, "needs a password"),
            ("CP2", {"profile": 1}, "has profile 2 already"),
            ("CP2", {"profile": 3}, "configuration_slot"),
        ):
            answer = await api.post(f"/stations/{station_id}/security-profile", json=body)
            assert answer.status_code == 422
            assert words in answer.json()["detail"]
        url = "wss://192.0.2.1:9443/ocpp"
        body = {"profile": 3, "configuration_slot": 2, "csms_url": url}
        assert (await api.post("/stations/CP2/security-profile", json=body)).status_code == 202
        assert (await api.post("/stations/CP9/security-profile", json=body)).status_code == 404
        placed = (await api.get("/commands?station_id=CP2")).json()["items"]
        assert [item["action"] for item in placed] == ["SetNetworkProfile"]


async def test_security_events_of_all_stations_are_listed(gate: Gate) -> None:
    for name in ("CP1", "CP2"):
        await gate.add(name)
        async with gate.connect(name) as station:
            for number, kind in enumerate(("FirmwareUpdated", "TamperDetectionActivated")):
                payload = {"type": kind, "timestamp": "2026-11-25T12:00:00Z"}
                message = [2, f"{number}", "SecurityEventNotification", payload]
                await station.send(json.dumps(message))
                await ordered(station)
    async with client_of(gate) as api:
        listed = (await api.get("/security-events?limit=1")).json()
        assert (listed["total"], listed["items"][0]["station_id"]) == (4, "CP2")
        rest = (await api.get(f"/security-events?cursor={listed['next']}")).json()
        assert len(rest["items"]) == 3
        found = (await api.get("/security-events?type=FirmwareUpdated&station_id=CP1")).json()
        assert found["total"] == 1
