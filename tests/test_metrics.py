"""Metrics: what an operator can see of a process from outside."""

from prometheus_client import REGISTRY, generate_latest

from csms import metrics
from csms.config import Settings
from csms.db import Database
from tests.recorder_node import as_owner, provision, reading, running_node, until


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_messages_are_counted_by_direction_action_and_result() -> None:
    before = value("t2p_messages_total", direction="in", action="Boot", result="answered")
    for _ in range(3):
        metrics.count_message("in", "Boot", "answered")
    metrics.count_message("in", None, "unreadable")
    after = value("t2p_messages_total", direction="in", action="Boot", result="answered")
    assert after - before == 3
    assert value("t2p_messages_total", direction="in", action="", result="unreadable") >= 1


def test_names_say_their_product_and_their_unit() -> None:
    ours = [family for family in REGISTRY.collect() if family.name.startswith("t2p_")]
    assert {family.name for family in ours} >= {
        "t2p_messages",
        "t2p_stations_connected",
        "t2p_group_commit_seconds",
        "t2p_answer_seconds",
        "t2p_frames_unanswered",
        "t2p_sessions_open",
        "t2p_database_up",
        "t2p_deviations",
        "t2p_reconciliation",
        "t2p_handshakes",
    }
    assert all(family.documentation for family in ours)


async def test_the_work_of_a_recorder_shows(database: Database, settings: Settings) -> None:
    await provision(database, ["CP1"], ["A"])

    def shown() -> dict[str, float]:
        return {
            "answered": value(
                "t2p_messages_total", direction="in", action="MeterValues", result="answered"
            ),
            "repeated": value(
                "t2p_messages_total", direction="in", action="MeterValues", result="repeated"
            ),
            "refused": value(
                "t2p_messages_total", direction="in", action="MeterValues", result="refused"
            ),
            "commits": value("t2p_group_commit_seconds_count"),
            "exchanges": value("t2p_group_exchanges_sum"),
            "desk": value("t2p_reconciliation_total", reason="payload_refused"),
            "deviations": value("t2p_deviations_total", kind="payload_refused"),
        }

    before = shown()
    async with running_node(database, settings) as node:
        assert value("t2p_database_up") == 1
        station = await node.station("CP1")
        values = reading(5)
        await station.call("MeterValues", values, message_id="m")
        await station.call("MeterValues", values, message_id="m")
        refused = await station.send("MeterValues", {"connectorId": 1})
        assert refused[0] == 4
        assert value("t2p_frames_unanswered") == 0
    after = shown()
    changes = {name: after[name] - before[name] for name in before}
    assert changes.pop("commits") >= 3
    assert changes == {
        "answered": 1,
        "repeated": 1,
        "refused": 1,
        "exchanges": 3,
        "desk": 1,
        "deviations": 1,
    }


async def test_a_commit_that_fails_shows_by_its_kind(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    before = value("t2p_group_commit_failures_total", kind="refused")
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        await station.call("Heartbeat", {})
        await as_owner(database, "ALTER TABLE session ADD CONSTRAINT poison CHECK (id IS NULL)")
        answer = await station.send(
            "StartTransaction",
            {"connectorId": 1, "idTag": "A", "meterStart": 5, "timestamp": "2026-01-01T00:00:00Z"},
        )
        assert answer[0] == 4
        await until(database, "SELECT 1 FROM reconciliation")
    assert value("t2p_group_commit_failures_total", kind="refused") == before + 1


def test_the_page_for_prometheus_can_be_written() -> None:
    text = generate_latest().decode()
    assert "# TYPE t2p_messages_total counter" in text
    assert "# TYPE t2p_answer_seconds histogram" in text
