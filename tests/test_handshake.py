"""Who may connect, told from outside a live gateway: identities, passwords, TLS, subprotocols."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import ClientConnection
from websockets.http11 import Response

from csms import passwords
from csms.config import Settings
from csms.db import Database
from csms.embedded import APP, OWNER, EmbeddedServer
from csms.passwords import generate_hashed, hash_chosen
from tests.scenarios.gate import Gate, RawStation, basic, boot, count_open_stations, heartbeat
from tests.scenarios.gate import open_gate as open_gate_on

CHOSEN = "Motdepasse choisi é1"
HEX = "30313233343536373839616243646546"


@pytest.fixture
async def gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    async with open_gate_on(settings, database) as gate:
        yield gate


# --- Identities ---------------------------------------------------------------------------------


async def test_unknown_station_gets_404_and_is_on_the_list(gate: Gate) -> None:
    await gate.add("RETIRED", retired_at=datetime.now(UTC))
    for identity in ("NOBODY", "NOBODY", "RETIRED"):
        assert await gate.status(identity) == 404
    await gate.refused("RETIRED", "unknown")
    await gate.eventually(
        [("unknown", "127.0.0.1", 2)],
        "SELECT reason, remote_address, count FROM refused_connection WHERE identity = 'NOBODY'",
    )
    assert await gate.rows("SELECT 1 FROM station WHERE id = 'NOBODY'") == []


async def test_identity_is_the_last_segment_of_the_path(gate: Gate) -> None:
    targets = {
        "/ocpp/CP1": "CP1",
        "/ocpp/RDAM%7C123": "RDAM|123",
        "/ocpp/Place%20%C3%A9t%C3%A9": "Place été",
        "/ocpp/a%2Fb": "a/b",
        "//ocpp///CP2/": "CP2",
        "/ocpp/CP3?token=1": "CP3",
        "/ocpp/site/garage/CP4": "CP4",
        "/ocpp/ws://other.example:9000/ocpp/CP5": "CP5",
        "/ws://127.0.0.1:9000/ocpp/CP6": "CP6",
        "ws://127.0.0.1:9000/ocpp/CP7": "CP7",
    }
    for target, identity in targets.items():
        await gate.add(identity)
        async with RawStation.open(gate, target, "Connection: Upgrade") as station:
            assert station.status == 101, target
            await gate.connected(identity, True)


async def test_other_paths_lead_nowhere(gate: Gate) -> None:
    await gate.add("CP1")
    for target in ("/", "/ocpp", "/ocpp/", "/CP1", "/other/CP1", "/ocpp/%FF", "/ocpp/%00"):
        async with RawStation.open(gate, target, "Connection: Upgrade") as station:
            assert station.status == 404, target


async def test_station_that_leaves_out_connection_upgrade_is_let_in(gate: Gate) -> None:
    await gate.add("CP1")
    for header in ("Connection: keep-alive", "X-Nothing: 1"):
        async with RawStation.open(gate, "/ocpp/CP1", header) as station:
            assert station.status == 101
            station.send("Heartbeat", {})
            assert "currentTime" in str(await station.read())


async def test_station_that_hangs_up_in_its_handshake_leaves_nothing_behind(gate: Gate) -> None:
    await gate.add("CP1")
    await gate.add("CP2")
    before = await count_open_stations(gate)
    for _ in range(30):
        async with RawStation.open(gate, "/ocpp/CP1", "Connection: Upgrade", answered=False):
            pass  # cut before the answer
    async with gate.connect("CP2") as socket:  # knocks after all of them
        await heartbeat(socket)
    await gate.connected("CP1", False)
    await gate.connected("CP2", False)
    assert await count_open_stations(gate) == before
    async with gate.connect("CP1") as socket:
        await heartbeat(socket)
        await gate.connected("CP1", True)
    await gate.connected("CP1", False)


async def test_unknown_station_waits_on_hold_where_the_setting_says_so(
    settings: Settings, database: Database
) -> None:
    settings = replace(settings, unknown_stations="pending", pending_interval_s=17)
    async with open_gate_on(settings, database) as gate, gate.connect("NEW") as socket:
        answer = await boot(socket)
        assert (answer["status"], answer["interval"]) == ("Pending", 17)
        rows = await gate.rows("SELECT boot_status, vendor FROM station WHERE id = 'NEW'")
        assert rows == [("pending", "V")]
        assert await gate.rows("SELECT 1 FROM refused_connection") == []


# --- Passwords ----------------------------------------------------------------------------------


async def test_station_with_a_password_needs_it(gate: Gate) -> None:
    generated, generated_hash = generate_hashed()
    await gate.add("CHOSEN", security_profile=1, password_hash=hash_chosen(CHOSEN))
    await gate.add("GENERATED", security_profile=1, password_hash=generated_hash)
    for identity, right in (("CHOSEN", CHOSEN), ("GENERATED", generated)):
        assert await gate.status(identity, password=right) == 101
        assert await gate.status(identity, password=right) == 101  # by what is remembered
        for wrong in (right + "x", right[:-1], right.upper() + "1", "", "x" * 300, right * 20):
            assert await gate.status(identity, password=wrong) == 401
        assert await gate.status(identity, password=right, user="CP1") == 401
        await gate.refused(identity, "no_password", "wrong_password", "wrong_user")


async def test_refusal_says_how_to_authenticate(gate: Gate) -> None:
    await gate.add("CP1", security_profile=1, password_hash=generate_hashed()[1])
    for authorization in (
        None,
        "",
        "Basic",
        "Basic !!!!",
        "Basic Q1Ax",
        "Bearer secret-word",
        "basic " + basic("CP1", "no")[6:],
        "Basic " + "A" * 6000,
    ):
        answer = await gate.knock("CP1", authorization=authorization)
        assert isinstance(answer, Response)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="OCPP"'
        assert answer.body is not None
        assert b"secret-word" not in answer.body


async def test_password_is_taken_as_text_and_as_the_hex_that_it_may_mean(gate: Gate) -> None:
    """Field case 35: the specification leaves open which of the two goes over the wire."""
    await gate.add("CHOSEN", security_profile=1, password_hash=hash_chosen(HEX))
    fast = passwords.hash_generated("a9" * 16)
    await gate.add("GENERATED", security_profile=1, password_hash=fast)
    raw = bytes.fromhex(HEX)
    assert await gate.status("CHOSEN", password=HEX) == 101
    assert await gate.status("GENERATED", password="a9" * 16) == 101
    assert await gate.status("GENERATED", password=b"\xa9" * 16) == 101
    assert await gate.status("GENERATED", password=b"\xa8" * 16) == 401
    await gate.add("TEXT", security_profile=1, password_hash=hash_chosen(raw.decode()))
    assert await gate.status("TEXT", password=HEX) == 101


async def test_password_in_the_clear_is_nowhere_to_be_found(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    await gate.add("CP1", security_profile=1, password_hash=hash_chosen(CHOSEN))
    with caplog.at_level("INFO"):
        for password in (CHOSEN, "Motdepasse faux 1"):
            await gate.status("CP1", password=password)
    await gate.refused("CP1", "wrong_password")
    rows = await gate.rows(
        "SELECT to_json(r)::text FROM refused_connection r"
        " UNION ALL SELECT to_json(t)::text FROM station t"
    )
    assert "Motdepasse" not in caplog.text + str(rows)
    assert basic("CP1", CHOSEN)[6:] not in caplog.text + str(rows)


async def test_changed_password_counts_at_once(gate: Gate) -> None:
    await gate.add("CP1", security_profile=1, password_hash=hash_chosen(CHOSEN))
    assert await gate.status("CP1", password=CHOSEN) == 101
    await gate.rows(
        "UPDATE station SET password_hash = %s RETURNING 1", hash_chosen("Un autre mot 2")
    )
    assert await gate.status("CP1", password=CHOSEN) == 401
    assert await gate.status("CP1", password="Un autre mot 2") == 101


async def test_station_without_a_profile_may_leave_its_password_out(gate: Gate) -> None:
    await gate.add("CP1", security_profile=0, password_hash=hash_chosen(CHOSEN))
    assert await gate.status("CP1") == 101
    assert await gate.status("CP1", password=CHOSEN) == 101
    assert await gate.status("CP1", password="wrong word 3") == 401


# --- TLS ----------------------------------------------------------------------------------------


def self_signed(
    folder: Path, name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> Path:
    """A certificate for 127.0.0.1 in `name`.pem, its key in `name`.key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / f"{name}.pem"


