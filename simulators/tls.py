"""The TLS of a charge point: what it was delivered with, and what orders have given it since."""

import os
import tempfile
from pathlib import Path
from ssl import SSLContext, TLSVersion, create_default_context

from simulators.certificates import STATION, CertificateStore

ROOT_KINDS = ("CentralSystemRootCertificate", "CSMSRootCertificate")


def context(
    delivered: SSLContext | None, store: CertificateStore, *, client: bool
) -> SSLContext | None:
    """For one connection; None: the certificates of the system.

    delivered: with its roots, and its client certificate until one was signed. Installed roots are
    trusted beside them. client: show the station's own certificate, where it has one.
    """
    roots = store.roots_pem(ROOT_KINDS)
    own = store.own.get(STATION) if client else None
    if not roots and own is None:
        return delivered
    made = create_default_context()
    made.minimum_version = TLSVersion.TLSv1_2
    if delivered is not None:
        made.check_hostname = delivered.check_hostname
        made.verify_mode = delivered.verify_mode
        if known := b"".join(delivered.get_ca_certs(binary_form=True)):
            made.load_verify_locations(cadata=known)
    if roots:
        made.load_verify_locations(cadata="\n".join(roots))
    if own is not None:
        _load(made, own.key_pem + own.chain_pem)
    return made


def _load(made: SSLContext, pem: str) -> None:
    """Key and chain; OpenSSL takes them from a file only, which nobody else can read."""
    descriptor, name = tempfile.mkstemp(suffix=".pem")
    try:
        os.write(descriptor, pem.encode())
        os.close(descriptor)
        made.load_cert_chain(name)
    finally:
        Path(name).unlink()
