"""A payment provider for tests and demonstrations, which speaks the wire shapes of Stripe.

Simulated: no money moves. It shares no code with the adapter that it is tried with. It answers
payment_intents (create, capture, cancel, retrieve, list) and refunds, keeps the first answer to an
idempotency key, errors too, and refuses the key with another body. Faults are taken from a queue,
one for each POST; events are signed and handed to whoever posts them, in any order.
"""

import asyncio
import hashlib
import hmac
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, dict[str, Any]]
#: the connection ends before or after the call took effect; an error, likewise; silence after it
FAULTS = ("lost_before", "lost_after", "error_before", "error_after", "silent_after")
BODY_BYTES_MAX = 65_536
SILENCE_S = 5.0
SIGNED_WITH = "whsec_simulated"  # known to everybody
_ERROR: Answer = (500, {"error": {"type": "api_error", "message": "simulated"}})


class PaymentPeer:
    """All that the provider knows. A payment method `pm_declined` is refused."""

    def __init__(self, key: str = "sk_test_simulated", secret: str = SIGNED_WITH) -> None:
        self.key, self.secret = key, secret
        self.intents: dict[str, dict[str, Any]] = {}
        self.refunds: list[dict[str, Any]] = []
        self.disputes: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.faults: deque[str | None] = deque()
        self.calls: list[tuple[str, str, str | None]] = []  # method, path, idempotency key
        self._answers: dict[str, tuple[str, Answer]] = {}
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Its address while it listens on the loopback."""
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.close()
            await server.wait_closed()

    def sign(self, content: bytes, at_s: int) -> str:
        """The value of Stripe-Signature for a webhook sent at that second."""
        signed = f"{at_s}.".encode() + content
        return f"t={at_s},v1={hmac.new(self.secret.encode(), signed, hashlib.sha256).hexdigest()}"

    def charge_back(self, reference: str) -> None:
        """The card holder's bank takes a captured payment back."""
        self.intents[reference]["latest_charge"]["disputed"] = True
        dispute = {"object": "dispute", "payment_intent": reference, "status": "needs_response"}
        self.disputes.append(dispute)
        self._tell("charge.dispute.created", dispute)

    def win(self, reference: str) -> None:
        """What the card holder's bank took is given back: it was charged rightly."""
        for dispute in self.disputes:
            if dispute["payment_intent"] == reference:
                dispute["status"] = "won"
                self._tell("charge.dispute.closed", dispute)

    def _is_lost(self, reference: str) -> bool:
        mine = [each for each in self.disputes if each["payment_intent"] == reference]
        return any(each["status"] != "won" for each in mine)

    def kept_cents(self, reference: str) -> int:
        """What of a payment was taken, and not given back."""
        intent = self.intents[reference]
        charge = intent["latest_charge"] or {}
        if self._is_lost(reference):
            return 0
        return int(intent["amount_received"] - charge.get("amount_refunded", 0))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._respond(reader)
            if answer is not None:
                status, body = answer
                content = json.dumps(body).encode()
                head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
                head += f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode() + content)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the other side went away, or spoke no HTTP
        finally:
            writer.close()

    async def _respond(self, reader: asyncio.StreamReader) -> Answer | None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        method, target, _ = lines[0].split(" ")
        pairs = [line.partition(":") for line in lines[1:] if line]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        if length > BODY_BYTES_MAX:
            return 413, {"error": {"type": "invalid_request_error"}}
        body = (await reader.readexactly(length)).decode()
        if headers.get("authorization") != f"Bearer {self.key}":
            return 401, {"error": {"type": "invalid_request_error"}}
        split = urlsplit(target)
        form = dict(parse_qsl(body if method == "POST" else split.query))
        key = headers.get("idempotency-key")
        self.calls.append((method, split.path, key))
        fault = self.faults.popleft() if method == "POST" and self.faults else None
        if fault == "lost_before":
            return None
        answer = self._once(key, f"{split.path} {body}", fault, method, split.path, form)
        if fault == "silent_after":
            await asyncio.sleep(SILENCE_S)
        return None if fault in ("lost_after", "silent_after") else answer

    def _once(
        self,
        key: str | None,
        asked: str,
        fault: str | None,
        method: str,
        path: str,
        form: dict[str, str],
    ) -> Answer:
        """The answer; the first one again where the key is known."""
        if method == "GET" or key is None:
            return self._do(method, path, form)
        if key in self._answers:
            known, answer = self._answers[key]
            if known != asked:
                return 400, {"error": {"type": "idempotency_error"}}
            return answer
        answer = _ERROR if fault == "error_before" else self._do(method, path, form)
        if fault == "error_after":
            answer = _ERROR
        self._answers[key] = asked, (answer[0], json.loads(json.dumps(answer[1])))
        return answer

    def _do(self, method: str, path: str, form: dict[str, str]) -> Answer:
        parts = path.strip("/").split("/")[1:]
        if parts == ["payment_intents"]:
            return self._create(form) if method == "POST" else self._list(form)
        if parts == ["refunds"] and method == "POST":
            return self._refund(form)
        if parts == ["disputes"] and method == "GET":
            named = form["payment_intent"]
            found = [each for each in self.disputes if each["payment_intent"] == named]
            return 200, {"object": "list", "data": found[::-1], "has_more": False}
        if parts[:1] != ["payment_intents"] or parts[1] not in self.intents:
            return 404, {"error": {"type": "invalid_request_error", "code": "resource_missing"}}
        intent = self.intents[parts[1]]
        if method == "POST" and parts[2:] == ["capture"]:
            return self._capture(intent, form)
        if method == "POST" and parts[2:] == ["cancel"]:
            return self._cancel(intent)
        return 200, intent

    def _create(self, form: dict[str, str]) -> Answer:
        reference = f"pi_{next(self._numbers)}x"
        is_declined = form["payment_method"] == "pm_declined"
        intent: dict[str, Any] = {
            "id": reference,
            "object": "payment_intent",
            "amount": int(form["amount"]),
            "amount_received": 0,
            "currency": form["currency"],
            "customer": form["customer"],
            "status": "requires_payment_method" if is_declined else "requires_capture",
            "cancellation_reason": None,
            "metadata": {"t2p_key": form["metadata[t2p_key]"]},
            "latest_charge": {"amount_refunded": 0, "disputed": False},
        }
        self.intents[reference] = intent
        if is_declined:
            self._tell("payment_intent.payment_failed", intent)
            error = {"type": "card_error", "code": "card_declined", "payment_intent": intent}
            return 402, {"error": error | {"decline_code": "insufficient_funds"}}
        self._tell("payment_intent.amount_capturable_updated", intent)
        return 200, intent

    def _list(self, form: dict[str, str]) -> Answer:
        found = [each for each in self.intents.values() if each["customer"] == form["customer"]]
        return 200, {"object": "list", "data": found[::-1], "has_more": False}

    def _capture(self, intent: dict[str, Any], form: dict[str, str]) -> Answer:
        cents = int(form["amount_to_capture"])
        if intent["status"] != "requires_capture" or not 0 < cents <= intent["amount"]:
            return _unexpected()
        intent |= {"status": "succeeded", "amount_received": cents}
        self._tell("payment_intent.succeeded", intent)
        return 200, intent

    def _cancel(self, intent: dict[str, Any]) -> Answer:
        if intent["status"] in ("succeeded", "canceled"):
            return _unexpected()
        intent["status"] = "canceled"
        self._tell("payment_intent.canceled", intent)
        return 200, intent

    def _refund(self, form: dict[str, str]) -> Answer:
        intent = self.intents[form["payment_intent"]]
        cents = int(form["amount"])
        if not 0 < cents <= self.kept_cents(intent["id"]):
            return _unexpected()
        intent["latest_charge"]["amount_refunded"] += cents
        refund = {"id": f"re_{next(self._numbers)}", "object": "refund", "amount": cents}
        refund |= {"payment_intent": intent["id"], "status": "succeeded"}
        self.refunds.append(refund)
        charge = {"object": "charge", "payment_intent": intent["id"]}
        self._tell("charge.refunded", charge | intent["latest_charge"])
        return 200, refund

    def _tell(self, kind: str, thing: dict[str, Any]) -> None:
        """An event, with a copy of what it speaks of as it is now."""
        event = {"id": f"evt_{next(self._numbers)}", "object": "event", "type": kind}
        self.events.append(event | {"data": {"object": json.loads(json.dumps(thing))}})


def _unexpected() -> Answer:
    code = "payment_intent_unexpected_state"
    return 400, {"error": {"type": "invalid_request_error", "code": code}}
