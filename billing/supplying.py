"""Bills to co-owners for what the operator supplies them itself (article 5.4 d).

Each month that is over is billed once for each holding: the energy of its sessions at the
contract's price, and the telemetering by the days of the holding. Sessions are found by what of
them is billed: one that came late, or whose energy was put right, is on the next bill with the
difference, once that costs a cent. What is in doubt, at no lot, or used while nobody held the lot
is billed to nobody: it is a problem with its remedy. A bill is paid from the provision as far as
that goes. When a holding has ended and is billed, the provision pays what is open, and the rest is
credited and given back.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import books, documents, parties, provisions, series, supply, supply_lines
from billing.charging import lack_of_mention
from billing.documents import MentionMissing
from billing.invoice import Document, DocumentLine, Party, TypeCode, VatCase, from_json
from billing.parties import Lack
from billing.pricing import LOOK_BACK, LOST_WAIT
from billing.series import Draft, Faulty, Supplied
from billing.store import invoices as invoice_store
from billing.store import issuing as issue_store
from billing.store import lots as lot_store
from billing.store import problems
from billing.store import supply as store
from billing.store.issuing import DriverRow
from billing.store.lots import HoldingRow
from billing.store.supply import AdvanceRow
from billing.supply_lines import REASONS, Charged, Month, Use
from csms import contracts, deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.domain.contract import Terms, terms_at
from csms.domain.session import Flag
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit
from csms.store import clients as client_store
from csms.store import contracts as contract_store

STAGE: Final = "supply"
SYSTEM: Final = Actor("system")
_KIND: Final = {
    TypeCode.INVOICE: "invoice",
    TypeCode.PREPAYMENT: "invoice",
    TypeCode.CREDIT_NOTE: "credit",
}


@dataclass(slots=True)
class Billed:
    """What a run did; `problems` counts what keeps something from being billed."""

    bills: int = 0
    energy_wh: int = 0
    amount_incl_cents: int = 0
    provision_cents: int = 0  # of it paid from provisions
    given_back_cents: int = 0  # of provisions of those who have left, to be paid back
    problems: int = 0


async def bill_month(
    pool: AsyncConnectionPool,
    month: date,
    now: datetime,
    *,
    settings: Settings,
    client_id: int | None = None,
    actor: Actor = SYSTEM,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Billed:
    """Bill what co-owners used up to the end of a month (any day of it), each client in a
    transaction of its own; and settle holdings that have ended. Run again, it goes on.

    Raises: Refusal for a month that is not over; Conflict while the settings do not say who the
    operator is.
    """
    month = month.replace(day=1)
    end_at = deadlines.start_of_day(deadlines.add_months(month, 1))
    if now < end_at:
        raise Refusal(f"{month:%Y-%m} is not over: it is billed from its end on.", "month")
    operator = parties.operator_party(settings)
    async with pool.connection() as connection:
        supplies = await lot_store.list_supplies(connection, client_id)
    clients = sorted({each.client_id for each in supplies})
    done = Billed()
    for number, each in enumerate(clients, start=1):
        async with pool.connection() as connection, connection.transaction() as transaction:
            await client_store.lock_client(connection, each)
            run = _Run(connection, operator, settings, actor, now)
            await run.bill(each, month, end_at, done)
            if dry_run:
                raise psycopg.Rollback(transaction)
        if progress is not None:
            progress(number, len(clients))
    return done


async def ask_provision(
    connection: AsyncConnection,
    holding_id: int,
    now: datetime,
    *,
    settings: Settings,
    actor: Actor = SYSTEM,
    amount_cents: int | None = None,
) -> int:
    """Ask a co-owner for the provision of his contract (once), or for another amount, VAT included,
    by a prepayment invoice; its id. In the caller's transaction.

    Raises: NotThere; Conflict where it was asked for, the holding has ended, or the document cannot
    be made; Refusal for an amount that is not above 0.
    """
    found = await lot_store.list_holdings(connection, holding_id=holding_id)
    if not found:
        raise NotThere(f"There is no holding {holding_id}.")
    await client_store.lock_client(connection, found[0].client_id)
    (holding,) = await lot_store.list_holdings(connection, holding_id=holding_id)
    if holding.to_on is not None:
        raise Conflict(f"The holding of lot {holding.lot} has ended.")
    if amount_cents is None:
        if await store.list_advances(connection, holding_id):
            raise Conflict(
                f"The provision of lot {holding.lot} was asked for: say how much more (amount)."
            )
        amount_cents = holding.provision_cents
    if amount_cents <= 0:
        raise Refusal("A provision is above 0.", "amount_cents")
    run = _Run(connection, parties.operator_party(settings), settings, actor, now)
    return await run.ask(holding, amount_cents)


class Refund(NamedTuple):
    """Something that is to be given back to a co-owner, until a day."""

    invoice_id: int
    number: str
    client_id: int
    person_id: int
    lot: str
    amount_cents: int
    due_on: date


async def list_refunds(connection: AsyncConnection, settings: Settings) -> list[Refund]:
    """What is to be given back to co-owners, by invoice; from the operator's own account."""
    return [
        Refund(
            each.invoice_id,
            each.number,
            each.client_id,
            each.person_id,
            each.lot,
            each.amount_cents,
            each.since_on + timedelta(days=settings.supply_refund_days),
        )
        for each in await store.list_refunds(connection)
    ]


