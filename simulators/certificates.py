"""Certificates of a charge point: what it trusts, its own keys, and the requests for its own.

Roots come and go by order; a key is made for each request, and a certificate is taken when it is of
the key that was asked for last. Nothing here touches a file: what a connection needs is given as
PEM texts.
"""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

CHAIN_MAX = 5  # certificates of one chain
STATION, V2G = "ChargingStationCertificate", "V2GCertificate"
HashData = dict[str, str]
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "SHA256": hashes.SHA256,
    "SHA384": hashes.SHA384,
    "SHA512": hashes.SHA512,
}


@dataclass
class OwnCertificate:
    """A key of the station and the chain that was signed for it, leaf first; both PEM."""

    key_pem: str
    chain_pem: str


@dataclass
class CertificateStore:
    """Roots by type, own certificates by type (STATION, V2G)."""

    roots: dict[str, list[x509.Certificate]] = field(default_factory=dict)
    own: dict[str, OwnCertificate] = field(default_factory=dict)
    _asked: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Roots of all types."""
        return sum(len(roots) for roots in self.roots.values())

    def install(self, kind: str, pem: str) -> None:
        """Trust one more root.

        Raises: ValueError when it is no certificate.
        """
        root = x509.load_pem_x509_certificate(pem.encode())
        known = self.roots.setdefault(kind, [])
        if root not in known:
            known.append(root)

    def ids(self, kinds: list[str] | None = None) -> list[tuple[str, HashData]]:
        """Type and hash data of the roots, of these types only unless None."""
        return [
            (kind, hash_data(root, self._issuer(root)))
            for kind, roots in self.roots.items()
            for root in roots
            if kinds is None or kind in kinds
        ]

    def delete(self, wanted: HashData) -> bool:
        """Forget a root. False: there is none with this hash data."""
        name = wanted["hashAlgorithm"]
        for roots in self.roots.values():
            for root in roots:
                known = hash_data(root, self._issuer(root), name)
                if all(known[part].lower() == wanted[part].lower() for part in known):
                    roots.remove(root)
                    return True
        return False

    def request(self, kind: str, identity: str, organization: str) -> str:
        """A new key, and the request (PEM) for a certificate of it."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._asked[kind] = key
        subject = [
            x509.NameAttribute(NameOID.COMMON_NAME, identity[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization[:64] or "-"),
        ]
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
        signed = builder.sign(key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def signed(self, kind: str, chain_pem: str) -> bool:
        """Take a chain; False: it cannot be read, or is not of the key last asked for."""
        key = self._asked.get(kind)
        if key is None:
            return False
        try:
            chain = x509.load_pem_x509_certificates(chain_pem.encode())
        except ValueError:
            return False
        if not chain or len(chain) > CHAIN_MAX or chain[0].public_key() != key.public_key():
            return False
        del self._asked[kind]
        self.own[kind] = OwnCertificate(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
            chain_pem,
        )
        return True

    def roots_pem(self, kinds: tuple[str, ...]) -> list[str]:
        """The roots of these types."""
        encoding = serialization.Encoding.PEM
        return [
            root.public_bytes(encoding).decode()
            for kind in kinds
            for root in self.roots.get(kind, [])
        ]

    def _issuer(self, certificate: x509.Certificate) -> x509.Certificate:
        """Itself when self-signed, or when its issuer is not here."""
        for roots in self.roots.values():
            for root in roots:
                if root.subject == certificate.issuer:
                    return root
        return certificate


def hash_data(
    certificate: x509.Certificate, issuer: x509.Certificate, algorithm: str = "SHA256"
) -> HashData:
    """CertificateHashDataType: the issuer's name and key, hashed, and the serial number in hex."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, _HASHES[algorithm]())
    asked = builder.build()  # OCSP names certificates by the same hashes
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": asked.issuer_name_hash.hex(),
        "issuerKeyHash": asked.issuer_key_hash.hex(),
        "serialNumber": f"{certificate.serial_number:x}",
    }


def is_certificate(pem: str | None) -> bool:
    """Whether a text is a certificate in PEM."""
    try:
        x509.load_pem_x509_certificate((pem or "").encode())
    except ValueError:
        return False
    return True
