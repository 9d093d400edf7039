"""One station of the load generator: its texts, its few steps. Used by load.py only."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from simulators.load_orders import answer_to_order
from simulators.rawsocket import RawSocket, upgrade_request

if TYPE_CHECKING:
    from simulators.load import Run

_WH_PER_MS = 7200 / 3_600_000


def _sampled(quote: str, unit: Callable[[str], str]) -> str:
    """Eight sampled values; the first one's value is a place holder. `quote` surrounds values."""
    context = '"context":"Sample.Periodic"'
    register = (
        f'{{"value":{quote}%.3f{quote},{context},'
        f'"measurand":"Energy.Active.Import.Register",{unit("Wh")}}}'
    )
    power = f'{{"value":{quote}7200.0{quote},{context},"measurand":"Power.Active.Import",'
    values = [register, power + unit("W") + "}"]
    for measurand, value, name in (("Current.Import", "10.4", "A"), ("Voltage", "230.8", "V")):
        values += [
            f'{{"value":{quote}{value}{quote},{context},"measurand":"{measurand}",'
            f'"phase":"{phase}",{unit(name)}}}'
            for phase in (("L1", "L2", "L3") if name == "A" else ("L1-N", "L2-N", "L3-N"))
        ]
    return "[" + ",".join(values) + "]"


_SAMPLED_16 = _sampled('"', lambda name: f'"unit":"{name}"')
_SAMPLED_201 = _sampled("", lambda name: f'"unitOfMeasure":{{"unit":"{name}"}}')


