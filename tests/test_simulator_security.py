"""A station whose orders change how it connects: passwords, profiles, certificates, real TLS."""

import base64
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import ocpp.v16.call as call16
import ocpp.v201.call as call201
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from simulators.access import ATTEMPTS_MAX, Access, Way
from simulators.certificates import CertificateStore, hash_data
from simulators.driver import Driver, DriverConfig, running, utc_now
from simulators.faults import Faults
from simulators.model import OCPP16, OCPP201, StationConfig
from simulators.station import Station
from tests.simulator_peer import Peer, peer_listening

PROTOCOLS = pytest.mark.parametrize("protocol", [OCPP16, OCPP201])
_PEM = serialization.Encoding.PEM


class Authority:
    """A certificate authority that signs what it is given."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.root = self._sign(self.subject, self._key.public_key(), is_ca=True)
        self.pem = self.root.public_bytes(_PEM).decode()

    def _sign(
        self, subject: x509.Name, key: Any, *, is_ca: bool = False, host: str | None = None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if host is not None:
            names = [x509.IPAddress(ip_address(host))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def answer(self, csr_pem: str) -> str:
        """The certificate that was requested, PEM."""
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        assert csr.is_signature_valid
        return self._sign(csr.subject, csr.public_key()).public_bytes(_PEM).decode()

    def server(self, directory: Path, *, clients: bool) -> ssl.SSLContext:
        """A server's context; clients: it wants certificates of this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "csms")])
        certificate = self._sign(subject, key.public_key(), host="127.0.0.1")
        path = directory / "server.pem"
        path.write_bytes(
            key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + certificate.public_bytes(_PEM)
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self.pem)
        return context


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("our root")


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with peer_listening() as peer:
        yield peer


def driver_of(peer: Peer, protocol: str, **options: Any) -> Driver:
    faults = options.pop("faults", Faults())
    config = StationConfig(identity="CP1", protocol=protocol, faults=faults)
    options = {"backoff_min_s": 0.01, "backoff_max_s": 0.02, "call_timeout_s": 10, **options}
    return Driver(Station(config, utc_now()), DriverConfig(url=peer.url, **options))


def basic(password: bytes) -> str:
    return "Basic " + base64.b64encode(b"CP1:" + password).decode()


async def change(client: Any, protocol: str, name: str, value: str) -> str:
    """One setting: a key of 1.6, `Component.Variable` of 2.0.1."""
    if protocol == OCPP16:
        return str((await client.call(call16.ChangeConfiguration(name, value))).status)
    component, _, variable = name.partition(".")
    entry = {
        "component": {"name": component},
        "variable": {"name": variable},
        "attribute_value": value,
    }
    done = await client.call(call201.SetVariables([entry]))
    return str(done.set_variable_result[0]["attribute_status"])


async def reconnected(driver: Driver, connections: int) -> None:
    await driver.until(lambda: driver.connections > connections, 30)
    await driver.settled(30)


# ---- passwords


@PROTOCOLS
@pytest.mark.parametrize("decoded", [False, True])
async def test_an_ordered_password_is_shown_on_the_next_connection(
    peer: Peer, protocol: str, decoded: bool
) -> None:
    name = "AuthorizationKey" if protocol == OCPP16 else "SecurityCtrlr.BasicAuthPassword"
    driver = driver_of(peer, protocol, password="delivered", faults=Faults(hex_password=decoded))
    key = "00112233445566778899aabbccddeeff"
    async with running(driver):
        await driver.settled(30)
        client = peer.clients["CP1"]
        assert await change(client, protocol, name, "short") == "Rejected"
        assert await change(client, protocol, name, key) == "Accepted"
        await reconnected(driver, 1)
        assert peer.passwords == [
            basic(b"delivered"),
            basic(bytes.fromhex(key) if decoded else key.encode()),
        ]
    event = peer.payloads("SecurityEventNotification")[0]
    assert event["type"] == "ReconfigurationOfSecurityParameters"
    assert key not in str(driver.station.settings.get(name))


async def test_a_key_that_is_no_hex_is_refused_by_a_station_that_decodes_it(peer: Peer) -> None:
    driver = driver_of(peer, OCPP16, password="delivered", faults=Faults(hex_password=True))
    async with running(driver):
        await driver.settled(30)
        client = peer.clients["CP1"]
        assert await change(client, OCPP16, "AuthorizationKey", "not hexadecimal!") == "Rejected"


# ---- profiles


def test_a_way_that_never_worked_is_given_up_for_the_one_that_did() -> None:
    access = Access(1)
    access.change_profile(2)
    for _ in range(ATTEMPTS_MAX - 1):
        access.failed()
    assert access.security_profile == 2
    access.failed()
    assert access.security_profile == 1
    access.change_profile(2)
    access.succeeded()
    for _ in range(10):
        access.failed()
    assert access.security_profile == 2


