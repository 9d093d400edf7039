"""Shapes of log-ins, people, keys and the audit on the wire."""

from typing import Annotated, Any, Literal

from pydantic import Field

from csms.accounts import NAME_LENGTH_MAX, PHONE_LENGTH_MAX
from csms.logins import EMAIL_LENGTH_MAX
from csms.principals import TOKEN_LENGTH_MAX
from csms.second_factor import CODE_LENGTH_MAX
from csms.web.fields import Identifier, Input, Moment, Name, Output, Utc

PASSWORD_LENGTH_MAX = 1_000

Email = Annotated[str, Field(min_length=1, max_length=EMAIL_LENGTH_MAX)]
Password = Annotated[
    str,
    Field(min_length=1, max_length=PASSWORD_LENGTH_MAX, json_schema_extra={"format": "password"}),
]
Code = Annotated[
    str,
    Field(min_length=1, max_length=CODE_LENGTH_MAX, description="Of the app, or a recovery code."),
]
Token = Annotated[str, Field(min_length=1, max_length=TOKEN_LENGTH_MAX)]
Device = Annotated[
    str | None,
    Field(
        max_length=TOKEN_LENGTH_MAX,
        description="`device` of an earlier log-in: failures of others do not hold it back.",
    ),
]
PersonName = Annotated[str, Field(max_length=NAME_LENGTH_MAX)]
Phone = Annotated[str, Field(max_length=PHONE_LENGTH_MAX)]
Language = Literal["fr", "en"]
RoleName = Literal["read", "operate", "finance", "admin"]


class LogInIn(Input):
    """A log-in by address and password."""

    email: Email
    password: Password
    code: Code | None = None
    device: Device = None


class LogInOut(Output):
    """A log-in; its secrets are shown once. Without tokens: the code of the second factor is
    needed, send everything again with it."""

    second_factor_needed: bool
    access_token: str | None = None
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a scheme's name, no secret
    expires_in_s: int | None = None
    refresh_token: str | None = Field(
        default=None, description="Good once; each use brings another one."
    )
    device: str | None = Field(default=None, description="To send along with the next log-in.")
    second_factor_to_set_up: bool = Field(
        default=False, description="The roles of this operator wait for a second factor."
    )


class RefreshIn(Input):
    """A refresh token."""

    refresh_token: Token


class LogOutIn(Input):
    """Which log-ins end."""

    which: Literal["this", "others", "all"]


class LinkPasswordIn(Input):
    """The token at the end of a mailed link, and the password chosen."""

    token: Token
    password: Password
    device: Device = None


class ResetRequestIn(Input):
    """Whose password was forgotten."""

    email: Email


class ResetOut(Output):
    """The password is changed."""

    device: str = Field(description="To send along with the next log-in.")


class LinkIn(Input):
    """The token at the end of a mailed link."""

    token: Token


class PasswordChange(Input):
    """Another password."""

    current: Password
    password: Password


class EmailChange(Input):
    """Another address; it counts once the link that is mailed to it was opened."""

    password: Password
    email: Email


class PasswordAgain(Input):
    """The password, shown again."""

    password: Password


class PasswordAndCode(Input):
    """Password and code, shown again."""

    password: Password
    code: Code


class CodeIn(Input):
    """A code."""

    code: Code


class EnrolmentOut(Output):
    """A second factor to be, shown once: enter it in an app and confirm with a code."""

    secret: str
    uri: str = Field(description="otpauth://, as in the QR code.")
    qr_svg: str = Field(description="The QR code, as a data: URL.")


class RecoveryCodesOut(Output):
    """Each stands in for the app once. They are never shown again."""

    recovery_codes: list[str]


class PersonOut(Output):
    """A person."""

    id: int
    email: str | None
    given_name: str
    family_name: str
    phone: str | None
    language: str
    operator_roles: list[str]
    manages: list[int] = Field(description="Clients that she manages now.")
    is_driver: bool
    email_verified_at: Utc | None = Field(description="Null: invited, not come yet.")
    totp_confirmed_at: Utc | None = Field(description="Null: no second factor.")
    created_at: Utc
    updated_at: Utc
    blocked_at: Utc | None
    closed_at: Utc | None


class MeOut(PersonOut):
    """Whoever asks."""

    roles: list[str] = Field(description="Of an operator, in force: with the second factor.")
    second_factor_to_set_up: bool
    csrf_token: str | None = Field(
        default=None, description="For X-CSRF-Token, where the log-in comes with a cookie."
    )


class ProfileChange(Input):
    """What people change of themselves; a phone of null is forgotten."""

    given_name: PersonName = ""
    family_name: PersonName = ""
    phone: Phone | None = None
    language: Language = "fr"


class LogInListed(Output):
    """An open log-in."""

    id: int
    kind: Literal["page", "api"]
    is_this: bool
    created_at: Utc
    last_used_at: Utc
    second_factor_at: Utc | None
    remote_address: str
    user_agent: str


class PersonIn(Input):
    """A new person. With `invite` she is mailed a link to choose a password."""

    email: Email | None = None
    given_name: PersonName = ""
    family_name: PersonName = ""
    phone: Phone | None = None
    language: Language = "fr"
    operator_roles: list[RoleName] = Field(default_factory=list, max_length=4)
    invite: Annotated[bool, Field(strict=True)] = True


class RolesIn(Input):
    """All roles of an operator; none takes them away."""

    roles: list[RoleName] = Field(max_length=4)


class ManagingIn(Input):
    """A client to manage."""

    client_id: Identifier
    from_at: Moment | None = Field(default=None, description="Null: now.")
    to_at: Moment | None = Field(default=None, description="Null: until further notice.")


class ManagingOut(Output):
    """A client that a person manages, managed, or will manage."""

    client_id: int
    client: str
    from_at: Utc
    to_at: Utc | None
    granted_by: str


class KeyIn(Input):
    """A new key of a machine. A client's key reads what is that client's."""

    name: Name
    role: Literal["operator", "client"] = "operator"
    scopes: list[RoleName] = Field(default=["read"], min_length=1, max_length=4)
    client_id: Identifier | None = None
    expires_at: Moment | None = Field(default=None, description="Null: without end.")


class KeyOut(Output):
    """A key; its text is never shown again."""

    id: int
    name: str
    role: str
    scopes: list[str]
    client_id: int | None
    created_by: str | None
    created_at: Utc
    expires_at: Utc | None
    revoked_at: Utc | None
    last_used_at: Utc | None


class KeyCreated(KeyOut):
    """A key, and its text, once."""

    key: str


class AuditOut(Output):
    """An act."""

    id: int
    at: Utc
    actor: str
    person_id: int | None
    client_id: int | None
    action: str
    subject: str
    detail: dict[str, Any]
    remote_address: str | None