class Clock:
    """RFC 3339 texts of milliseconds since 1970; one strftime per second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = b""

    def text(self, at_ms: int) -> bytes:
        second, ms = divmod(at_ms, 1000)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%03dZ" % (self._text, ms)


class LoadStation(RawSocket):
    """One station: upgrade, Boot, start, then the messages of the plan."""

    __slots__ = (
        "backlog", "boot_s", "count", "failed", "id", "last_ms", "pending", "phase", "ready",
        "run", "seq_no", "template", "transaction_id", "transaction_key", "url", "zero_ms",
    )  # fmt: skip

    def __init__(self, run: "Run", identity: str, url: str) -> None:
        plan = run.plan
        password = None if plan.password is None else plan.password.replace("{id}", identity)
        subprotocol = None if plan.action == "Echo" else plan.protocol
        super().__init__(upgrade_request(url, identity, subprotocol, password))
        self.run = run
        self.id = identity
        self.url = url
        self.phase = "new"
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.pending: dict[bytes, float] = {}  # id -> time the message was due
        self.backlog: deque[float] = deque()
        self.count = 0
        self.seq_no = 0
        self.last_ms = self.zero_ms = 0
        self.boot_s = 0.0
        self.failed = False
        self.transaction_id = b"0"
        self.transaction_key = f"{run.name}-{identity}"[:36].encode()
        self.template = b""

    def opened(self) -> None:
        self.run.result.connected += 1
        self.zero_ms = self.last_ms = int(time.time() * 1000)
        if self.run.plan.action == "Echo":
            self._prepare()
            self._set_ready(True)
            return
        self._enter("boot", self._boot_text())

    def text(self, payload: bytes) -> None:
        now = time.perf_counter()
        parts = payload.split(b'"', 2)
        if len(parts) < 3:
            return
        due = self.pending.pop(parts[1], None)
        if due is None:
            if parts[0][:2] == b"[2":
                self.run.result.orders += 1
                is_201 = self.run.plan.protocol == "ocpp2.0.1"
                self.send(answer_to_order(payload, is_201=is_201))
            return
        is_error = b"4" in parts[0]
        if self.phase == "run":
            self.run.took(due, now, is_error)
            if self.backlog:
                self.fire(self.backlog.popleft())
            elif self.run.closed_loop:
                self.fire(now)
            return
        self._advance(payload, now - due, is_error)

    def fire(self, due: float) -> None:
        """Send the next message, due at `due` (perf_counter), or queue it behind the others."""
        run = self.run
        if not run.may_send(self):
            return
        if len(self.pending) >= run.plan.in_flight:
            self.backlog.append(due)
            return
        at_ms = int(time.time() * 1000)
        if at_ms <= self.last_ms:
            at_ms = self.last_ms + 1
        self.last_ms = at_ms
        self.count += 1
        message_id = b"%b%d" % (run.tag, self.count)
        self.pending[message_id] = due
        at = run.clock.text(at_ms)
        register_wh = (at_ms - self.zero_ms) * _WH_PER_MS
        if self.seq_no:
            payload = self.template % (message_id, at, self.seq_no, at, register_wh)
            self.seq_no += 1
        elif run.plan.action == "Heartbeat":
            payload = b'[2,"%b","Heartbeat",{}]' % message_id
        else:
            payload = self.template % (message_id, at, register_wh)
        run.sent_one(due)
        self.send(payload)

    def end_transaction(self) -> None:
        """Send the transaction's end; `ready` is renewed and resolves with the answer."""
        self.ready = asyncio.get_running_loop().create_future()
        self.backlog.clear()
        self.pending.clear()
        wh = round((self.last_ms - self.zero_ms) * _WH_PER_MS)
        at = self.run.clock.text(self.last_ms + 1)
        if self.run.plan.protocol == "ocpp1.6":
            body = b'{"transactionId":%b,"meterStop":%d,"timestamp":"%b","reason":"Local"}'
            self._enter("end", b'"StopTransaction",' + body % (self.transaction_id, wh + 1, at))
        else:
            body = (
                b'{"eventType":"Ended","timestamp":"%b","triggerReason":"EVDeparted","seqNo":%d,'
                b'"transactionInfo":{"transactionId":"%b","stoppedReason":"EVDisconnected"},'
                b'"meterValue":[{"timestamp":"%b","sampledValue":[{"value":%d,'
                b'"context":"Transaction.End"}]}]}'
            ) % (at, self.seq_no, self.transaction_key, at, wh + 1)
            self._enter("end", b'"TransactionEvent",' + body)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.run.open += 1
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.run.open -= 1
        if not self.run.open:
            self.run.all_closed.set()

    def closed(self, reason: str) -> None:
        self._set_ready(False)
        self.run.gone(self, reason)

    def _enter(self, phase: str, action_and_payload: bytes) -> None:
        self.phase = phase
        self.count += 1
        message_id = b"%b%d" % (self.run.tag, self.count)
        self.pending[message_id] = time.perf_counter()
        self.send(b'[2,"%b",%b]' % (message_id, action_and_payload))

    def _advance(self, payload: bytes, took_s: float, is_error: bool) -> None:
        """The next step of the set-up, by the answer to the last one."""
        plan = self.run.plan
        if is_error:
            self.run.reasons[f"{self.phase} answered {payload[:120].decode(errors='replace')}"] += 1
            self._set_ready(False)
        elif self.phase == "boot":
            self.boot_s = took_s
            if b'"Accepted"' not in payload:
                self.run.reasons["boot not accepted"] += 1
                self._set_ready(False)
                return
            self.run.result.booted += 1
            if plan.action in ("BootNotification", "Heartbeat"):
                self._set_ready(True)
            else:
                self._enter("start", self._start_text())
        elif self.phase == "start":
            if plan.protocol == "ocpp1.6":
                self.transaction_id = str(json.loads(payload)[2]["transactionId"]).encode()
            self._prepare()
            self._set_ready(True)
        else:
            self._set_ready(True)

    def _set_ready(self, ok: bool) -> None:
        self.failed = not ok
        if ok and self.phase in ("new", "boot", "start"):
            self.phase = "run"
        if not self.ready.done():
            self.ready.set_result(ok)

    def _boot_text(self) -> bytes:
        if self.run.plan.protocol == "ocpp1.6":
            return (
                b'"BootNotification",{"chargePointVendor":"Time2Plug","chargePointModel":"Load",'
                b'"chargePointSerialNumber":"%b","firmwareVersion":"1.0"}'
            ) % self.id[:25].encode()
        return (
            b'"BootNotification",{"reason":"PowerUp","chargingStation":{"vendorName":"Time2Plug",'
            b'"model":"Load","serialNumber":"%b","firmwareVersion":"1.0"}}'
        ) % self.id[:25].encode()

    def _start_text(self) -> bytes:
        at = self.run.clock.text(self.zero_ms)
        badge = self.id[-20:].encode()
        if self.run.plan.protocol == "ocpp1.6":
            return (
                b'"StartTransaction",{"connectorId":1,"idTag":"%b","meterStart":0,"timestamp":"%b"}'
            ) % (badge, at)
        return (
            b'"TransactionEvent",{"eventType":"Started","timestamp":"%b",'
            b'"triggerReason":"Authorized","seqNo":0,'
            b'"transactionInfo":{"transactionId":"%b","chargingState":"Charging"},'
            b'"evse":{"id":1,"connectorId":1},"idToken":{"idToken":"%b","type":"ISO14443"},'
            b'"meterValue":[{"timestamp":"%b","sampledValue":[{"value":0,'
            b'"context":"Transaction.Begin"}]}]}'
        ) % (at, self.transaction_key, badge, at)

    def _prepare(self) -> None:
        """The text of the repeated message with its place holders."""
        if self.run.plan.action == "TransactionEvent":
            self.seq_no = 1  # the next to be sent; Started was 0
            text = (
                '[2,"%b","TransactionEvent",{"eventType":"Updated","timestamp":"%b",'
                '"triggerReason":"MeterValuePeriodic","seqNo":%d,"transactionInfo":'
                f'{{"transactionId":"{self.transaction_key.decode()}","chargingState":"Charging"}},'
                f'"meterValue":[{{"timestamp":"%b","sampledValue":{_SAMPLED_201}}}]}}]'
            )
        else:
            text = (
                f'[2,"%b","MeterValues",{{"connectorId":1,"transactionId":'
                f'{self.transaction_id.decode()},"meterValue":[{{"timestamp":"%b",'
                f'"sampledValue":{_SAMPLED_16}}}]}}]'
            )
        self.template = text.encode()