@dataclass(slots=True)
class _Run:
    """A run's connection, in its transaction, and who acts."""

    connection: AsyncConnection
    operator: Party
    settings: Settings
    actor: Actor
    now: datetime

    async def bill(self, client_id: int, month: date, end_at: datetime, done: Billed) -> None:
        """A client's bills of a month, and what ended holdings are given back. Its books are held
        from here on: a provision that comes back meanwhile waits, and is not used as well."""
        await books.hold(self.connection, [client_id])
        world = await self._load(client_id, month)
        percent = await self._percent()
        used = await self._used(world, end_at, percent)
        if isinstance(percent, Lack):
            world.lacks.append(percent)
        else:
            for holding in world.holdings.values():
                if holding.id not in world.billed:
                    await self._bill(world, holding, used.get(holding.id, []), percent, done)
            await self._settle_ended(world, used, done)
        await self._note(world)
        done.problems += len(world.lacks)

    async def _load(self, client_id: int, month: date) -> Month:
        fees: dict[int, dict[date, int]] = defaultdict(dict)
        for holding_id, of_month, cents in await store.fetch_fees(self.connection, client_id):
            fees[holding_id][of_month] = cents
        terms: list[Terms] = []
        for row in await contract_store.fetch_contracts(self.connection, client_id=client_id):
            if contracts.core_of(row).signed_on is not None:
                terms += [
                    Terms(
                        each.from_on,
                        each.to_on,
                        monthly_telemetering_cents=each.monthly_telemetering_cents,
                        energy_price_eur_per_kwh=each.energy_price_eur_per_kwh,
                    )
                    for each in await contract_store.list_terms(self.connection, row.id)
                ]
        return Month(
            client_id,
            month,
            {
                each.id: each
                for each in await lot_store.list_holdings(self.connection, client_id=client_id)
            },
            # The newest contract's first: what the one before agreed has no end where it had none.
            terms[::-1],
            [
                (each.site_id, each.from_on, each.to_on)
                for each in await lot_store.list_supplies(self.connection, client_id)
            ],
            await store.fetch_billed(self.connection, client_id, month),
            fees,
        )

    async def _used(
        self, world: Month, end_at: datetime, percent: Decimal | Lack
    ) -> dict[int, list[Use]]:
        """By holding what it used and is not billed; the rest is a lack."""
        from_at = deadlines.start_of_day(world.month) - LOOK_BACK
        cores = {
            each.id: supply.Holding(each.id, each.lot_id, each.person_id, each.from_on, each.to_on)
            for each in world.holdings.values()
        }
        by_site: dict[str, list[supply.Holding]] = defaultdict(list)
        for each in world.holdings.values():
            by_site[each.site_id].append(cores[each.id])
        used: dict[int, list[Use]] = defaultdict(list)
        for row in await store.fetch_unbilled(self.connection, world.client_id, from_at, end_at):
            if Flag.LOST_STOP in row.flags and row.ended_at + LOST_WAIT > self.now:
                continue
            # The difference is his whose bill had it, whosever the point is said to be now.
            holding = (
                cores.get(row.billed_holding_id)
                if row.billed_wh and row.billed_holding_id is not None
                else supply.holder_of(
                    by_site[row.site_id], row.ended_on, lot_id=row.lot_id, person_id=row.person_id
                )
            )
            terms = terms_at(world.terms, row.ended_on)
            price = None if terms is None else terms.energy_price_eur_per_kwh
            lack = supply_lines.lack_of(world, row, holding, price)
            if lack is not None:
                world.lacks.append(lack)
                continue
            assert holding is not None and row.energy_wh is not None and price is not None
            of_bill = None
            if row.billed_on is not None and row.billed_wh:
                of_bill = await issue_store.fetch_vat_percent(self.connection, row.billed_on)
            use = Use(
                row,
                row.energy_wh - row.billed_wh,
                price,
                None if of_bill == percent else of_bill,
            )
            used[holding.id].append(use)
        return used

    async def _percent(self) -> Decimal | Lack:
        day = deadlines.paris_day(self.now)
        percent = await issue_store.fetch_vat_percent(self.connection, day)
        if percent is not None:
            return percent
        return Lack(
            "vat_rate_missing",
            f"No rate of VAT is in force on {day}.",
            "Enter it (POST /api/v1/billing/vat-rates).",
        )

    async def _bill(
        self,
        world: Month,
        holding: HoldingRow,
        uses: Sequence[Use],
        percent: Decimal,
        done: Billed,
    ) -> None:
        """The bill of a holding; where more is taken back than was used, a credit note on its last
        one, whose provision is put back."""
        charged = supply_lines.charge(world, holding, uses)
        if not charged.costs:
            return
        buyer = await self._buyer(holding.person_id)
        if isinstance(buyer, Lack):
            world.lacks.append(buyer)
            return
        driver, party = buyer
        lines = supply_lines.lines(charged, holding, percent, driver.language)
        gross = sum(line.gross_cents for line in lines)
        why = "corrected" if charged.energy_cents < 0 else "left"
        original = None
        if gross < 0:
            original = await self._bill_to_credit(holding.id, uses)
            if original is None:
                world.lacks.append(supply_lines.nothing_to_credit(holding))
                return
            lines = [documents.reversed_sign(line) for line in lines]
        left = await provisions.balance(self.connection, holding.id)
        paid = min(left.cents, gross) if original is None else 0
        document = await self._document(
            TypeCode.INVOICE if original is None else TypeCode.CREDIT_NOTE,
            supply_lines.supplied(world, uses),
            party,
            driver.language,
            lines,
            paid_cents=paid,
            has_services=charged.fee_cents != 0,
            original=original,
            reason="" if original is None else REASONS[why][driver.language],
        )
        if isinstance(document, Lack):
            world.lacks.append(document)
            return
        if paid:
            mention = supply_lines.provision_mention(paid, left.cents - paid, driver.language)
            document = replace(document, mentions=(*document.mentions, mention))
        await self._keep_bill(world, holding, uses, charged, document, original, done)

    async def _keep_bill(
        self,
        world: Month,
        holding: HoldingRow,
        uses: Sequence[Use],
        charged: Charged,
        document: Document,
        original: Document | None,
        done: Billed,
    ) -> None:
        named = None
        if original is not None:
            named = await invoice_store.find_by_number(self.connection, original.number)
        invoice_id = await self._issue(
            world,
            document,
            holding,
            "bill",
            Supplied(charged.energy_cents, charged.fee_cents),
            f"supply:{holding.id}:{world.month:%Y-%m}",
            (charged.energy_wh, charged.energy_cents, charged.fee_cents),
            original_id=named,
        )
        if invoice_id is None:
            return
        await store.insert_sessions(
            self.connection,
            [(use.session.id, invoice_id, world.client_id, use.energy_wh) for use in uses],
        )
        bill = await provisions.find_document(
            self.connection, invoice_id if named is None else named
        )
        assert bill is not None
        if named is None:
            used = await provisions.use(
                self.connection, bill, document.issued_on, self.actor, self.now
            )
            assert used == document.paid_cents, "the document says what was paid of it"
            done.provision_cents += used
        else:
            await provisions.put_back(
                self.connection, bill, document.issued_on, self.actor, self.now
            )
        done.bills += 1
        done.energy_wh += charged.energy_wh
        done.amount_incl_cents += bill.amount_incl_cents if named is None else -document.gross_cents

    async def _bill_to_credit(self, holding_id: int, uses: Sequence[Use]) -> Document | None:
        """The bill that had most of what is taken back; else the last one that is no credit
        note."""
        taken: Counter[int] = Counter()
        for use in uses:
            if use.energy_wh < 0 and use.session.bill_id is not None:
                taken[use.session.bill_id] -= use.energy_wh
        bill_id = max(taken, key=lambda each: (taken[each], each), default=None)
        for document in await store.list_documents(self.connection, holding_id=holding_id):
            if not taken and document.kind == "bill" and document.amount_incl_cents > 0:
                bill_id = document.invoice_id
        if bill_id is None:
            return None
        issued = await invoice_store.get_issued(self.connection, bill_id)
        assert issued is not None
        return from_json(issued.content)

    async def ask(self, holding: HoldingRow, amount_cents: int) -> int:
        """The prepayment invoice; its id. Raises: Conflict."""
        percent = await self._percent()
        buyer = await self._buyer(holding.person_id)
        for lack in (percent, buyer):
            if isinstance(lack, Lack):
                raise Conflict(f"{lack.message} {lack.remedy}")
        assert isinstance(percent, Decimal) and not isinstance(buyer, Lack)
        driver, party = buyer
        today = deadlines.paris_day(self.now)
        document = await self._document(
            TypeCode.PREPAYMENT,
            (today, today),
            party,
            driver.language,
            [supply_lines.advance_line(holding, amount_cents, percent, driver.language)],
        )
        if isinstance(document, Lack):
            raise Conflict(f"{document.message} {document.remedy}")
        world = Month(holding.client_id, today.replace(day=1), {}, (), (), set())
        asked = len(await store.list_advances(self.connection, holding.id))
        invoice_id = await self._issue(
            world,
            document,
            holding,
            "advance",
            Supplied(asked_cents=amount_cents),
            f"advance:{holding.id}:{asked + 1}",
        )
        if invoice_id is None:
            raise Conflict(world.lacks[0].message)
        await self._audit(holding, "provision.asked", amount_cents)
        return invoice_id

    async def _settle_ended(self, world: Month, used: dict[int, list[Use]], done: Billed) -> None:
        """Give back what is left to those who have left and are billed to the end. A bill that is
        contested, or being debited, is not set off: so much is kept until that is settled."""
        end_on = deadlines.add_months(world.month, 1)
        billed = await store.fetch_billed(self.connection, world.client_id, world.month)
        for holding_id, _ in await store.list_ended(self.connection, world.client_id, end_on):
            holding = world.holdings[holding_id]
            waiting = supply_lines.charge(world, holding, used.get(holding_id, []))
            if holding_id in world.billed:  # before this run: what came since is on the next bill
                waiting = waiting._replace(fee_cents=0)
            if waiting.costs and (holding_id in world.billed or holding_id not in billed):
                continue
            paused = await store.fetch_paused(self.connection, holding_id)
            kept_cents = 0
            for document in await store.list_documents(self.connection, holding_id=holding_id):
                if document.kind != "bill" or document.open_cents <= 0:
                    continue
                if document.invoice_id in paused:
                    kept_cents += document.open_cents
                    continue
                today = deadlines.paris_day(self.now)
                await provisions.use(self.connection, document, today, self.actor, self.now)
            for advance, left_cents in await self._left(holding_id, kept_cents):
                done.given_back_cents += await self._give_back(world, holding, advance, left_cents)

    async def _left(self, holding_id: int, kept_cents: int) -> list[tuple[AdvanceRow, int]]:
        """Advances of which something is left beyond what is kept, or asked for still; the oldest
        were used first."""
        advances = await store.list_advances(self.connection, holding_id)
        left = await provisions.balance(self.connection, holding_id)
        paid = [(each.invoice_id, each.received_cents - each.credited_cents) for each in advances]
        used = sum(cents for _, cents in paid) - left.cents + kept_cents
        of_each = dict(supply.left_of(paid, used))
        return [
            (each, of_each.get(each.invoice_id, 0))
            for each in advances
            if of_each.get(each.invoice_id) or each.unpaid_cents > 0
        ]

    async def _give_back(
        self,
        world: Month,
        holding: HoldingRow,
        advance: AdvanceRow,
        left_cents: int,
    ) -> int:
        """The credit note on an advance: what is left of it, and what was never paid. What is to be
        paid back, in cents."""
        buyer = await self._buyer(holding.person_id)
        if isinstance(buyer, Lack):
            world.lacks.append(buyer)
            return 0
        driver, party = buyer
        original = await invoice_store.get_issued(self.connection, advance.invoice_id)
        assert original is not None
        asked = from_json(original.content)
        today = deadlines.paris_day(self.now)
        unpaid_cents = max(0, advance.unpaid_cents)
        percent = asked.lines[0].vat_percent  # of the day on which it was asked for
        line = supply_lines.advance_line(
            holding, left_cents + unpaid_cents, percent, driver.language
        )
        document = await self._document(
            TypeCode.CREDIT_NOTE,
            (today, today),
            party,
            driver.language,
            [line],
            original=asked,
            reason=REASONS["ended"][driver.language],
        )
        if isinstance(document, Lack):
            world.lacks.append(document)
            return 0
        balance = await provisions.balance(self.connection, holding.id)
        vat_cents = supply.vat_part(left_cents, balance.cents, balance.vat_cents)
        invoice_id = await self._issue(
            world,
            document,
            holding,
            "credit",
            Supplied(asked_cents=-unpaid_cents, paid_cents=-left_cents, paid_vat_cents=-vat_cents),
            f"advance_credit:{advance.invoice_id}:{advance.credits + 1}",
            original_id=advance.invoice_id,
        )
        if invoice_id is None:
            return 0
        if left_cents:
            note = await provisions.find_document(self.connection, invoice_id)
            assert note is not None
            await provisions.credit(
                self.connection, note, left_cents, vat_cents, self.actor, self.now
            )
        await self._audit(holding, "provision.credited", left_cents)
        return left_cents

    async def _buyer(self, person_id: int) -> tuple[DriverRow, Party] | Lack:
        driver = (await issue_store.fetch_drivers(self.connection, [person_id]))[person_id]
        party = parties.driver_party(driver)
        return party if isinstance(party, Lack) else (driver, party)

    async def _document(
        self,
        type_code: TypeCode,
        supplied: tuple[date, date],
        buyer: Party,
        language: str,
        lines: Sequence[DocumentLine],
        *,
        paid_cents: int = 0,
        has_services: bool = False,
        original: Document | None = None,
        reason: str = "",
    ) -> Document | Lack:
        opened = await series.opened(self.connection, None, _KIND[type_code], self.now)
        try:
            document = documents.compose(
                type_code=type_code,
                issued_on=opened.issued_on,
                due_on=opened.issued_on + timedelta(days=self.settings.invoice_due_days),
                supplied=supplied,
                vat_case=VatCase.REDEVABLE,
                is_goods=True,
                seller=self.operator,
                buyer=buyer,
                invoicer=None,
                lines=lines,
                texts=await issue_store.fetch_mentions(self.connection, opened.issued_on),
                language=language,
                is_simulated=self.settings.billing_simulated,
                original=original,
                reason=reason,
                paid_cents=paid_cents,
            )
        except MentionMissing as missing:
            return lack_of_mention(missing)
        return replace(document, has_services=has_services, deducts_advance=paid_cents > 0)

    async def _issue(
        self,
        world: Month,
        document: Document,
        holding: HoldingRow,
        kind: str,
        supplied: Supplied,
        source_key: str,
        billed: tuple[int, int, int] = (0, 0, 0),
        original_id: int | None = None,
    ) -> int | None:
        """Number and keep a document, with its row; its id. None: it is faulty, which is a lack."""
        effect, effect_vat = series.plain_effect(document)
        draft = Draft(
            document=document,
            issuer="operator",
            client_id=holding.client_id,
            person_id=holding.person_id,
            month=world.month,
            source_key=source_key,
            lines=tuple(
                replace(
                    series.row_of([line], place, is_original=original_id is None),
                    holding_id=holding.id,
                )
                for place, line in enumerate(document.lines, start=1)
            ),
            effect_cents=effect,
            effect_vat_cents=effect_vat,
            original_id=original_id,
            supply=supplied,
        )
        opened = await series.opened(self.connection, None, _KIND[document.type_code], self.now)
        try:
            written = await series.write_one(self.connection, opened, draft, self.now)
        except Faulty as faulty:
            world.lacks.append(supply_lines.faulty(holding, source_key, faulty.sentences))
            return None
        row = (
            written.id,
            holding.client_id,
            holding.id,
            holding.person_id,
            kind,
            world.month,
            *billed,
            effect,
        )
        await store.insert_documents(self.connection, [row], self.now)
        return written.id

    async def _note(self, world: Month) -> None:
        """What keeps something from being billed, each once; what is mended is resolved."""
        prefix = f"supply client {world.client_id}"
        rows = {f"{prefix} {lack.cause} {lack.about}".rstrip(): lack for lack in world.lacks}
        await problems.note_all(
            self.connection,
            [
                (
                    *(STAGE, subject, world.client_id, world.month, None),
                    *(lack.cause, lack.message, lack.remedy),
                )
                for subject, lack in rows.items()
            ],
            self.now,
        )
        await problems.resolve_others(self.connection, STAGE, f"{prefix} ", list(rows), self.now)

    async def _audit(self, holding: HoldingRow, action: str, amount_cents: int) -> None:
        await audit.add_entry(
            self.connection,
            self.now,
            actor=self.actor.name,
            person_id=self.actor.person_id,
            client_id=holding.client_id,
            action=action,
            subject=f"holding {holding.id}",
            detail={"amount_cents": amount_cents},
        )
