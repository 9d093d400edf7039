"""TLS of the gateway: versions, cipher suites, our certificates, and those of stations.

Several pairs of certificate and key may be given: a client gets the one whose kind it can check, so
that ECDSA and RSA live on one port. Stations of security profile 3 prove themselves by a
certificate; it is asked for and not demanded, since those of profile 2 have none.
"""

import ssl
from pathlib import Path
from typing import Final

from csms.config import SettingError, Settings

#: OCPP 2.0.1 A00.FR.318 and the 1.6 security white paper name these (and RSA key exchange, below);
#: those with ECDHE-RSA give an RSA certificate forward secrecy. TLS 1.3 has its own.
SUITES: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
#: TLS_RSA_WITH_AES_128_GCM_SHA256 and _256_GCM_SHA384: whoever gets our key later reads it all
RSA_KEY_EXCHANGE: Final = ("AES128-GCM-SHA256", "AES256-GCM-SHA384")


def server_context(settings: Settings) -> ssl.SSLContext:
    """The gateway's side of TLS 1.2 or newer.

    Raises: SettingError for a file that cannot be read, or a pair that does not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    suites = SUITES + (RSA_KEY_EXCHANGE if settings.tls_rsa_key_exchange else ())
    context.set_ciphers(":".join(suites))
    for certificate, key in zip(settings.tls_cert, settings.tls_key, strict=True):
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:  # what is wrong inside a file is an ssl.SSLError, one of these
            raise SettingError(
                f"The certificate {certificate} with the key {key} cannot be used: "
                f"{error.strerror or error}. See T2P_TLS_CERT and T2P_TLS_KEY."
            ) from error
    for path, setting in ((settings.tls_ca, "T2P_TLS_CA"), (settings.station_ca_cert, _OWN_CA)):
        if path is not None:
            _trust(context, path, setting)
    return context


_OWN_CA: Final = "T2P_STATION_CA_CERT"


def _trust(context: ssl.SSLContext, path: Path, setting: str) -> None:
    """Ask stations for a certificate, and believe those that this CA has signed."""
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise SettingError(
            f"The CA {path} cannot be used: {error.strerror or error}. See {setting}."
        ) from error
    # A CA file may hold an intermediate one alone: what it has signed is trusted, and no more.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_OPTIONAL
