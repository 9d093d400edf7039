"""Stripe: PaymentIntents that are confirmed at once and captured by hand, over HTTPS.

Every POST carries an Idempotency-Key made of ours, so that a repeat has no second effect. Stripe
keeps these keys for 24 hours at least; after `REPEAT_MAX` a payment whose reference we never learnt
is looked for among its customer's instead of being asked for again.
"""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import httpx

from billing.provider_state import Told
from billing.providers import Asked, Declined, Forged, Notice, Unavailable

API: Final = "https://api.stripe.com"
API_VERSION: Final = "2024-06-20"
REPEAT_MAX: Final = timedelta(hours=23)
TOLERANCE_S: Final = 300.0  # how old a signature may be, as Stripe recommends
PAGES_MAX: Final = 10  # of a customer's payments, 100 each
ANSWER_BYTES_MAX: Final = 1_000_000
_AUTHORISED: Final = ("requires_capture",)
_REFUSED: Final = ("requires_payment_method", "requires_action", "requires_confirmation")
_WON: Final = ("won", "warning_closed")  # of a dispute
DISPUTES_MAX: Final = 10  # of one payment
_MAY_PASS: Final = (409, 429)  # another call with the key is under way; too many calls


class Stripe:
    """The adapter. `client` has its time-outs; `tries` per call, each with the same key."""

    name = "stripe"

    def __init__(
        self,
        key: str,
        webhook_secret: str,
        client: httpx.AsyncClient,
        *,
        api: str = API,
        tries: int = 2,
        allow_live: bool = True,
    ) -> None:
        """Raises: ValueError for a live key where none may be used."""
        if not allow_live and not key.startswith(("sk_test_", "rk_test_")):
            raise ValueError("A live key of Stripe's is refused here: use a test key.")
        self._headers = {"Authorization": f"Bearer {key}", "Stripe-Version": API_VERSION}
        self._secret = webhook_secret.encode()
        self._client = client
        self._api = api.rstrip("/")
        self._tries = tries

    async def authorise(self, asked: Asked) -> Told:
        """See PaymentProvider."""
        return _told(
            await self._post(
                "/v1/payment_intents",
                f"{asked.key}:authorise",
                {
                    "amount": str(asked.amount_cents),
                    "currency": "eur",
                    "customer": asked.customer_reference,
                    "payment_method": asked.method_reference,
                    "payment_method_types[]": "card",
                    "capture_method": "manual",
                    "confirm": "true",
                    "off_session": "true",
                    "metadata[t2p_key]": asked.key,
                    "expand[]": "latest_charge",
                },
            )
        )

    async def capture(self, asked: Asked, amount_cents: int) -> Told:
        """See PaymentProvider."""
        return _told(
            await self._post(
                f"/v1/payment_intents/{_known(asked)}/capture",
                f"{asked.key}:capture:{asked.steps}",
                {"amount_to_capture": str(amount_cents), "expand[]": "latest_charge"},
            )
        )

    async def void(self, asked: Asked) -> Told:
        """See PaymentProvider."""
        path = f"/v1/payment_intents/{_known(asked)}/cancel"
        return _told(
            await self._post(path, f"{asked.key}:void:{asked.steps}", {"expand[]": "latest_charge"})
        )

    async def refund(self, asked: Asked, amount_cents: int, total_cents: int) -> Told:
        """See PaymentProvider."""
        reference = _known(asked)
        await self._post(
            "/v1/refunds",
            f"{asked.key}:refund:{total_cents}",
            {"payment_intent": reference, "amount": str(amount_cents)},
        )
        return await self._look_at(reference)

    async def fetch(self, asked: Asked, now: datetime) -> Told | None:
        """See PaymentProvider. Without a reference the call is repeated under its key; where that
        was answered by an error, which Stripe repeats, the payment may be there all the same."""
        if asked.reference is not None:
            return await self._look_at(asked.reference)
        if now - asked.asked_at > REPEAT_MAX:
            return await self._look_for(asked)
        try:
            return await self.authorise(asked)
        except Unavailable:
            found = await self._look_for(asked)
            if found is None:
                raise
            return found

    async def _look_at(self, reference: str) -> Told:
        """How a payment stands; of one that was charged back also how that ended."""
        told = _told(await self._get(f"/v1/payment_intents/{reference}", _EXPANDED))
        if not told.is_charged_back:
            return told
        disputes = await self._get(
            "/v1/disputes", {"payment_intent": reference, "limit": str(DISPUTES_MAX)}
        )
        found = disputes.get("data")
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise Unavailable("the answer is no list of disputes")
        is_won = bool(found) and all(each.get("status") in _WON for each in found)
        return replace(told, is_charged_back=not is_won, is_won=is_won)

    async def _look_for(self, asked: Asked) -> Told | None:
        parameters = {"customer": asked.customer_reference, "limit": "100"}
        parameters["expand[]"] = "data.latest_charge"
        for _ in range(PAGES_MAX):
            page = await self._get("/v1/payment_intents", parameters)
            for each in page["data"]:
                if each.get("metadata", {}).get("t2p_key") == asked.key:
                    return _told(each)
            if not page["has_more"]:
                return None
            parameters["starting_after"] = page["data"][-1]["id"]
        raise Unavailable("too many payments of this customer")

    def verify_webhook(self, content: bytes, signature: str, now: datetime) -> Notice:
        """See PaymentProvider. Scheme v1: HMAC-SHA256 of `<timestamp>.<body>`."""
        parts = [each.strip().partition("=") for each in signature.split(",")]
        stamps = [value for name, _, value in parts if name == "t"]
        if len(stamps) != 1 or not (stamps[0].isascii() and stamps[0].isdigit()):
            raise Forged("no timestamp")
        if len(stamps[0]) > 12 or abs(now.timestamp() - int(stamps[0])) > TOLERANCE_S:
            raise Forged("the timestamp is too far from now")
        signed = stamps[0].encode() + b"." + content
        right = hmac.new(self._secret, signed, hashlib.sha256).hexdigest().encode()
        given = [value.encode() for name, _, value in parts if name == "v1"]
        if not self._secret or not any(hmac.compare_digest(right, each) for each in given):
            raise Forged("the signature is not the provider's")
        return _notice(content)

    async def _post(self, path: str, key: str, form: dict[str, str]) -> dict[str, Any]:
        return await self._call("POST", path, {"Idempotency-Key": key}, data=form)

    async def _get(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        return await self._call("GET", path, {}, params=parameters)

    async def _call(
        self, method: str, path: str, headers: dict[str, str], **sent: Any
    ) -> dict[str, Any]:
        """The answer to a call, tried again as it was. Raises: Unavailable; Declined."""
        why = ""
        for _ in range(self._tries):
            try:
                answer = await self._client.request(
                    method, self._api + path, headers=self._headers | headers, **sent
                )
            except httpx.HTTPError as error:
                why = type(error).__name__
                continue
            if answer.status_code >= 500 or answer.status_code in _MAY_PASS:
                why = f"HTTP {answer.status_code}"
                continue
            return _read(answer)
        raise Unavailable(why)


_EXPANDED: Final = {"expand[]": "latest_charge"}


def _known(asked: Asked) -> str:
    assert asked.reference is not None, asked.key
    return asked.reference


def _read(answer: httpx.Response) -> dict[str, Any]:
    """Raises: Unavailable where it cannot be read; Declined."""
    try:
        body = json.loads(answer.content) if len(answer.content) <= ANSWER_BYTES_MAX else None
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Unavailable("the answer cannot be read")
    if answer.status_code == 200:
        return body
    error = body.get("error")
    if answer.status_code in (401, 403) or not isinstance(error, dict):
        raise Unavailable(f"HTTP {answer.status_code}")  # our key is at fault, not the payment
    raise Declined(str(error.get("decline_code") or error.get("code") or error.get("type"))[:100])


def _told(intent: dict[str, Any]) -> Told:
    """Raises: Unavailable where it is no payment in euro."""
    try:
        status, charge = intent["status"], intent.get("latest_charge")
        if intent["currency"] != "eur":
            raise Unavailable("the payment is not in euro")
        is_given_up = status in _REFUSED
        cause = intent.get("cancellation_reason") or "authentication_required"
        charge = charge if isinstance(charge, dict) else {}
        return Told(
            str(intent["id"]),
            status in _AUTHORISED,
            status == "canceled" or is_given_up,
            int(intent["amount_received"]),
            int(charge.get("amount_refunded", 0)),
            bool(charge.get("disputed", False)),
            reason=str(cause) if is_given_up else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable("the answer is no payment") from error


def _notice(content: bytes) -> Notice:
    """Raises: Forged where it is no event, though signed."""
    try:
        event = json.loads(content)
        thing = event["data"]["object"]
        is_intent = thing.get("object") == "payment_intent"
        reference = thing.get("id") if is_intent else thing.get("payment_intent")
        named = None if reference is None else str(reference)[:100]
        return Notice(str(event["id"])[:100], str(event["type"])[:100], named)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Forged("signed, and no event") from error
