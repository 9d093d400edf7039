"""Drivers, groups and badges as they stand on the wire."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, computed_field

from csms.driver_groups import time_of, weekdays_of
from csms.web.fields import BIGINT_MAX, Input, Label, Moment, Name, Output, TokenStatus, Truth, Utc

Id = Annotated[int, Field(strict=True, ge=1, le=BIGINT_MAX)]
Line = Annotated[Label, Field(max_length=200)]
Language = Literal["fr", "en"]
GroupKind = Literal["residents", "visitors", "staff"]
MeansKind = Literal["sepa_mandate", "wallet", "provider", "employer"]
BlockReason = Literal["lost", "stolen", "unpaid", "asked", "operator"]


class BillingIn(Input):
    """To whom charging is invoiced; what is absent stays."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "company": "Société Exemple",
                    "siren": "732829320",
                    "street": "1 rue de l’Exemple",
                    "postal_code": "75001",
                    "city": "Paris",
                }
            ]
        }
    )
    billing_name: Line = Field(default="", description="Empty: the person's name.")
    company: Line | None = None
    siren: Annotated[str, Field(max_length=20)] | None = Field(
        default=None, description="Nine digits; the last checks the others."
    )
    vat_number: Annotated[str, Field(max_length=30)] | None = None
    street: Line = ""
    postal_code: Annotated[Label, Field(max_length=12)] = ""
    city: Line = ""
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")] = Field(
        default="FR", description="Two letters of ISO 3166."
    )


_APART = ("billing", "group_id", "invite")  # no columns of a person


class DriverChange(Input):
    """What others enter of a driver; what is absent stays."""

    email: Annotated[str, Field(min_length=3, max_length=254)] | None = Field(
        default=None, description="Null: she has no log-in."
    )
    given_name: Line = ""
    family_name: Line = ""
    phone: Annotated[str, Field(max_length=40)] | None = None
    language: Language = "fr"
    billing: BillingIn | None = None

    def named(self) -> dict[str, Any]:
        """The members that the client named, those of `billing` among them."""
        values = {k: v for k, v in super().named().items() if k not in _APART}
        return values | (self.billing.named() if self.billing is not None else {})


class DriverIn(DriverChange):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "email": "conducteur@example.org",
                    "given_name": "Camille",
                    "family_name": "Exemple",
                    "group_id": 1,
                }
            ]
        }
    )
    group_id: Id | None = Field(
        default=None, description="Her first group, from now on. Managers have to name one."
    )
    invite: Truth = Field(default=False, description="Mail her a link to choose a password.")


class BillingOut(Output):
    billing_name: str
    company: str | None
    siren: str | None
    vat_number: str | None
    street: str
    postal_code: str
    city: str
    country: str


class MembershipOut(Output):
    id: int = Field(description="The group's.")
    name: str
    kind: GroupKind
    client_id: int
    from_at: Utc
    to_at: Utc | None


class BadgeOut(Output):
    uid: str
    type: str
    status: TokenStatus
    blocked_why: str | None
    label: str
    valid_until: Utc | None
    from_at: Utc = Field(description="Since when it is the driver's.")


class HeldBadgeOut(BadgeOut):
    to_at: Utc | None = Field(description="Until when it was; null: it is.")


class DriverOut(Output):
    id: int
    email: str | None
    email_verified: bool
    given_name: str
    family_name: str
    phone: str | None = Field(description="Null to managers.")
    language: Language
    billing: BillingOut | None = Field(description="Null to managers.")
    groups: list[MembershipOut] = Field(description="Of now and later.")
    badges: list[BadgeOut] = Field(description="Hers now.")
    created_at: Utc
    blocked_at: Utc | None
    closed_at: Utc | None


class AssignmentIn(Input):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"uid": "04A2B3C4D5E680", "label": "Porte-clés"}]}
    )
    uid: Name
    label: Line = ""
    order_id: Id | None = Field(default=None, description="The order that it fulfils.")


class BadgeChange(Input):
    """Block, unblock or name a badge; what is absent stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "blocked"}]})
    status: Literal["accepted", "blocked"] | None = None
    why: BlockReason = Field(default="lost", description="Of a blocked one.")
    label: Line | None = None


class OwnBadgeChange(Input):
    """Report a badge as lost, or name it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "blocked", "why": "lost"}]}
    )
    status: Literal["blocked"] | None = None
    why: Literal["lost", "stolen", "asked"] = "lost"
    label: Line | None = None