def test_network_profiles_are_tried_in_their_order() -> None:
    access = Access(1)
    access.slots[2] = Way(1, "ws://other")
    access.priority = [2, 1]
    access.use_priority()
    assert access.way.url == "ws://other"
    for _ in range(ATTEMPTS_MAX):
        access.failed()
    assert access.way.url is None


async def test_a_profile_that_fails_is_left_for_the_old_one(peer: Peer) -> None:
    """Nothing listens where it is told to use TLS."""
    driver = driver_of(
        peer,
        OCPP16,
        password="delivered",
        ssl=ssl.create_default_context(),
        secure_url="wss://127.0.0.1:1/ocpp",
    )
    async with running(driver):
        await driver.settled(30)
        client = peer.clients["CP1"]
        assert await change(client, OCPP16, "SecurityProfile", "3") == "Rejected"
        assert await change(client, OCPP16, "SecurityProfile", "0") == "Rejected"
        assert await change(client, OCPP16, "SecurityProfile", "2") == "Accepted"
        await reconnected(driver, 1)
        read = await peer.clients["CP1"].call(call16.GetConfiguration(key=["SecurityProfile"]))
    assert read.configuration_key[0]["value"] == "1"
    assert len([error for error in driver.errors if "Connect" in error]) == ATTEMPTS_MAX


async def test_a_network_profile_of_201_is_used_after_the_reset(peer: Peer) -> None:
    async with peer_listening() as other:
        driver = driver_of(peer, OCPP201, password="delivered")
        async with running(driver):
            await driver.settled(30)
            client = peer.clients["CP1"]
            name = "OCPPCommCtrlr.NetworkConfigurationPriority"
            assert await change(client, OCPP201, name, "2,1") == "Rejected"
            data = {
                "ocpp_version": "OCPP20",
                "ocpp_transport": "JSON",
                "ocpp_csms_url": other.url,
                "message_timeout": 30,
                "security_profile": 1,
                "ocpp_interface": "Wired0",
            }
            answer = await client.call(call201.SetNetworkProfile(2, data))
            assert answer.status == "Accepted"
            lower = await client.call(call201.SetNetworkProfile(3, data | {"security_profile": 0}))
            assert lower.status == "Rejected"
            assert await change(client, OCPP201, name, "2,1") == "RebootRequired"
            assert (await client.call(call201.Reset("Immediate"))).status == "Accepted"
            await reconnected(driver, 1)
    assert other.actions("CP1")[0] == "BootNotification"


# ---- certificates


def test_requests_are_by_key_and_identity_and_answers_by_the_last_key(
    authority: Authority,
) -> None:
    store = CertificateStore()
    first = store.request("ChargingStationCertificate", "CP1", "Time2Plug")
    second = store.request("ChargingStationCertificate", "CP1", "Time2Plug")
    name = x509.load_pem_x509_csr(second.encode()).subject
    assert name.rfc4514_string() == "O=Time2Plug,CN=CP1"
    assert not store.signed("ChargingStationCertificate", authority.answer(first))
    assert not store.signed("ChargingStationCertificate", "nonsense")
    assert store.signed("ChargingStationCertificate", authority.answer(second))
    assert not store.signed("ChargingStationCertificate", authority.answer(second))


def test_hash_data_names_issuer_and_key_as_ocsp_does(authority: Authority) -> None:
    data = hash_data(authority.root, authority.root, "SHA384")
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority.root.public_key())
    assert len(data["issuerNameHash"]) == len(data["issuerKeyHash"]) == 96
    assert int(data["serialNumber"], 16) == authority.root.serial_number
    assert identifier.digest  # the same bits, by SHA-1
    other = hash_data(Authority("another").root, authority.root, "SHA384")
    assert other["issuerKeyHash"] == data["issuerKeyHash"]
    assert other["issuerNameHash"] != data["issuerNameHash"]


@PROTOCOLS
async def test_roots_are_installed_listed_and_deleted(
    peer: Peer, protocol: str, authority: Authority
) -> None:
    call: Any = call16 if protocol == OCPP16 else call201
    kind = "CentralSystemRootCertificate" if protocol == OCPP16 else "CSMSRootCertificate"
    driver = driver_of(peer, protocol)
    async with running(driver):
        await driver.settled(30)
        client = peer.clients["CP1"]
        ids = call.GetInstalledCertificateIds(kind if protocol == OCPP16 else [kind])
        assert (await client.call(ids)).status == "NotFound"
        assert (await client.call(call.InstallCertificate(kind, "none"))).status == "Rejected"
        installed = await client.call(call.InstallCertificate(kind, authority.pem))
        assert installed.status == "Accepted"
        found = await client.call(ids)
        assert found.status == "Accepted"
        if protocol == OCPP16:
            (data,) = found.certificate_hash_data
        else:
            (chain,) = found.certificate_hash_data_chain
            assert chain["certificate_type"] == kind
            data = chain["certificate_hash_data"]
        assert int(data["serial_number"], 16) == authority.root.serial_number
        wrong = call.DeleteCertificate(data | {"serial_number": "1"})
        assert (await client.call(wrong)).status == "NotFound"
        assert (await client.call(call.DeleteCertificate(data))).status == "Accepted"
        assert (await client.call(ids)).status == "NotFound"


async def test_from_a_password_to_a_client_certificate_step_by_step(
    peer: Peer, authority: Authority, tmp_path: Path
) -> None:
    """1.6: root installed, certificate requested and signed, profile 3, real TLS both ways."""
    async with peer_listening(authority.server(tmp_path, clients=True)) as secure:
        driver = driver_of(peer, OCPP16, password="delivered", secure_url=secure.url)
        async with running(driver):
            await driver.settled(30)
            client = peer.clients["CP1"]
            kind = "CentralSystemRootCertificate"
            await client.call(call16.InstallCertificate(kind, authority.pem))
            assert await change(client, OCPP16, "SecurityProfile", "3") == "Rejected"
            wanted = "SignChargePointCertificate"
            await client.call(call16.ExtendedTriggerMessage(requested_message=wanted))
            await peer.until(lambda: peer.payloads("SignCertificate"), 30)
            csr = peer.payloads("SignCertificate")[0]["csr"]
            answer = await client.call(call16.CertificateSigned("nonsense"))
            assert answer.status == "Rejected"
            answer = await client.call(call16.CertificateSigned(authority.answer(csr)))
            assert answer.status == "Accepted"
            assert await change(client, OCPP16, "SecurityProfile", "3") == "Accepted"
            await reconnected(driver, 1)
    subject = dict(pair for part in secure.shown[0]["subject"] for pair in part)  # type: ignore[index]
    assert subject["commonName"] == "CP1"
    assert secure.passwords == [None]
    kinds = [event["type"] for event in peer.payloads("SecurityEventNotification")]
    assert kinds == ["InvalidChargePointCertificate", "ReconfigurationOfSecurityParameters"]


async def test_a_network_profile_with_a_certificate_of_201_and_its_renewal(
    peer: Peer, authority: Authority, tmp_path: Path
) -> None:
    async with peer_listening(authority.server(tmp_path, clients=True)) as secure:
        driver = driver_of(peer, OCPP201, password="delivered")
        async with running(driver):
            await driver.settled(30)
            await _sign_anew(peer, authority)
            client = peer.clients["CP1"]
            await client.call(call201.InstallCertificate("CSMSRootCertificate", authority.pem))
            data = {
                "ocpp_version": "OCPP20",
                "ocpp_transport": "JSON",
                "ocpp_csms_url": secure.url,
                "message_timeout": 30,
                "security_profile": 3,
                "ocpp_interface": "Wired0",
            }
            answer = await client.call(call201.SetNetworkProfile(2, data))
            assert answer.status == "Accepted"
            name = "OCPPCommCtrlr.NetworkConfigurationPriority"
            assert await change(client, OCPP201, name, "2") == "RebootRequired"
            await client.call(call201.Reset("OnIdle"))
            await reconnected(driver, 1)
            await _sign_anew(secure, authority)  # in profile 3: used at once
            await reconnected(driver, 2)
    first, second = (shown["serialNumber"] for shown in secure.shown if shown is not None)
    assert first != second


async def _sign_anew(peer: Peer, authority: Authority) -> None:
    """Have the station ask for a certificate, and give it."""
    client = peer.clients["CP1"]
    wanted = "SignChargingStationCertificate"
    await client.call(call201.TriggerMessage(requested_message=wanted))
    await peer.until(lambda: peer.payloads("SignCertificate"), 30)
    csr = peer.payloads("SignCertificate")[-1]["csr"]
    answer = await client.call(
        call201.CertificateSigned(
            certificate_chain=authority.answer(csr), certificate_type="ChargingStationCertificate"
        )
    )
    assert answer.status == "Accepted"


async def test_a_server_of_a_foreign_root_is_not_believed(
    peer: Peer, authority: Authority, tmp_path: Path
) -> None:
    """The station falls back to what worked."""
    foreign = Authority("foreign")
    async with peer_listening(foreign.server(tmp_path, clients=False)) as secure:
        driver = driver_of(peer, OCPP16, password="delivered", secure_url=secure.url)
        async with running(driver):
            await driver.settled(30)
            client = peer.clients["CP1"]
            kind = "CentralSystemRootCertificate"
            await client.call(call16.InstallCertificate(kind, authority.pem))
            assert await change(client, OCPP16, "SecurityProfile", "2") == "Accepted"
            await reconnected(driver, 1)
        assert secure.told == []
    assert any("CERTIFICATE_VERIFY_FAILED" in error for error in driver.errors)
