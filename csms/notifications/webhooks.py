"""Messages to machines: signed, to public addresses only, no redirect followed.

A message is a JSON object: `id` (the same at every attempt: who has seen it, ignores it), `event`,
`at`, `client_id`, `subject`, `data`. Its header `T2P-Signature: t=<seconds>,v1=<hex>` signs
`<seconds>.<body>` with HMAC-SHA256 under the secret of the webhook. A receiver compares in constant
time, and refuses what was signed long ago. Any 2xx is taken as received; 410 as "never again".
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import ssl
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import httpx

from csms import outbound
from csms.config import Settings
from csms.notifications.mail import Deferred, Refused
from csms.store.deliveries import Claimed

ANSWER_BYTES_MAX: Final = 64 * 1024
REPLY_LENGTH_MAX: Final = 200
URL_LENGTH_MAX: Final = 2_000
_GONE: Final = 410


def new_secret() -> str:
    """A secret to sign with: 256 bits of chance."""
    return "whs_" + secrets.token_urlsafe(32)


def signature(secret: str, body: bytes, now: datetime) -> str:
    """The header's value for a body signed at the moment."""
    seconds = int(now.timestamp())
    mac = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256)
    return f"t={seconds},v1={mac.hexdigest()}"


def url_problem(settings: Settings, url: str) -> str | None:
    """Why a webhook cannot be at this address; None: it can, as far as the text shows."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "this is no address"
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return f"an address has up to {URL_LENGTH_MAX} printable ASCII characters"
    if not parts.hostname or parts.scheme not in ("https", "http"):
        return "an address begins with https:// and names a host"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "an address holds no user, no password and no fragment"
    if parts.scheme != "https" and not _is_listed(settings, parts.hostname):
        return "an address begins with https://"
    return None


def body_of(claimed: Claimed) -> bytes:
    """What is sent: the same bytes at every attempt."""
    content = {
        "id": str(claimed.message_id),
        "event": claimed.event,
        "at": claimed.at.isoformat().replace("+00:00", "Z"),
        "client_id": claimed.client_id,
        "subject": claimed.subject,
        "data": claimed.data,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


async def send(
    settings: Settings, trust: ssl.SSLContext, claimed: Claimed, secret: str, now: datetime
) -> str:
    """The status that the receiver answered. Raises: Refused, Deferred."""
    url = claimed.webhook_url
    assert url is not None
    problem = url_problem(settings, url)
    if problem is not None:
        raise Refused(problem)
    body = body_of(claimed)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "time2plug",
        "T2P-Signature": signature(secret, body, now),
        "T2P-Message-Id": str(claimed.message_id),
    }
    try:
        async with asyncio.timeout(settings.webhook_timeout_s):
            hosts = outbound.listed(settings.webhook_hosts)
            address = await outbound.allowed_address(url, hosts=hosts)
            status, answer = await outbound.post(
                url,
                body,
                headers,
                address=address,
                timeout_s=settings.webhook_timeout_s,
                trust=trust,
                answer_bytes_max=ANSWER_BYTES_MAX,
            )
    except outbound.Forbidden as error:
        raise Refused(str(error)) from None
    except (outbound.Unusable, httpx.HTTPError, OSError, TimeoutError, ValueError) as error:
        raise Deferred(str(error)[:REPLY_LENGTH_MAX] or type(error).__name__) from None
    told = f"{status} {_printable(answer)}".strip()
    if 200 <= status < 300:
        return told
    raise (Refused if status == _GONE else Deferred)(told)


def _is_listed(settings: Settings, host: str) -> bool:
    return host.lower() in outbound.listed(settings.webhook_hosts)


def _printable(answer: bytes) -> str:
    text = answer[:REPLY_LENGTH_MAX].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text)
