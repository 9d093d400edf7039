"""Personal data: consents, requests, and what is left of a person whose account has ended.

Everything runs in the caller's transaction and is noted in the audit, without values. An expected
refusal is a `Refusal`.

**What erasure does.** The account is closed first (`csms.closing`): no log-in, badges blocked,
memberships and roles over, consents withdrawn. Then (`erase`) the person's name, addresses,
password, second factor, log-ins, known browsers, badge labels and the texts of her requests are
gone, and so is her billing identity from where it was.

**What it keeps, and why.** Sessions are the evidence of invoices and of the monthly statement:
their place, times, energy and badge number stay as they are for ten years from the end of their
month (Code de commerce L.123-22), so that the same month gives the same collection, byte for byte.
Whose badge it was stays as a number that leads to an empty row. The billing identity is what an
invoice of that time must name: it moves into the restricted archive until the last of those days,
where only `open_archive` reads it, with a reason and an entry in the audit. Who never charged
leaves nothing behind. Afterwards `csms.retention` replaces badge numbers by aliases and empties the
archive. Consents and requests stay five years as proof, without their texts.

Readings carry no badge and are never changed; frames of the journal are dropped after six months.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from psycopg import AsyncConnection

from csms import deadlines, metrics, processing
from csms.closing import By, close_account
from csms.config import Settings
from csms.deadlines import Reading
from csms.domain import data_request
from csms.domain.data_request import Act, Kind, State
from csms.domain.values import add_months
from csms.notifications import announce
from csms.registry import AlreadyThere, NotThere, Refusal
from csms.store import audit, erasure, notifications
from csms.store import privacy as store
from csms.store.erasure import Account
from csms.store.privacy import DataRequest

PROSPECTING: Final = "prospecting"
FIRST_YEAR: Final = 2018  # the regulation applies since then; the calendar reaches not much further
WARNING: Final = timedelta(days=7)  # before the last day of a request

_KEPT: Final = {
    "fr": (
        "L’identité de facturation et les sessions de recharge sont conservées jusqu’au {day}, en "
        "archive restreinte\u00a0: pièces justificatives comptables (Code de commerce, art. "
        "L.123-22\u202f; RGPD, art. 17(3)b). Toutes les autres données ont été effacées."
    ),
    "en": (
        "The billing identity and the charging sessions are kept until {day}, in a restricted "
        "archive: accounting evidence (Code de commerce, L.123-22; GDPR, article 17(3)(b)). All "
        "other data were erased."
    ),
}
_NOTHING_KEPT: Final = {
    "fr": "Toutes vos données ont été effacées.",
    "en": "All your data were erased.",
}
_REASONS: Final = {  # as the texts of notifications name them
    Kind.ACCESS: "access",
    Kind.RECTIFICATION: "rectification",
    Kind.ERASURE: "erasure",
    Kind.RESTRICTION: "restriction",
    Kind.PORTABILITY: "export",
    Kind.OBJECTION: "opposition",
    Kind.CLOSING: "closing",
}
_CLOSED: Final = {"fr": "Le compte est fermé.", "en": "The account is closed."}
_OBJECTED: Final = {
    "fr": "Plus aucune prospection ne vous sera adressée.",
    "en": "No offers will be sent to you any more.",
}


SYSTEM: Final = By("system")


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure left behind."""

    kept_until: date | None  # the last day of the archive; None: nothing is left
    language: str

    def told(self) -> str:
        """It as a sentence for the person, with the legal reason of what is kept."""
        if self.kept_until is None:
            return _NOTHING_KEPT[self.language]
        day = self.kept_until
        text = f"{day:%d/%m/%Y}" if self.language == "fr" else day.isoformat()
        return _KEPT[self.language].format(day=text)


# --- Consents -------------------------------------------------------------------------------------


