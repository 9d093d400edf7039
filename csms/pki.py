"""Station certificates: requests read and checked, certificates made by the operator's own CA.

A request (CSR, PKCS #10) is taken when its signature proves the key, the key is strong enough, and
its subject names the station that asks (OCPP 2.0.1 A00.FR.511: CN is the station's serial number;
the 1.6 security white paper: the station's identity; O is the operator where a setting says so).
What is issued can prove a station to us as a TLS client, and nothing else.
"""

import itertools
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from csms.config import SettingError

RSA_BITS_MIN: Final = 2048
RSA_BITS_MAX: Final = 8192  # more costs seconds to check
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
CHAIN_CERTIFICATES_MAX: Final = 10
SERIAL_BITS: Final = 159  # of chance; RFC 5280, 4.1.2.2: positive, 20 octets at most
_BACKDATED: Final = timedelta(hours=1)  # a station's clock may be behind
_WEAK_HASHES: Final = (hashes.MD5, hashes.SHA1)

StationKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class RequestRefused(Exception):
    """A request for a certificate that cannot be granted; the text is a sentence for people."""


class Csr(NamedTuple):
    """A request that proves its key."""

    request: x509.CertificateSigningRequest
    key: StationKey
    common_name: str
    organization: str | None
    subject: str  # as people read it (RFC 4514)


class Authority(NamedTuple):
    """A CA of our own: its certificate, its key, and the intermediate ones above it."""

    certificate: x509.Certificate
    key: SigningKey
    chain: tuple[x509.Certificate, ...]  # what goes with a certificate; no root


class CertificateFacts(NamedTuple):
    """What is kept of a certificate."""

    serial: str  # hex, lower case
    fingerprint_sha256: str  # hex, lower case
    subject: str
    issuer: str
    common_name: str | None  # None: none, or several
    organization: str | None
    not_before: datetime
    not_after: datetime


# --- Requests -----------------------------------------------------------------------------------


def read_request(text: str, length_max: int) -> Csr:
    """A request in PEM, its signature and key checked.

    Raises: RequestRefused.
    """
    if len(text) > length_max:
        raise RequestRefused(f"The request has {len(text)} characters, more than {length_max}.")
    pem = text.replace("\\n", "\n").strip() + "\n"  # some stations escape the line breaks twice
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        subject = request.subject
        signed = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise RequestRefused("The request cannot be read: it is no PKCS #10 in PEM.") from None
    if not signed:
        raise RequestRefused("The signature of the request does not prove its key.")
    if isinstance(request.signature_hash_algorithm, _WEAK_HASHES):
        raise RequestRefused("The request is signed with a broken hash; SHA-256 is needed.")
    common_names = _texts(subject, NameOID.COMMON_NAME)
    if len(common_names) != 1:
        raise RequestRefused("The subject of the request needs one common name (CN), no more.")
    organizations = _texts(subject, NameOID.ORGANIZATION_NAME)
    return Csr(
        request,
        _checked(key),
        common_names[0],
        organizations[0] if len(organizations) == 1 else None,
        subject.rfc4514_string(),
    )


def check_request(csr: Csr, names: Collection[str], organization: str | None) -> None:
    """Accept a request of a station that goes by these names, its O being that if given.

    Raises: RequestRefused.
    """
    if csr.common_name not in names:
        known = " or ".join(sorted(names))
        raise RequestRefused(
            f"The request is for {csr.common_name[:100]!r}; this station is {known}."
        )
    if organization is not None and csr.organization != organization:
        raise RequestRefused(f"The organization (O) in the request must be {organization!r}.")


def _checked(key: object) -> StationKey:
    """Raises: RequestRefused for a weak or unusual key."""
    if isinstance(key, rsa.RSAPublicKey):
        if RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            return key
        raise RequestRefused(
            f"The RSA key has {key.key_size} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken."
        )
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, CURVES):
            return key
        raise RequestRefused(f"The curve {key.curve.name} is not taken; P-256 or better is.")
    raise RequestRefused("The key is neither RSA nor of an elliptic curve.")


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)]


# --- Our own CA ---------------------------------------------------------------------------------


def load_authority(certificate: Path, key: Path, passphrase: str | None) -> Authority:
    """The CA of two files: its certificate first, perhaps those above it; and its key.

    Raises: SettingError, which names the setting and never the passphrase.
    """
    try:
        found = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingError(
            f"The CA certificate {certificate} cannot be used: {_reason(error)}. "
            "See T2P_STATION_CA_CERT."
        ) from error
    private = _load_key(key, passphrase)
    own = found[0]
    if own.public_key() != private.public_key():
        raise SettingError(
            f"The key {key} is not that of the certificate {certificate}. "
            "See T2P_STATION_CA_CERT and T2P_STATION_CA_KEY."
        )
    if not _is_authority(own):
        raise SettingError(
            f"The certificate {certificate} may not sign others: it is no CA. "
            "See T2P_STATION_CA_CERT."
        )
    chain = tuple(above for above in found if above.subject != above.issuer)
    return Authority(own, private, chain[:CHAIN_CERTIFICATES_MAX])


