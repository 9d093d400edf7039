"""Prometheus metrics of this process, in one place so that names and labels agree."""

from collections import Counter as Counts
from collections.abc import Iterator
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

_messages: Final[Counts[tuple[str, str, str]]] = Counts()


def count_message(direction: str, action: str | None, result: str) -> None:
    """Count a frame: direction in or out, its action, and answered, refused, repeated, ...

    A plain count: on the path of every frame a labelled counter with its lock costs too much.
    """
    _messages[direction, action or "", result] += 1


class _Messages(Collector):
    """Shows the counts as a metric."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "t2p_messages",
            "Frames by direction, action and result",
            labels=("direction", "action", "result"),
        )
        for labels, count in sorted(_messages.items()):
            family.add_metric(labels, count)
        yield family


REGISTRY.register(_Messages())

STATIONS_CONNECTED: Final = Gauge("t2p_stations_connected", "Stations connected to this node")
GROUP_COMMIT: Final = Histogram(
    "t2p_group_commit_seconds",
    "Time to write and commit one group of exchanges",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
GROUP_SIZE: Final = Histogram(
    "t2p_group_exchanges",
    "Exchanges in one commit",
    buckets=(1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500),
)
ANSWER_LATENCY: Final = Histogram(
    "t2p_answer_seconds",
    "From the receipt of a frame to its commit (one per group: its oldest frame)",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
UNANSWERED: Final = Gauge("t2p_frames_unanswered", "Frames received and not yet committed")
SESSIONS_OPEN: Final = Gauge("t2p_sessions_open", "Open sessions of the stations in memory")
DATABASE_UP: Final = Gauge("t2p_database_up", "1 while the recorder can commit")
COMMIT_FAILURES: Final = Counter(
    "t2p_group_commit_failures_total", "Groups that failed to commit", ["kind"]
)
DEVIATIONS: Final = Counter(
    "t2p_deviations_total", "Departures of stations from the specification", ["kind"]
)
DESK: Final = Counter(
    "t2p_reconciliation_total", "Frames put on the reconciliation desk", ["reason"]
)
CERTIFICATE_DAYS_LEFT: Final = Gauge(
    "t2p_certificate_days_left", "Days to the end of the first certificate, ours or a station's"
)
CERTIFICATE_DAYS_LEFT.set(float("nan"))  # none is known: not the same as none left
MQTT_CONNECTED: Final = Gauge("t2p_mqtt_connected", "1 while the MQTT broker takes messages")
MQTT_PUBLISHED: Final = Counter("t2p_mqtt_published_total", "Messages given to the MQTT broker")
MQTT_DROPPED: Final = Counter(
    "t2p_mqtt_dropped_total", "Messages that the MQTT broker was too late for"
)
DATA_REQUESTS: Final = Gauge(
    "t2p_data_requests",
    "Open requests about personal data: all, those whose last day is near, those that are late",
    ["days"],
)
ORDERS: Final = Counter("t2p_orders_total", "Orders sent to stations by outcome", ["outcome"])
HANDSHAKES: Final = Counter("t2p_handshakes_total", "Connection attempts by outcome", ["outcome"])
NOTIFICATIONS_WAITING: Final = Gauge(
    "t2p_notifications_waiting",
    "Deliveries that wait to be sent, of the whole database",
    ["channel"],
)
NOTIFICATIONS_OLDEST: Final = Gauge(
    "t2p_notifications_oldest_seconds", "Age of the delivery that has waited longest", ["channel"]
)
NOTIFICATIONS_DEAD: Final = Gauge(
    "t2p_notifications_dead", "Dead letters, of the whole database", ["channel"]
)
NOTIFICATIONS: Final = Counter(
    "t2p_notification_attempts_total", "Attempts to deliver by outcome", ["channel", "outcome"]
)
MAIL_SERVER: Final = Gauge(
    "t2p_mail_server_up", "1 while a mail server is set and takes mails; 0: mails wait"
)
OUTLET_BACKLOG: Final = Gauge(
    "t2p_outlet_waiting", "Items that wait to be delivered, of the whole database", ["outlet"]
)
OUTLET_LAG: Final = Gauge(
    "t2p_outlet_lag_seconds", "Age of the item that has waited longest", ["outlet"]
)
OUTLET_DEAD: Final = Gauge("t2p_outlet_dead", "Dead letters, of the whole database", ["outlet"])
OUTLET_UP: Final = Gauge("t2p_outlet_up", "1 while the last request to the peer went", ["outlet"])
OUTLET_OUTCOMES: Final = Counter(
    "t2p_outlet_outcomes_total",
    "Ends of items (sent, dead, dropped), and requests that failed",
    ["outlet", "outcome"],
)
