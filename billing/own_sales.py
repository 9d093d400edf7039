"""What the operator itself sells to clients: entered once, then invoiced in its own series.

Kinds: commission (the closing of a month computes it), management fee, subscription, intervention;
deposit, installation, cancellation and additional costs come from quotes (billing.ordering);
telemetering is owed by each connected co-owner, not by the client (article 5.4 d), and comes here
only where somebody enters it. Amounts exclude VAT, which comes at the rate of the invoice's day.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

import psycopg
from psycopg import AsyncConnection

from billing import documents, money, parties, series
from billing.charging import Issued, lack_of_mention, note_lacks
from billing.documents import MentionMissing
from billing.invoice import DocumentLine, Party, TypeCode, VatCase, from_json
from billing.parties import Lack
from billing.series import Draft, Faulty
from billing.store import invoices as invoice_store
from billing.store import issuing as issue_store
from billing.store import own_sales as store
from billing.store.closing import DEDUCTED
from billing.store.own_sales import OwnSale
from csms import contracts
from csms.clients import Actor
from csms.config import Settings
from csms.domain.contract import IN_FORCE, Contract, Terms, state_at, terms_at
from csms.domain.values import add_months
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit
from csms.store import clients as client_store
from csms.store import contracts as contract_store
from csms.store.clients import ClientRecord

OF_ORDERS: Final = ("deposit", "installation", "cancellation", "additional")
KINDS: Final = (
    *("commission", "management_fee", "subscription", "telemetering", "intervention"),
    *OF_ORDERS,
)
SYSTEM: Final = Actor("system")
_MONTHS: Final = (
    *("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre"),
    *("octobre", "novembre", "décembre"),
)


async def add_own_sale(
    connection: AsyncConnection,
    *,
    client_id: int,
    kind: str,
    label: str,
    amount_excl_cents: int,
    on_day: date,
    month: date,
    source_key: str,
    actor: Actor,
    now: datetime,
    contract_id: int | None = None,
) -> int:
    """A sale to a client for the statement of a month (its first day); its id. The same source key
    with the same content is the same sale. Below 0: given back.

    Raises: NotThere; Conflict for a key whose sale is another one; Refusal.
    """
    if kind not in KINDS:
        raise Refusal(f"A sale is one of {', '.join(KINDS)}.", "kind")
    if amount_excl_cents == 0:
        raise Refusal("A sale of nothing is not entered.", "amount_excl_cents")
    client = await client_store.get_client(connection, client_id)
    if client is None or client.is_operator:
        raise NotThere(f"There is no client {client_id} to sell to.")
    made = await store.insert_sale(
        connection,
        client_id=client_id,
        contract_id=contract_id,
        kind=kind,
        label=label,
        amount_excl_cents=amount_excl_cents,
        on_day=on_day,
        month=month.replace(day=1),
        source_key=source_key,
        now=now,
        actor=actor.name,
    )
    if made is None:
        return await _same(connection, source_key, client_id, kind, amount_excl_cents, on_day)
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=client_id,
        action="own_sale.added",
        subject=f"own sale {made}",
        detail={"kind": kind, "amount_excl_cents": amount_excl_cents, "on_day": str(on_day)},
    )
    return made


async def _same(
    connection: AsyncConnection,
    source_key: str,
    client_id: int,
    kind: str,
    amount_excl_cents: int,
    on_day: date,
) -> int:
    """The sale that has the key. Raises: Conflict where it is another one."""
    there = await store.find_sale(connection, source_key)
    assert there is not None
    asked = (client_id, kind, amount_excl_cents, on_day)
    if (there.client_id, there.kind, there.amount_excl_cents, there.on_day) != asked:
        raise Conflict(
            f"Source {source_key} has a sale already, and of other content: "
            f"{there.kind} of {there.amount_excl_cents} cents on {there.on_day}.",
            "source_key",
        )
    return there.id


async def add_due_sales(
    connection: AsyncConnection, client_id: int, month: date, now: datetime
) -> list[int]:
    """What the client's contracts make due in a month, each once: the management fee of every
    contract that is in force on any day of it, a whole month's, by the terms of the last such day;
    and the yearly subscription on each anniversary of the start, the start itself being the first,
    by the terms of that day."""
    found = []
    for row in await contract_store.fetch_contracts(connection, client_id=client_id):
        core = contracts.core_of(row)
        terms = [
            Terms(
                each.from_on,
                each.to_on,
                monthly_management_fee_cents=each.monthly_management_fee_cents,
                yearly_subscription_cents=each.yearly_subscription_cents,
            )
            for each in await contract_store.list_terms(connection, row.id)
        ]
        for kind, on_day, label, amount in due_in(core, terms, month):
            found.append(
                await add_own_sale(
                    connection,
                    client_id=client_id,
                    contract_id=row.id,
                    kind=kind,
                    label=label,
                    amount_excl_cents=amount,
                    on_day=on_day,
                    month=month,
                    source_key=f"{kind}:{row.id}:{on_day:%Y-%m}",
                    actor=SYSTEM,
                    now=now,
                )
            )
    return found


def due_in(
    contract: Contract, terms: Sequence[Terms], month: date
) -> list[tuple[str, date, str, int]]:
    """Kind, day, label and amount of what a contract makes due in a month."""
    found = []
    days = [month + timedelta(days=n) for n in range((add_months(month, 1) - month).days)]
    in_force = [day for day in days if state_at(contract, day) in IN_FORCE]
    if not in_force:
        return []
    agreed = terms_at(terms, in_force[-1])
    if agreed is not None and agreed.monthly_management_fee_cents:
        label = f"Frais de gestion, {_MONTHS[month.month - 1]} {month.year}"
        fee = agreed.monthly_management_fee_cents
        found.append(("management_fee", in_force[-1], label, fee))
    for day in in_force:
        agreed = terms_at(terms, day)
        if agreed is not None and agreed.yearly_subscription_cents and _is_yearly(contract, day):
            until = add_months(day, 12) - timedelta(days=1)
            label = f"Abonnement annuel, du {day:%d/%m/%Y} au {until:%d/%m/%Y}"
            found.append(("subscription", day, label, agreed.yearly_subscription_cents))
    return found


def _is_yearly(contract: Contract, day: date) -> bool:
    """Whether a day is an anniversary of the start, or the start."""
    years = day.year - contract.starts_on.year
    return years >= 0 and add_months(contract.starts_on, 12 * years) == day


async def issue_own(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    now: datetime,
    *,
    settings: Settings,
    kinds: Sequence[str] = KINDS,
    sale_ids: Sequence[int] | None = None,
    due_on: date | None = None,
    original_id: int | None = None,
    dry_run: bool = False,
) -> Issued:
    """Invoice what the operator has sold to a client up to a month and not invoiced yet, of these
    kinds, or just these sales, in one transaction: an invoice, or where it sums to less than 0 a
    credit note on the last one, or on `original_id`. What sums to 0 waits. due_on: None for the
    usual period.

    Raises: NotThere; Conflict while the settings do not say who the operator is.
    """
    operator = parties.operator_party(settings)
    found = Issued()
    async with connection.transaction() as transaction:
        client = await client_store.lock_client(connection, client_id)
        if client is None:
            raise NotThere(f"There is no client {client_id}.")
        waiting = await store.fetch_waiting(connection, client_id, month, kinds, sale_ids)
        total = sum(sale.amount_excl_cents for sale in waiting)
        if total != 0:
            made = await _issue_waiting(
                connection,
                client,
                month,
                waiting,
                operator,
                settings,
                now,
                is_credit=total < 0,
                due_on=due_on,
                original_id=original_id,
            )
            if isinstance(made, Lack):
                found.lacks.append(made)
            else:
                found.documents, found.gross_cents = 1, made.draft.effect_cents
        prefix = f"own client {client_id} {month:%Y-%m} {kinds[0]}"
        await note_lacks(connection, prefix, client_id, month, found.lacks, now)
        if dry_run:
            raise psycopg.Rollback(transaction)
    return found


async def _issue_waiting(
    connection: AsyncConnection,
    client: ClientRecord,
    month: date,
    waiting: Sequence[OwnSale],
    operator: Party,
    settings: Settings,
    now: datetime,
    *,
    is_credit: bool,
    due_on: date | None,
    original_id: int | None,
) -> series.Written | Lack:
    """The document of sales that do not sum to 0, or what keeps it back."""
    original = (
        await invoice_store.find_last_own(connection, client.id, original_id) if is_credit else None
    )
    if is_credit and original is None:
        return Lack(
            "nothing_to_credit",
            f"Client {client.name} is to be given back more than it was sold, and has no invoice "
            "of the operator's that a credit note could name.",
            "It waits for the next sale; or settle it by hand and take the sale back.",
        )
    opened = await series.opened(connection, None, "credit" if is_credit else "invoice", now)
    buyer = parties.client_party(
        client, await client_store.list_vat(connection, client.id), opened.issued_on
    )
    if isinstance(buyer, Lack):
        return buyer
    percent = await issue_store.fetch_vat_percent(connection, opened.issued_on)
    if original is not None and original_id is not None:
        # What that invoice asked for is given back: at its rate.
        percent = from_json(original.content).lines[0].vat_percent
    if percent is None:
        return Lack(
            "vat_rate_missing",
            f"No rate of VAT is in force on {opened.issued_on}.",
            "Enter it (POST /api/v1/billing/vat-rates).",
        )
    lines = [_line(sale, percent) for sale in waiting]
    if is_credit:
        lines = [documents.reversed_sign(line) for line in lines]
    try:
        document = documents.compose(
            type_code=TypeCode.CREDIT_NOTE if is_credit else TypeCode.INVOICE,
            issued_on=opened.issued_on,
            due_on=_due_on(opened.issued_on, due_on, settings),
            supplied=(waiting[0].on_day, max(sale.on_day for sale in waiting)),
            vat_case=VatCase.REDEVABLE,
            is_goods=False,
            seller=operator,
            buyer=buyer,
            invoicer=None,
            # Which sale it is stands in invoice_line: what is printed holds no number of ours.
            lines=[replace(line, own_sale_id=None) for line in lines],
            texts=await issue_store.fetch_mentions(connection, opened.issued_on),
            language="fr",
            is_simulated=settings.billing_simulated,
            original=None if original is None else from_json(original.content),
            reason="Régularisation" if is_credit else "",
        )
    except MentionMissing as missing:
        return lack_of_mention(missing)
    if all(sale.kind in DEDUCTED for sale in waiting):
        mention = documents.deduction_mention(document.language)
        document = replace(document, mentions=(*document.mentions, mention))
    effect, effect_vat = series.plain_effect(document)
    draft = Draft(
        document=document,
        issuer="operator",
        client_id=client.id,
        person_id=None,
        month=month,
        source_key=f"own_sales:{waiting[0].source_key}",
        lines=tuple(
            series.row_of([line], place, is_original=True)
            for place, line in enumerate(lines, start=1)
        ),
        effect_cents=effect,
        effect_vat_cents=effect_vat,
        original_id=None if original is None else original.id,
        commission_excl_cents=sum(
            sale.amount_excl_cents for sale in waiting if sale.kind == "commission"
        ),
    )
    try:
        return await series.write_one(connection, opened, draft, now)
    except Faulty as faulty:
        return Lack(
            "faulty_document",
            f"The operator's document for {client.name} is not right: {faulty}",
            "Put its source right where it is wrong; else this is a fault of the software.",
        )


def _due_on(issued_on: date, wanted: date | None, settings: Settings) -> date:
    """The usual period after the document's day; or the day that is wanted, never before it."""
    if wanted is None:
        return issued_on + timedelta(days=settings.own_invoice_due_days)
    return max(issued_on, wanted)


def _line(sale: OwnSale, percent: Decimal) -> DocumentLine:
    """A sale as a line, VAT upon its amount."""
    vat = money.vat_on(sale.amount_excl_cents, percent)
    return DocumentLine(
        label=sale.label,
        attributes=(("Date", f"{sale.on_day:%d/%m/%Y}"),),
        vat_percent=percent,
        net_cents=sale.amount_excl_cents,
        vat_cents=vat,
        gross_cents=sale.amount_excl_cents + vat,
        own_sale_id=sale.id,
    )
