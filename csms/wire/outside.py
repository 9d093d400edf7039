"""Questions of stations that somebody outside has to answer, over HTTP.

    certificate_status   GetCertificateStatus (2.0.1, M06): the responder that the station names
    contract             Get15118EVCertificate (M01, M02): the pool of contract certificates

The pool's interface is small: POST of the request's members as JSON (`iso15118SchemaVersion`,
`action`, `exiRequest`) to the address of the setting, with a Bearer token where the setting has
one; 200 with `{"status": "Accepted" | "Failed", "exiResponse": "<base64>"}`.

Answers are bounded in time and size. No answer is an answer: `None`, which becomes the honest
"Failed" of the protocol.
"""

import asyncio
import base64
import json
import logging
import ssl
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from csms import outbound
from csms.config import SettingError, Settings
from csms.domain.values import UTC
from csms.exchange import Question

log = logging.getLogger(__name__)

CERTIFICATE_STATUS: Final = "certificate_status"
CONTRACT: Final = "contract"

ANSWER_BYTES_MAX: Final = 64 * 1024
OCSP_RESULT_LENGTH_MAX: Final = 5_500  # of GetCertificateStatusResponse.ocspResult
EXI_LENGTH_MAX: Final = 5_600  # of Get15118EVCertificateResponse.exiResponse
CACHE_MAX: Final = 10_000
_CLOCKS_APART: Final = timedelta(minutes=5)
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


_Unusable = outbound.Unusable