@pytest.fixture
async def secure_gate(
    settings: Settings, database: Database, tmp_path: Path
) -> AsyncIterator[Gate]:
    """With two certificates: of an old kind of key and of a new one."""
    certificates = (
        self_signed(tmp_path, "rsa", rsa.generate_private_key(65537, 2048)),
        self_signed(tmp_path, "ec", ec.generate_private_key(ec.SECP256R1())),
    )
    keys = tuple(path.with_suffix(".key") for path in certificates)
    settings = replace(settings, tls_cert=certificates, tls_key=keys)
    async with open_gate_on(settings, database) as gate:
        yield gate


def trusting(gate: Gate, kind: str | None = None) -> ssl.SSLContext:
    """A station that trusts both certificates; `kind`: it can only do with ECDSA or RSA."""
    context = ssl.create_default_context()
    for path in gate.settings.tls_cert:
        context.load_verify_locations(path)
    if kind is not None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"ECDHE-{kind}-AES128-GCM-SHA256")
    return context


async def test_security_profile_is_a_floor(secure_gate: Gate) -> None:
    gate = secure_gate
    password, password_hash = generate_hashed()
    for profile in (1, 2, 3):
        await gate.add(f"CP{profile}", security_profile=profile, password_hash=password_hash)
    await gate.add("CP0")
    tls = trusting(gate)
    assert await gate.status("CP0") == 101
    assert await gate.status("CP0", tls=tls) == 101
    assert await gate.status("CP1", password=password) == 101
    assert await gate.status("CP1", password=password, tls=tls) == 101
    assert await gate.status("CP2", password=password) == 401
    assert await gate.status("CP2", password=password, tls=tls) == 101
    assert await gate.status("CP2", tls=tls) == 401
    assert await gate.status("CP3", password=password, tls=tls) == 401
    await gate.refused("CP2", "tls", "no_password")
    await gate.refused("CP3", "certificate")


async def test_each_station_gets_the_certificate_that_it_can_check(secure_gate: Gate) -> None:
    gate = secure_gate
    await gate.add("CP1")
    for kind, name in (("RSA", "rsa"), ("ECDSA", "ec")):
        async with gate.connect("CP1", tls=trusting(gate, kind)) as socket:
            await heartbeat(socket)
            certificate = socket.transport.get_extra_info("peercert")
            assert certificate["subject"] == ((("commonName", name),),)


async def test_tls_older_than_1_2_is_refused(secure_gate: Gate) -> None:
    await secure_gate.add("CP1")
    tls = trusting(secure_gate)
    tls.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await secure_gate.status("CP1", tls=tls)


# --- Subprotocols -------------------------------------------------------------------------------


async def test_subprotocol_is_the_expected_one_or_the_first_that_we_speak(gate: Gate) -> None:
    choices: list[tuple[str | None, list[str], str | None]] = [
        (None, ["ocpp1.6"], "ocpp1.6"),
        (None, ["ocpp2.0.1"], "ocpp2.0.1"),
        (None, ["ocpp2.0.1", "ocpp1.6"], "ocpp2.0.1"),
        (None, ["ocpp1.6", "ocpp2.0.1"], "ocpp1.6"),
        (None, ["ocpp1.5", "ocpp2.0.1"], "ocpp2.0.1"),
        ("ocpp1.6", ["ocpp2.0.1", "ocpp1.6"], "ocpp1.6"),
        ("ocpp2.0.1", ["ocpp1.6", "ocpp2.0.1"], "ocpp2.0.1"),
        ("ocpp1.6", [], None),
        (None, [], None),
    ]
    for number, (expected, offered, chosen) in enumerate(choices):
        await gate.add(f"CP{number}", protocol=expected)
        async with gate.connect(f"CP{number}", protocols=offered) as socket:
            assert socket.subprotocol == chosen
            await heartbeat(socket)


async def test_foreign_subprotocols_are_refused_visibly(gate: Gate) -> None:
    choices: list[tuple[str | None, list[str]]] = [
        (None, ["ocpp1.5"]),
        (None, ["ocpp2.0", "mqtt"]),
        ("ocpp1.6", ["ocpp2.0.1"]),
        ("ocpp2.0.1", ["ocpp1.6", "ocpp2.0"]),
    ]
    for number, (expected, offered) in enumerate(choices):
        await gate.add(f"CP{number}", protocol=expected)
        assert await gate.status(f"CP{number}", protocols=offered) == 400
        await gate.eventually(
            [("subprotocol", ", ".join(offered))],
            "SELECT reason, detail FROM refused_connection WHERE identity = %s",
            f"CP{number}",
        )


# --- The database away --------------------------------------------------------------------------


async def test_nobody_comes_in_while_the_database_is_away(
    settings: Settings, tmp_path: Path
) -> None:
    server = EmbeddedServer(tmp_path / "own")
    server.join()
    try:
        database = Database(server.conninfo(OWNER), server.conninfo(APP))
        settings = replace(
            settings, database_url=database.app_url, database_owner_url=database.owner_url
        )
        async with open_gate_on(settings, database) as gate:
            await gate.add("CP1")
            async with gate.connect("CP1") as staying:
                await heartbeat(staying)
                server.leave()
                for identity in ("CP1", "NOBODY"):
                    refusal = await gate.knock(identity)
                    assert isinstance(refusal, Response)
                    assert refusal.status_code == 503
                    assert 1 <= int(refusal.headers["Retry-After"]) <= 30
                server.join()
                await heartbeat(staying, "2")  # neither cut nor forgotten
            await back(gate, "CP1")
    finally:
        server.leave()


async def back(gate: Gate, identity: str) -> None:
    """Wait until the station is let in."""
    for _ in range(200):
        if isinstance(await gate.knock(identity), ClientConnection):
            return
    raise AssertionError("still refused")


# --- More than a node can take at once -----------------------------------------------------------


async def test_storm_beyond_the_rate_is_told_when_to_come_and_gets_in_then(
    settings: Settings, database: Database
) -> None:
    settings = replace(settings, handshakes_per_s_max=1.0, handshakes_burst_max=10)
    async with open_gate_on(settings, database) as gate:
        await gate.add("CP1")
        answers = [await gate.knock("CP1") for _ in range(40)]
        busy = [answer for answer in answers if isinstance(answer, Response)]
        assert 0 < len(busy) <= 30
        for answer in busy:
            assert answer.status_code == 503
            assert 1 <= int(answer.headers["Retry-After"]) <= 30
        await gate.refused("CP1", "busy")
        async with asyncio.timeout(30):
            while await gate.status("CP1") != 101:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
