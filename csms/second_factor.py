"""The second factor: codes of an app (TOTP, RFC 6238: six digits, 30 seconds), and ten codes on
paper for the day when the app is gone. Each is good once; a clock may be one step off."""

import base64
import logging
import secrets as chance
from datetime import datetime

import pyotp
import segno
from psycopg import AsyncConnection

from csms import secrets
from csms.config import Settings
from csms.principals import digest
from csms.store import people
from csms.store.people import Credentials

log = logging.getLogger(__name__)

ISSUER = "Time2Plug"
STEP_S = 30
DRIFT_STEPS = (0, -1, 1)
RECOVERY_CODES = 10
_RECOVERY_BYTES = 10  # 80 bits of chance: a plain digest keeps them
CODE_LENGTH_MAX = 40


def new_secret() -> str:
    """A new secret of 160 bits, as apps take it."""
    return pyotp.random_base32()


def uri(secret: str, account: str) -> str:
    """The secret as apps read it from a QR code (otpauth://)."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=ISSUER)


def qr_svg(text: str) -> str:
    """A QR code as an SVG in a data: URL, black on white whatever surrounds it."""
    return segno.make(text, error="m", micro=False).svg_data_uri(
        scale=5, border=4, dark="#000", light="#fff"
    )


def new_recovery_codes() -> tuple[list[str], list[bytes]]:
    """Ten codes, and what is stored of them."""
    codes = []
    for _ in range(RECOVERY_CODES):
        text = base64.b32encode(chance.token_bytes(_RECOVERY_BYTES)).decode().lower()
        codes.append("-".join(text[start : start + 4] for start in range(0, len(text), 4)))
    return codes, [digest(_plain(code)) for code in codes]


async def use_code(
    connection: AsyncConnection, settings: Settings, person: Credentials, code: str, now: datetime
) -> str | None:
    """Use up a code of the app or a recovery code: which of the two it was; None: neither. Where
    the secret is sealed under another key than ours, recovery codes alone are left."""
    text = _plain(code)
    if len(code) > CODE_LENGTH_MAX or person.totp_secret is None:
        return None
    if len(text) == 6 and text.isascii() and text.isdigit():
        try:
            secret = secrets.unseal(settings, person.totp_secret)
        except secrets.Unreadable as error:
            log.error("the second factor of person %s cannot be read: %s", person.id, error)
            return None
        step = _step_of(secret, text, now)
        if step is not None and await people.use_totp_step(connection, person.id, step):
            return "app"
        return None
    if await people.use_recovery(connection, person.id, digest(text)):
        return "recovery code"
    return None


def _step_of(secret: str, code: str, now: datetime) -> int | None:
    """The step whose code it is, now or one beside; all are looked at, in the same time."""
    current = int(now.timestamp()) // STEP_S
    totp = pyotp.TOTP(secret)
    found = None
    for drift in DRIFT_STEPS:
        if chance.compare_digest(totp.generate_otp(current + drift), code):
            found = current + drift if found is None else found
    return found


def _plain(code: str) -> str:
    return "".join(code.split()).replace("-", "").lower()