def _load_key(path: Path, passphrase: str | None) -> SigningKey:
    try:
        secret = passphrase.encode() if passphrase else None
        key = serialization.load_pem_private_key(path.read_bytes(), secret)
    except OSError as error:
        raise SettingError(
            f"The CA key {path} cannot be used: {_reason(error)}. See T2P_STATION_CA_KEY."
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingError(
            f"The CA key {path} cannot be used: it is no private key in PEM, or its passphrase is "
            "another one. See T2P_STATION_CA_KEY and T2P_STATION_CA_PASSPHRASE."
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise SettingError(f"The CA key {path} is neither RSA nor of an elliptic curve.")
    return key


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return basic.value.ca


def sign(authority: Authority, csr: Csr, *, validity_days: int, now: datetime) -> str:
    """A certificate for the request, and what must go with it: PEM, the station's own first.

    It ends with its CA at the latest. Of the request only key, CN and O are taken over: what else
    it may ask for is not the station's to decide.

    Raises: RequestRefused when the CA itself is not valid now.
    """
    issuer = authority.certificate
    if not issuer.not_valid_before_utc <= now < issuer.not_valid_after_utc:
        raise RequestRefused("The operator's CA is not valid now: its certificate must be renewed.")
    not_after = min(now + timedelta(days=validity_days), issuer.not_valid_after_utc)
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, csr.common_name)]
    if csr.organization is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, csr.organization))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(issuer.subject)
        .public_key(csr.key)
        .serial_number(secrets.randbits(SERIAL_BITS) | 1)
        .not_valid_before(max(now - _BACKDATED, issuer.not_valid_before_utc))
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(csr.key), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.key), critical=False)
        .add_extension(_issuer_key_identifier(issuer), critical=False)
    )
    certificate = builder.sign(authority.key, hashes.SHA256())
    return pem_of([certificate, *authority.chain])


def _key_usage(key: StationKey, *, ca: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=not ca and isinstance(key, rsa.RSAPublicKey),
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _issuer_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        public = issuer.public_key()
        assert isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def make_authority(
    common_name: str, organization: str | None, *, validity_days: int, now: datetime
) -> tuple[str, str]:
    """A new CA: its certificate and its key, both PEM, the key without a passphrase."""
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    name = x509.Name(attributes)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(SERIAL_BITS) | 1)
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=validity_days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key.public_key(), ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem_of([certificate]), private.decode()


# --- Certificates -------------------------------------------------------------------------------


def read_chain(pem: str) -> list[x509.Certificate]:
    """The certificates of a PEM text, in their order.

    Raises: ValueError when there are none, too many, or one that cannot be read.
    """
    found = x509.load_pem_x509_certificates(pem.replace("\\n", "\n").encode())
    if len(found) > CHAIN_CERTIFICATES_MAX:
        raise ValueError(f"there are more than {CHAIN_CERTIFICATES_MAX} certificates")
    return found


def check_issued(
    chain: Sequence[x509.Certificate], csr: Csr, names: Collection[str], now: datetime
) -> None:
    """Accept what another CA answered to a request: a certificate for its key, of one of the
    names, valid now, and each one signed by the next.

    Raises: RequestRefused.
    """
    own = chain[0]
    if own.public_key() != csr.key:
        raise RequestRefused("The CA answered with a certificate for another key.")
    facts = facts_of(own)
    if facts.common_name not in names:
        raise RequestRefused("The CA answered with a certificate for another name.")
    if not facts.not_before - _BACKDATED <= now < facts.not_after:
        raise RequestRefused("The CA answered with a certificate that is not valid now.")
    for lower, upper in itertools.pairwise(chain):
        try:
            lower.verify_directly_issued_by(upper)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise RequestRefused(
                "The CA answered with a chain in which one did not sign the other."
            ) from None


def load(der: bytes) -> x509.Certificate:
    """A certificate as TLS carries it. Raises: ValueError."""
    return x509.load_der_x509_certificate(der)


def facts_of(certificate: x509.Certificate) -> CertificateFacts:
    """What is kept of a certificate."""
    names = _texts(certificate.subject, NameOID.COMMON_NAME)
    organizations = _texts(certificate.subject, NameOID.ORGANIZATION_NAME)
    return CertificateFacts(
        serial=f"{certificate.serial_number:x}",
        fingerprint_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        common_name=names[0] if len(names) == 1 else None,
        organization=organizations[0] if len(organizations) == 1 else None,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def pem_of(certificates: Sequence[x509.Certificate]) -> str:
    """Certificates as PEM, one after the other."""
    return "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in certificates)


def pem_of_request(csr: Csr) -> str:
    """A request as PEM, as another CA takes it."""
    return csr.request.public_bytes(serialization.Encoding.PEM).decode()


def end_of_file(path: Path) -> datetime | None:
    """When the first certificate of a file ends; None when there is none to be read."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0].not_valid_after_utc
    except (OSError, ValueError):
        return None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is no certificate in PEM"