async def give_consent(
    connection: AsyncConnection, person_id: int, *, version: str, how: str, now: datetime, by: By
) -> bool:
    """Note that a person agrees to prospecting, having read that version of the text; False when
    her consent holds already. Raises: Refusal for a text that is not the one of today."""
    if version != processing.register().prospecting_version:
        raise Refusal("This is not the text of today: read it again, then agree.", "version")
    given = await store.give_consent(connection, person_id, PROSPECTING, version, how, now)
    if given:
        await _note(connection, now, by, "consent given", person_id, {"purpose": PROSPECTING})
    return given


async def withdraw_consent(
    connection: AsyncConnection, person_id: int, *, now: datetime, by: By
) -> bool:
    """End a person's consent to prospecting; False when there was none."""
    ended = await store.withdraw_consents(connection, person_id, PROSPECTING, now)
    if ended:
        await _note(connection, now, by, "consent withdrawn", person_id, {"purpose": PROSPECTING})
    return ended > 0


async def may_prospect(connection: AsyncConnection, person_id: int) -> bool:
    """Whether offers may be sent to a person. Whoever sends any asks here, each time."""
    return await store.consents_to(connection, person_id, PROSPECTING)


# --- Requests -------------------------------------------------------------------------------------


async def receive_request(
    connection: AsyncConnection,
    *,
    kind: Kind,
    person_id: int | None,
    received_at: datetime,
    requester: str = "",
    message: str = "",
    now: datetime,
    by: By,
) -> int:
    """Take a request up; returns its number. Its days are counted from when it was received, by
    the earlier reading: one month, and fifteen jours ouvrables for the end of an account.

    Raises: AlreadyThere while one of the same kind is open; NotThere for a person who does not
    exist; Refusal for a day to come, one before the regulation, or where nobody is named.
    """
    if received_at > now:
        raise Refusal("A request is received before it is entered.", "received_at")
    if received_at.year < FIRST_YEAR:
        raise Refusal(f"There was no such right before {FIRST_YEAR}.", "received_at")
    if person_id is None and (kind is Kind.CLOSING or not requester):
        raise Refusal("Name the account, or else who asks; an account is closed by its own.")
    if person_id is not None and await erasure.lock_account(connection, person_id) is None:
        raise NotThere(f"There is no person {person_id}.", "person_id")
    day = deadlines.paris_day(received_at)
    close_on = None
    if kind in data_request.CLOSES_ACCOUNT:
        close_on = deadlines.account_closing_deadline(day)
    due_on = _due_on(day, data_request.MONTHS)
    if kind is Kind.CLOSING and close_on is not None:
        due_on = min(due_on, close_on)
    request_id = await store.add_request(
        connection,
        person_id=person_id,
        kind=kind,
        received_at=received_at,
        received_by=by.actor,
        requester=requester,
        message=message,
        due_on=due_on,
        close_on=close_on,
    )
    if request_id is None:
        raise AlreadyThere("A request of this kind is open already.", "kind")
    await _note_request(connection, now, by, "data request received", request_id, kind)
    if person_id is not None:
        await announce(
            connection,
            "data.request_received",
            now=now,
            person_id=person_id,
            subject=f"data request {request_id}",
            data={"request": _REASONS[kind], "due_on": due_on},
        )
    return request_id


async def act(
    connection: AsyncConnection,
    settings: Settings,
    request_id: int,
    what: Act,
    *,
    reason: str = "",
    now: datetime,
    by: By,
) -> DataRequest:
    """Do something with a request, and what follows from it: to complete an erasure erases, and so
    on. What is done by hand (rectification, restriction) is told in `reason`.

    Raises: NotThere; Refusal where it cannot be done in its state, without a reason, or too late.
    """
    request = await _lock_request(connection, request_id)
    state = data_request.after(State(request.state), what)
    if state is None:
        raise Refusal(f"A request that is {request.state} takes no {what}.", "act")
    if what in data_request.NEEDS_REASON and not reason.strip():
        raise Refusal("Say why: the person is told.", "reason")
    if what is Act.EXTEND:
        await _extend(connection, request, reason, now)
    elif state is State.WORKING:
        await store.start_request(connection, request_id)
    else:
        outcome, kept_until = reason, None
        account = await _account_of(connection, request)
        if what is Act.COMPLETE:
            outcome, kept_until = await _complete(connection, settings, request, reason, now, by)
        await store.finish_request(
            connection,
            request_id,
            state=state,
            now=now,
            by=by.actor,
            outcome=outcome,
            kept_until=kept_until,
        )
        if account is not None and what is not Act.WITHDRAW:
            await _tell_end(connection, settings, request, account, outcome, now)
    await _note_request(connection, now, by, f"data request: {what}", request_id, request.kind)
    return await _lock_request(connection, request_id)


