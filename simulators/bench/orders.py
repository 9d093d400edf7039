"""How long an order takes from the API to a station at one of the gateways, and back."""

import json
from typing import Any

from simulators.bench.cluster import Cluster
from simulators.bench.processes import BenchError
from simulators.bench.provision import identities
from simulators.bench.web_client import WebClient

ORDERS = 200  # one after the other
_ACTION = "ClearCache"
_WAIT_S = 30


async def _order(api: WebClient, station_id: str) -> float:
    """Give one order and wait for the station's answer; the seconds it took.

    Raises: BenchError when it was not accepted.
    """
    body = json.dumps({"action": _ACTION, "payload": {}, "wait_s": _WAIT_S}).encode()
    answer = await api.request("POST", f"/api/v1/stations/{station_id}/commands", body)
    if answer.status != 200 or json.loads(answer.body).get("status") != "accepted":
        raise BenchError(f"an order to {station_id} came back as {answer.status}: {answer.body!r}")
    return answer.taken_s


async def round_trips(servers: Cluster, prefix: str, stations: int) -> dict[str, Any]:
    """Orders given to the web part, to stations of all gateways in turn.

    Raises: BenchError.
    """
    assert servers.web is not None
    ids = identities(prefix, stations)
    async with WebClient(servers.web.http_port, await servers.operator_key()) as api:
        for station_id in ids[: len(servers.gateways)]:
            await _order(api, station_id)  # the first one waits for what is set up once
        taken_s = sorted([await _order(api, ids[n % stations]) for n in range(ORDERS)])
    return {
        "orders": ORDERS,
        "p50_ms": taken_s[ORDERS // 2] * 1000,
        "p99_ms": taken_s[ORDERS * 99 // 100] * 1000,
    }
