"""Shapes of personal data on the wire: the register, consents, requests, the archive, the runs."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field

from csms.domain.data_request import Act, Kind, State
from csms.web.fields import Identifier, Input, Label, Moment, Note, Output, Utc

Text = Annotated[dict[str, str], Field(description="By language: fr, en.")]
Purpose = Literal["prospecting"]


class PeriodsOut(Output):
    """How long things are kept."""

    technical_logs_months: int
    settling_months: int
    books_years: int
    proofs_years: int


class CookieOut(Output):
    """A cookie of our pages."""

    name: str
    purpose: Text
    lasts: Text


class ActivityOut(Output):
    """A processing activity."""

    code: str
    basis: str = Field(description="contract, legal_obligation, legitimate_interest or consent.")
    end: str = Field(description="deleted, anonymised or archived.")
    name: Text
    purpose: Text
    people: Text
    data: Text
    recipients: Text
    active: Text
    archive: Text
    columns: dict[str, list[str]] = Field(description="What it covers, by table.")


class RegisterOut(Output):
    """The register of processing activities."""

    controller: dict[str, str]
    periods: PeriodsOut
    cookies: list[CookieOut]
    activities: list[ActivityOut]
    prospecting_version: str
    prospecting_text: Text


class ConsentIn(Input):
    """That one agrees, and to which text."""

    version: Label = Field(description="`prospecting_version` of the register.")


class ConsentOut(Output):
    """A consent."""

    purpose: str
    text_version: str
    how: str
    given_at: Utc
    withdrawn_at: Utc | None


class ConsentsOut(Output):
    """What a person agrees to, and agreed to."""

    prospecting: bool = Field(description="Whether offers may be sent now.")
    version: str
    text: Text
    items: list[ConsentOut]


class MyRequestIn(Input):
    """What a person asks for."""

    kind: Kind
    message: Note | None = None


class RequestIn(MyRequestIn):
    """A request that came by letter or mail."""

    person_id: Identifier | None = None
    requester: Label = Field(default="", description="Who asks, where he has no account.")
    received_at: Moment


class ActIn(Input):
    """What is done with a request."""

    act: Act
    reason: Note | None = Field(default=None, description="Told to the person.")


class MyRequestOut(Output):
    """A request and its days."""

    id: int
    kind: Kind
    state: State
    received_at: Utc
    message: str
    due_on: date = Field(description="Last day for the answer, in Paris.")
    close_on: date | None = Field(description="Last day to close the account.")
    extended_at: Utc | None
    extension_reason: str | None
    closed_at: Utc | None = Field(description="When the account was closed.")
    finished_at: Utc | None
    outcome: str
    kept_until: date | None = Field(description="Last day of what the law keeps; null: nothing.")


class RequestOut(MyRequestOut):
    """A request as administrators see it."""

    person_id: int | None
    requester: str


class RunOut(Output):
    """What one rule did in one night."""

    at: Utc
    rule: str
    rows: int
    detail: str
    failed: bool


class ArchivedOut(Output):
    """A person of the restricted archive."""

    person_id: int
    identity: dict[str, Any]
    archived_at: Utc
    kept_until: date


class ArchivedSessionOut(Output):
    """A session of a person in the archive."""

    person_id: int
    id: int
    station_id: str
    site_id: str | None
    token_uid: str | None
    state: str
    started_at: Utc
    ended_at: Utc | None
    energy_wh: int | None


class ArchiveOut(Output):
    """What the archive showed; the look is in the audit."""

    persons: list[ArchivedOut]
    items: list[ArchivedSessionOut]
    next: str | None
    total: int