async def watch_requests(connection: AsyncConnection, now: datetime) -> str | None:
    """Count what is open, what is due within a week, and what is late, and tell operators of each
    once before its last day and once after it; a sentence where somebody should look, else None."""
    today = deadlines.paris_day(now)
    for due in await store.list_due(connection, today + WARNING):
        is_late = due.last_on < today
        await announce(
            connection,
            "data.request_due",
            now=now,
            subject=f"data request {due.id}",
            data={
                "request": _REASONS[Kind(due.kind)],
                "number": due.id,
                "due_on": due.last_on,
                "late": is_late,
            },
            key=f"data request {due.id}: {'late' if is_late else 'near'} {due.last_on}",
        )
    late = await store.count_open(connection, today)
    near = await store.count_open(connection, today + WARNING) - late
    total = await store.count_open(connection, None)
    for days, number in (("any", total), ("near", near), ("late", late)):
        metrics.DATA_REQUESTS.labels(days).set(number)
    return f"{late} requests are late, {near} are due within a week" if late or near else None


async def _lock_request(connection: AsyncConnection, request_id: int) -> DataRequest:
    request = await store.lock_request(connection, request_id)
    if request is None:
        raise NotThere(f"There is no request {request_id}.")
    return request


async def _extend(
    connection: AsyncConnection, request: DataRequest, reason: str, now: datetime
) -> None:
    """Two months more, once, told within the first (GDPR article 12(3))."""
    if request.kind == Kind.CLOSING:
        raise Refusal("The end of an account is not put off.", "act")
    if request.extended_at is not None:
        raise Refusal("This request was extended already.", "act")
    if deadlines.paris_day(now) > request.due_on:
        raise Refusal("The first month is over: it can be extended no more.", "act")
    day = deadlines.paris_day(request.received_at)
    due_on = _due_on(day, data_request.EXTENDED_MONTHS)
    await store.extend_request(connection, request.id, due_on, reason, now)
    if request.person_id is not None:
        await announce(
            connection,
            "data.request_extended",
            now=now,
            person_id=request.person_id,
            subject=f"data request {request.id}",
            data={"request": _REASONS[Kind(request.kind)], "due_on": due_on, "why": reason},
        )


async def _account_of(connection: AsyncConnection, request: DataRequest) -> Account | None:
    if request.person_id is None:
        return None
    return await _lock_account(connection, request.person_id)


async def _tell_end(
    connection: AsyncConnection,
    settings: Settings,
    request: DataRequest,
    account: Account,
    outcome: str,
    now: datetime,
) -> None:
    """The answer goes by mail, for the last time to an address that is erased with the account: it
    is sealed, and wiped once the mail is out."""
    if account.email is None:
        return
    await announce(
        connection,
        "data.request_done",
        now=now,
        person_id=account.id,
        subject=f"data request {request.id}",
        data={"request": _REASONS[Kind(request.kind)], "outcome": outcome},
        secret={"address": account.email},
        settings=settings,
        key=f"data request {request.id}: done",
    )


