"""The benchmarks: each part runs at a tiny size, loses nothing and prints what it is for.

No time is asserted: figures belong to a machine, not to a test.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from csms.db import Database, connect
from simulators.bench import billing_data, main
from simulators.bench.api import checked
from simulators.bench.nodes import Shared, limited_by
from simulators.bench.processes import (
    BenchError,
    Product,
    check_clean,
    directory_for_a_run,
    load,
    plain_server,
)
from simulators.bench.provision import Kept, check_kept
from simulators.bench.web_client import WebClient

pytestmark = pytest.mark.timeout(300)


def run(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """The figures of one run."""
    path = tmp_path / "figures.json"
    assert main([*arguments, "--output", str(path)]) == 0
    figures = json.loads(path.read_text())
    assert figures["machine"]["cores"] >= 1
    assert isinstance(figures, dict)
    return figures


def test_messages_of_three_servers_are_compared_and_every_value_is_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--stations", "4", "--seconds", "0.3", "--rounds", "1")
    figures = run(tmp_path, "messages", *arguments)
    printed = capsys.readouterr().out
    assert printed.count("ratio to plain") == 2
    for one in figures["messages"]:
        assert {name: len(runs) for name, runs in one["rounds"].items()} == {
            "ours": 1,
            "plain": 1,
            "echo": 1,
        }
        assert one["ratio_to_plain"] > 0 and one["ratio_to_echo"] > 0
        counted = sum(run["answered"] for run in one["rounds"]["ours"])
        assert one["kept"]["values"] == 8 * one["kept"]["messages"] >= 8 * counted > 0
        assert one["kept"]["accepted"] == one["kept"]["sessions"] == 4 * 2  # the warm-up too


def test_the_open_loop_runs_at_half_of_the_maximum_under_both_settings_of_the_collector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run(tmp_path, "open", "--stations", "5", "--seconds", "1")["open"]
    assert "p99.9 ms" in capsys.readouterr().out
    as_set, usual = figures["paced"]
    assert as_set["rate_per_s"] == usual["rate_per_s"] == figures["maximum"]["rate_per_s"] / 2
    for one in (as_set, usual):
        assert 0 < one["p50_ms"] <= one["p99_ms"] <= one["p999_ms"] <= one["max_ms"]


def test_in_a_storm_all_are_accepted_with_and_without_passwords(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run(tmp_path, "storm", "--stations", "30")["storm"]
    assert "memory per station" in capsys.readouterr().out
    assert [one["security_profile"] for one in figures["storms"]] == [0, 1]
    assert [one["accepted"] for one in figures["storms"]] == [30, 30]
    assert all(one["gateway_cpu_s"] > 0 for one in figures["storms"])


def test_the_server_comes_back_after_every_kind_of_kill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run(tmp_path, "boot", "--rounds", "1", "--seconds", "0.5")["boot"]
    assert "both killed" in capsys.readouterr().out
    assert set(figures["median_s"]) == {"cold", "warm", "gateway", "database", "both"}


async def test_the_echo_sends_back_what_it_gets() -> None:
    async with plain_server(echo=True) as server:
        options = ("--messages", "40")
        async with load(server.url, "Echo", 2, *options) as generator:
            figures = await generator.go()
    check_clean(figures)
    assert figures["answered"] == 40


def test_a_run_that_lost_something_is_no_measurement() -> None:
    check_kept(Kept(800, 100, 5, 5, 5), answered=100, sessions=5)
    for kept in (
        Kept(799, 100, 5, 5, 5),  # a value
        Kept(800, 101, 5, 5, 5),  # a message twice
        Kept(800, 100, 5, 4, 5),  # a badge that was refused
        Kept(800, 100, 5, 5, 4),  # a stop
    ):
        with pytest.raises(BenchError):
            check_kept(kept, answered=100, sessions=5)


def test_an_unclean_run_is_no_measurement() -> None:
    clean = {"stations": 2, "connected": 2, "action": "Heartbeat", "reasons": {}}
    clean |= dict.fromkeys(("errors", "unanswered", "closed", "refused"), 0)
    check_clean(clean)
    for wrong in ({"connected": 1}, {"closed": 1}, {"unanswered": 3}, {"reasons": {"late": 1}}):
        with pytest.raises(BenchError):
            check_clean(clean | wrong)


def test_help_names_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for part in (
        "messages",
        "open",
        "storm",
        "boot",
        "nodes",
        "api",
        "billing",
        "payments",
        "collection",
    ):
        assert part in printed


def test_several_gateways_share_one_database_and_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run(tmp_path, "nodes", "--stations", "8", "--seconds", "0.5")["nodes"]
    printed = capsys.readouterr().out
    assert printed.count("limited by") == 3
    assert "idle stations on 2 gateways" in printed
    assert [one["nodes"] for one in figures["throughput"]] == [1, 2, 4]
    assert all(one["answered"] > 0 for one in figures["throughput"])
    assert figures["idle"]["stations"] == 8
    orders = figures["idle"]["orders"]
    assert 0 < orders["p50_ms"] <= orders["p99_ms"]


def test_the_api_is_asked_by_everybody_and_the_slowest_operation_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ("--stations", "30", "--sessions", "1500", "--seconds", "0.02", "--rounds", "1")
    figures = run(tmp_path, "api", *sizes)["api"]
    printed = capsys.readouterr().out
    assert "row-level security" in printed
    assert figures["held"]["stations"] == 30
    assert figures["held"]["sessions"] == 1500
    assert figures["held"]["meter_values"] == 30 * 16 * 8  # of the newest fiftieth
    p95s = [one["p95_ms"] for one in figures["operations"]]
    assert p95s == sorted(p95s, reverse=True)
    for one in figures["operations"]:
        assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"]
    asked = {(one["operation"], one["caller"]): one["rows"] for one in figures["operations"]}
    assert {caller for _, caller in asked} >= {"operator", "manager", "syndic", "quiet manager"}
    assert asked["stations", "operator"] == 30
    assert 0 < asked["stations", "manager"] < asked["stations", "syndic"] < 30
    assert 0 < asked["sessions", "quiet manager"] <= asked["sessions", "operator"] == 100
    assert asked["sessions of a site", "manager"] == asked["sessions of a site", "operator"]
    assert figures["row_security"]["a session"]["p50"] > 0


def test_a_month_is_priced_invoiced_and_closed_and_no_session_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (figures,) = run(tmp_path, "billing", "--sessions", "300")["billing"]
    assert "sessions/s" in capsys.readouterr().out
    assert figures["held"]["sessions"] == figures["made"]["priced"] == 300
    assert figures["held"]["meter_readings"] > 0
    assert figures["made"]["statements"] == figures["held"]["clients"] == 3
    assert figures["made"]["documents"] >= figures["held"]["drivers"]
    stages = [stage["name"] for stage in figures["stages"]]
    assert stages == ["price", "issue", "close", "check"]
    assert all(0 < stage["memory_bytes"] < 2**30 for stage in figures["stages"])


def test_clients_are_paid_settled_and_the_books_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (figures,) = run(tmp_path, "payments", "--clients", "6")["payments"]
    assert "transactions/client" in capsys.readouterr().out
    assert figures["paid"]["clients"] == figures["clients"] == 6
    assert figures["paid"]["amount_cents"] > 0
    stages = [stage["name"] for stage in figures["stages"]]
    assert stages == ["price", "issue", "import-receipts", "close", "pay", "settle", "check"]


def test_a_month_s_sessions_are_written_as_each_kind_of_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run(tmp_path, "collection", "--sessions", "60")["collection"]
    assert "file MB" in capsys.readouterr().out
    assert list(figures["bytes"]) == ["csv", "json", "xlsx"]
    assert all(figures["bytes"].values())
    assert all(0 < stage["memory_bytes"] < 2**30 for stage in figures["stages"])


async def test_a_month_with_a_session_left_out_is_no_measurement(database: Database) -> None:
    async with await connect(database, owner=True) as connection:
        held = await billing_data.fill(connection, 30, "2026-10", lambda what: None)
        assert held["sessions"] == 30
        left = await billing_data.what_is_left(connection, 30)
    assert left == ["30 sessions without a price", "3 clients without a statement"]


async def test_an_answer_that_is_a_problem_is_no_measurement() -> None:
    async with directory_for_a_run() as directory:
        server = Product(directory, part="web")
        try:
            await server.start()
            async with WebClient(server.http_port, "t2p_nobody") as client:
                refused = await client.get("/api/v1/stations")
                assert refused.status == 401
                with pytest.raises(BenchError, match="401"):
                    checked("/api/v1/stations", refused)
        finally:
            await server.stop()


@pytest.mark.parametrize(
    ("gateways", "busiest", "database", "load_", "words"),
    [
        (1.0, 0.5, 0.6, 0.3, "the 2 cores"),
        (0.5, 0.3, 0.2, 0.95, "the load generator"),
        (0.95, 0.95, 0.3, 0.3, "a gateway's one core"),
        (0.5, 0.5, 0.2, 0.2, "waiting"),
    ],
)
def test_what_limits_is_told_by_where_the_cpu_went(
    gateways: float, busiest: float, database: float, load_: float, words: str
) -> None:
    one = Shared(
        nodes=1,
        stations=8,
        answered=1,
        rate_per_s=1.0,
        per_gateway_cpu_s=1.0,
        gateways_cores=gateways,
        busiest_gateway_cores=busiest,
        database_cores=database,
        database_us=1.0,
        load_cores=load_,
        others_cores=0.0,
        stolen_cores=0.0,
        p50_ms=1.0,
        p99_ms=1.0,
    )
    assert limited_by(one, 2).startswith(words)