class MeansIn(Input):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "sepa_mandate", "reference": "T2P-0001"}]}
    )
    kind: MeansKind
    reference: Annotated[Name, Field(max_length=100)] = Field(
        description="At whoever keeps the means; never the number of a card or an account."
    )
    label: Line = ""
    from_at: Moment | None = Field(default=None, alias="from", description="Absent: now.")
    to_at: Moment | None = Field(default=None, alias="to")


class MeansOut(Output):
    id: int
    kind: MeansKind
    reference: str
    label: str
    from_at: Utc
    to_at: Utc | None


class GroupChange(Input):
    """What may be changed of a group; what is absent stays."""

    name: Name = "Group"
    kind: GroupKind = "residents"
    reservations_max: Annotated[int, Field(strict=True, ge=0, le=100)] = Field(
        default=1, description="Open at once, of each driver."
    )
    reservation_minutes_max: Annotated[int, Field(strict=True, ge=0, le=10_080)] = 120


class GroupIn(GroupChange):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"client_id": 2, "name": "Résidents", "kind": "residents"}]}
    )
    name: Name
    client_id: Id

    def named(self) -> dict[str, Any]:
        """The members that the client named, but its client."""
        return {k: v for k, v in super().named().items() if k != "client_id"}


class GroupOut(Output):
    id: int
    client_id: int
    name: str
    kind: GroupKind
    reservations_max: int
    reservation_minutes_max: int
    members: int = Field(description="Now.")
    created_at: Utc


class MemberIn(Input):
    """A driver by number or by e-mail address."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "conducteur@example.org"}, {"person_id": 7}]}
    )
    person_id: Id | None = None
    email: Annotated[str, Field(min_length=3, max_length=254)] | None = None
    from_at: Moment | None = Field(default=None, alias="from", description="Absent: now.")
    to_at: Moment | None = Field(default=None, alias="to", description="Absent: no end.")


class MemberOut(Output):
    person_id: int
    given_name: str
    family_name: str
    email: str | None
    from_at: Utc
    to_at: Utc | None


class AskedOut(Output):
    """The person of this address is asked whether she agrees; who it is is not told, nor whether
    there was anybody."""

    email: str = Field(description="As it was sent.")
    group_id: int
    state: Literal["asked"] = "asked"


class GroupRequestOut(Output):
    group_id: int
    name: str = Field(description="The group's.")
    client: str = Field(description="Whose group it is.")
    asked_at: Utc
    expires_at: Utc
    from_at: Utc | None = Field(description="Null: once you accept.")
    to_at: Utc | None


class AccessIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"site_id": "tilleuls"},
                {"site_id": "tilleuls", "weekdays": [1, 2, 3], "from": "22:00", "to": "06:00"},
            ]
        }
    )
    site_id: Name
    weekdays: Annotated[list[int], Field(max_length=7)] = Field(
        default_factory=list, description="1 Monday to 7 Sunday; none: every day."
    )
    begin: Annotated[str, Field(max_length=5)] = Field(
        default="00:00", alias="from", description="By the site's own clock."
    )
    end: Annotated[str, Field(max_length=5)] = Field(
        default="24:00", alias="to", description="At or before the begin: of the next day."
    )


class AccessOut(Output):
    id: int
    site_id: str
    weekdays: Annotated[list[int], BeforeValidator(weekdays_of)]
    from_minute: int = Field(exclude=True)
    to_minute: int = Field(exclude=True)
    created_at: Utc

    @computed_field(alias="from", description="By the site's own clock.")  # type: ignore[prop-decorator]
    @property
    def begin(self) -> str:
        """As a time of the day."""
        return time_of(self.from_minute)

    @computed_field(alias="to")  # type: ignore[prop-decorator]
    @property
    def end(self) -> str:
        """As a time of the day."""
        return time_of(self.to_minute)


class SiteAccessOut(Output):
    site_id: str
    open: bool
    until: Utc | None = Field(description="While open; null: nothing ends it within a week.")
    opens_at: Utc | None = Field(
        description="While not open; null: nothing opens it within a year."
    )


class OrderIn(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"person_id": 7}]})
    person_id: Id


class OrderChange(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "sent"}]})
    status: Literal["sent", "cancelled"]


class OrderOut(Output):
    id: int
    person_id: int
    ordered_at: Utc
    ordered_by: str
    sent_at: Utc | None
    uid: str | None = Field(description="Null: not activated yet.")
    activated_at: Utc | None
    cancelled_at: Utc | None


class ImportOut(Output):
    dry_run: bool
    created: dict[str, int] = Field(description="By kind: driver, membership, request, badge.")
    updated: dict[str, int]
    unchanged: dict[str, int]