async def _complete(
    connection: AsyncConnection,
    settings: Settings,
    request: DataRequest,
    reason: str,
    now: datetime,
    by: By,
) -> tuple[str, date | None]:
    """What answers the request: its text for the person, and the last day of what is kept."""
    person_id = request.person_id
    if person_id is None:
        if not reason.strip():
            raise Refusal("Say what was done: no account is named.", "reason")
        return reason, None
    account = await _lock_account(connection, person_id)
    language = account.language
    if request.kind == Kind.ERASURE:
        erased = await erase(connection, settings, person_id, now=now, by=by)
        return _joined(erased.told(), reason), erased.kept_until
    if request.kind == Kind.CLOSING:
        await close_account(connection, settings, person_id, now=now, by=by, told=False)
        return _joined(_CLOSED[language], reason), None
    if request.kind == Kind.OBJECTION:
        await withdraw_consent(connection, person_id, now=now, by=by)
        return _joined(_OBJECTED[language], reason), None
    return reason, None


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _due_on(day: date, months: int) -> date:
    return deadlines.request_deadline(day, months=months, reading=Reading.EARLIEST)


# --- Erasure --------------------------------------------------------------------------------------


async def erase(
    connection: AsyncConnection, settings: Settings, person_id: int, *, now: datetime, by: By
) -> Erased:
    """Close a person's account and leave nothing of her but what the books need; see the module.
    Once is enough: another time changes nothing.

    Raises: NotThere; Refusal while she charges.
    """
    account = await _lock_account(connection, person_id)
    if account.erased_at is not None:
        return Erased(await _kept_until(connection, person_id, now), account.language)
    if await erasure.is_charging(connection, person_id):
        raise Refusal("A charging session is under way: erase the account once it has ended.")
    await close_account(connection, settings, person_id, now=now, by=by, told=False)
    kept_until = await _kept_until(connection, person_id, now)
    identity = await erasure.billing_identity(connection, person_id)
    if kept_until is not None and identity is not None:
        await erasure.archive_person(connection, person_id, identity, now, kept_until)
    await erasure.erase_person(connection, person_id, now)
    await erasure.erase_driver(connection, person_id, now)
    await erasure.erase_payment_means(connection, person_id)
    await erasure.erase_badge_labels(connection, person_id)
    await erasure.delete_person_log_ins(connection, person_id)
    await erasure.delete_person_links(connection, person_id)
    await erasure.erase_request_texts(connection, person_id)
    await notifications.forget_person(connection, person_id, now)
    await _note(connection, now, by, "account erased", person_id, {"archived": bool(kept_until)})
    return Erased(kept_until, account.language)


def books_until(moment: datetime) -> date:
    """The last day on which the books need what happened at a moment: ten years after the last day
    of its month in Paris."""
    day = deadlines.paris_day(moment)
    month_end = add_months(day.replace(day=1), 1) - timedelta(days=1)
    return add_months(month_end, 12 * processing.register().periods.books_years)


async def _kept_until(connection: AsyncConnection, person_id: int, now: datetime) -> date | None:
    last_at = await erasure.last_session_at(connection, person_id)
    if last_at is None:
        return None
    until = books_until(last_at)
    return until if until >= deadlines.paris_day(now) else None


async def _lock_account(connection: AsyncConnection, person_id: int) -> Account:
    account = await erasure.lock_account(connection, person_id)
    if account is None:
        raise NotThere(f"There is no person {person_id}.", "person_id")
    return account


async def _note(
    connection: AsyncConnection,
    now: datetime,
    by: By,
    action: str,
    person_id: int,
    detail: Mapping[str, object] | None = None,
) -> None:
    await audit.add_entry(
        connection,
        now,
        actor=by.actor,
        person_id=by.person_id,
        action=action,
        subject=f"person {person_id}",
        detail=dict(detail or {}),
        remote_address=by.remote_address,
    )


async def _note_request(
    connection: AsyncConnection, now: datetime, by: By, action: str, request_id: int, kind: str
) -> None:
    await audit.add_entry(
        connection,
        now,
        actor=by.actor,
        person_id=by.person_id,
        action=action,
        subject=f"data request {request_id}",
        detail={"kind": str(kind)},
        remote_address=by.remote_address,
    )
