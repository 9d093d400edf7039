"""Our cookies, all of them strictly necessary, and the tokens that keep forms ours.

- session: the secret of a log-in;
- device: this browser has been used to log in before, so that others' failures do not hold its
  owner back (see csms.throttle);
- form: ties the forms that are filled in before the log-in to this browser, until it is closed.

Over https their names begin with __Host-: no other host, and nobody in between, can plant one.
Scripts read none of them, and other sites send none along but by a link.

A form carries a token made from the secret of the session, or of the form cookie; so does the
header X-CSRF-Token of a request to the API that comes with a cookie.
"""

import hashlib
import hmac
import secrets as chance
from typing import Literal

from starlette.responses import Response
from starlette.types import Scope

from csms import secrets
from csms.config import Settings
from csms.logins import LoggedIn

Cookie = Literal["session", "device", "form"]

CSRF_HEADER = b"x-csrf-token"
VALUE_LENGTH_MAX = 200


def name_of(cookie: Cookie, https: bool) -> str:
    """The cookie's name on the wire."""
    return f"{'__Host-' if https else ''}t2p_{cookie}"


def read(scope: Scope, cookie: Cookie, https: bool) -> str | None:
    """The cookie's value; None without it, and when there are two: one of them was planted."""
    wanted = name_of(cookie, https)
    found: list[str] = []
    for header, content in scope["headers"]:
        if header == b"cookie":
            for part in content.decode("latin-1").split(";"):
                name, _, value = part.strip().partition("=")
                if name == wanted:
                    found.append(value)
    if len(found) != 1 or not 0 < len(found[0]) <= VALUE_LENGTH_MAX:
        return None
    return found[0]


def set_login(response: Response, settings: Settings, login: LoggedIn, https: bool) -> None:
    """Give the browser its log-in, and what it calls itself."""
    _set(response, "session", login.secret, https, login.expires_in_s)
    if login.device is not None:
        set_device(response, settings, login.device, https)
    clear(response, "form", https)


def set_device(response: Response, settings: Settings, device: str, https: bool) -> None:
    """Let the browser say that it has been used before."""
    _set(response, "device", device, https, int(settings.trusted_device_s))


def set_session(response: Response, settings: Settings, secret: str, https: bool) -> None:
    """Give the browser another secret of the same log-in."""
    _set(response, "session", secret, https, int(settings.page_login_s))


def set_form(response: Response, secret: str, https: bool) -> None:
    """Tie forms to the browser, until it is closed."""
    _set(response, "form", secret, https, None)


def clear(response: Response, cookie: Cookie, https: bool) -> None:
    """Let the browser forget the cookie."""
    _set(response, cookie, "", https, 0)


def new_form_secret() -> str:
    """What a form cookie holds."""
    return chance.token_urlsafe(24)


def csrf_token(settings: Settings, secret: str) -> str:
    """The token of forms that goes with the secret of a cookie."""
    key = secrets.derive(settings, "forms")
    return hmac.new(key, secret.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def is_csrf_token(settings: Settings, secret: str, token: str) -> bool:
    """Whether it is that token, in time that does not depend on it."""
    return hmac.compare_digest(
        csrf_token(settings, secret).encode(), token.encode("utf-8", "replace")
    )


def _set(response: Response, cookie: Cookie, value: str, https: bool, lasts_s: int | None) -> None:
    response.set_cookie(
        name_of(cookie, https),
        value,
        max_age=lasts_s,
        path="/",
        secure=https,
        httponly=True,
        samesite="lax",
    )