class Outside:
    """Asks. One for the process; answers of OCSP responders are kept while they are valid."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._roots = _load_roots(settings)
        self._context: ssl.SSLContext | None = None  # made at the first question: it takes a while
        self._known: OrderedDict[tuple[str, ...], tuple[str, datetime]] = OrderedDict()

    async def ask(self, question: Question) -> dict[str, Any] | None:
        """The answer's payload in the words of the wire; None: there is none to be had."""
        try:
            async with asyncio.timeout(self._settings.outside_timeout_s):
                if question.kind == CERTIFICATE_STATUS:
                    return await self._certificate_status(question.content)
                return await self._contract(question.content)
        except (_Unusable, TimeoutError, httpx.HTTPError, OSError, ValueError) as error:
            log.warning("%s: %s", question.kind, str(error) or type(error).__name__)
            return None

    def _trust(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
            if self._settings.outside_trust is not None:
                self._context.load_verify_locations(self._settings.outside_trust)
        return self._context

    # --- OCSP -------------------------------------------------------------------------------------

    async def _certificate_status(self, content: dict[str, Any]) -> dict[str, Any]:
        data = content.get("ocspRequestData") or {}
        names = ("hashAlgorithm", "issuerNameHash", "issuerKeyHash", "serialNumber")
        key = tuple(str(data.get(name, "")).lower() for name in names)
        now = datetime.now(UTC)
        known = self._known.get(key)
        if known is not None and known[1] > now:
            return {"status": "Accepted", "ocspResult": known[0]}
        algorithm = _HASHES.get(str(data.get("hashAlgorithm")))
        if algorithm is None:
            raise _Unusable(f"hash algorithm {data.get('hashAlgorithm')!r}")
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            bytes.fromhex(str(data.get("issuerNameHash", ""))),
            bytes.fromhex(str(data.get("issuerKeyHash", ""))),
            int(str(data.get("serialNumber", "")), 16),
            algorithm,
        )
        request = builder.build()
        der = await self._post(
            str(data.get("responderURL", "")),
            request.public_bytes(Encoding.DER),
            {"Content-Type": "application/ocsp-request"},
            await self._allowed_address(str(data.get("responderURL", ""))),
        )
        result = base64.b64encode(der).decode()
        if len(result) > OCSP_RESULT_LENGTH_MAX:
            raise _Unusable("the responder's answer is longer than OCPP can carry")
        until = self._check(ocsp.load_der_ocsp_response(der), request, now)
        self._known[key] = (result, until)
        self._known.move_to_end(key)
        if len(self._known) > CACHE_MAX:
            self._known.popitem(last=False)
        return {"status": "Accepted", "ocspResult": result}

    def _check(
        self, response: ocsp.OCSPResponse, request: ocsp.OCSPRequest, now: datetime
    ) -> datetime:
        """Accept an answer to the question; until when it may be told again.

        Proved are: that it is about this certificate, that it is fresh, and that it is signed by
        the certificate that it carries. Where the setting has roots also that one of them vouches
        for that certificate; without them that is the station's to judge.
        """
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise _Unusable(f"the responder says {response.response_status.name}")
        same = (
            response.serial_number == request.serial_number
            and response.issuer_name_hash == request.issuer_name_hash
            and response.issuer_key_hash == request.issuer_key_hash
        )
        if not same:
            raise _Unusable("the responder answers about another certificate")
        until = response.next_update_utc
        stale = until is not None and until < now - _CLOCKS_APART
        if stale or response.this_update_utc > now + _CLOCKS_APART:
            raise _Unusable("the responder's answer is not of now")
        self._check_signature(response)
        longest = now + timedelta(seconds=self._settings.ocsp_cache_s)
        return longest if until is None else min(until, longest)

    def _check_signature(self, response: ocsp.OCSPResponse) -> None:
        signer = response.certificates[0] if response.certificates else None
        if signer is None:
            if self._roots and not any(_has_signed(root, response) for root in self._roots):
                raise _Unusable("none of the trusted CAs has signed the answer")
            return
        if not _has_signed(signer, response):
            raise _Unusable("the answer is not signed by the certificate that it carries")
        if self._roots and signer not in self._roots:
            if not any(_vouches(root, signer) for root in self._roots):
                raise _Unusable("no trusted CA vouches for the responder")
            if not _may_sign_ocsp(signer):
                raise _Unusable("the responder's certificate is not one of a responder")

    async def _allowed_address(self, url: str) -> str:
        """The address to ask at: see csms.outbound; where the setting lists hosts, those only."""
        hosts = outbound.listed(self._settings.ocsp_hosts)
        host = urlsplit(url).hostname
        if host and self._settings.ocsp_hosts is not None and host.lower() not in hosts:
            raise _Unusable(f"{host} is none of T2P_OCSP_HOSTS")
        return await outbound.allowed_address(url, hosts=hosts)

    # --- Contracts --------------------------------------------------------------------------------

    async def _contract(self, content: dict[str, Any]) -> dict[str, Any] | None:
        url = self._settings.contract_pool_url
        if url is None:
            return None
        wanted = ("iso15118SchemaVersion", "action", "exiRequest")
        body = json.dumps({name: content.get(name) for name in wanted}).encode()
        headers = {"Content-Type": "application/json"}
        if self._settings.contract_pool_token is not None:
            headers["Authorization"] = f"Bearer {self._settings.contract_pool_token}"
        answer = json.loads(await self._post(url, body, headers, None))
        if not isinstance(answer, dict) or answer.get("status") not in ("Accepted", "Failed"):
            raise _Unusable("the pool's answer has no status")
        exi = answer.get("exiResponse", "")
        if not isinstance(exi, str) or len(exi) > EXI_LENGTH_MAX:
            raise _Unusable("the pool's answer has no exiResponse that OCPP can carry")
        return {"status": answer["status"], "exiResponse": exi}

    async def _post(
        self, url: str, body: bytes, headers: dict[str, str], address: str | None
    ) -> bytes:
        """The body of a 200. `address`: where to connect to, whatever the name says by then."""
        status, read = await outbound.post(
            url,
            body,
            headers,
            address=address,
            timeout_s=self._settings.outside_timeout_s,
            trust=self._trust(),
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        if status != 200:
            raise _Unusable(f"{urlsplit(url).hostname} answers {status}")
        return read


def _load_roots(settings: Settings) -> list[x509.Certificate]:
    """The CAs that vouch for responders. Raises: SettingError."""
    if settings.ocsp_trust is None:
        return []
    try:
        return x509.load_pem_x509_certificates(settings.ocsp_trust.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingError(
            f"The certificates {settings.ocsp_trust} cannot be used. See T2P_OCSP_TRUST."
        ) from error


def _has_signed(signer: x509.Certificate, response: ocsp.OCSPResponse) -> bool:
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(
                response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm
            )
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _vouches(root: x509.Certificate, signer: x509.Certificate) -> bool:
    try:
        signer.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _may_sign_ocsp(signer: x509.Certificate) -> bool:
    """A delegated responder says so in its certificate (RFC 6960, 4.2.2.2)."""
    try:
        usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage
