"""What a load generator is to do, and what it found."""

from dataclasses import dataclass, field
from ssl import SSLContext

ACTIONS = ("MeterValues", "TransactionEvent", "Heartbeat", "BootNotification", "Echo")
PROTOCOLS = ("ocpp1.6", "ocpp2.0.1")


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """What to send. `rate_per_s` None: closed loop; `messages` None: until `duration_s`.

    action: BootNotification only connects and boots (a boot storm, or idle stations); Echo sends
    MeterValues texts to a server that returns each frame as it is.
    password: sent by HTTP basic authentication; `{id}` in it stands for the station's identity.
    url: of one gateway or, with commas between, of several, over which stations are dealt in turn.
    """

    url: str
    stations: int = 100
    action: str = "MeterValues"
    protocol: str = "ocpp1.6"
    duration_s: float = 10.0
    messages: int | None = None
    rate_per_s: float | None = None
    in_flight: int = 1
    warm_up_s: float = 0.0
    prefix: str = "LOAD"
    password: str | None = None
    connects_at_once: int = 0  # 0: all
    setup_timeout_s: float = 120.0
    finish: bool = False  # end the transactions afterwards
    ssl: SSLContext | None = None

    @property
    def urls(self) -> list[str]:
        """All gateways, at least one."""
        return [url.strip() for url in self.url.split(",") if url.strip()] or [self.url]


@dataclass
class LoadResult:
    """Figures of one run; latencies in ms. `sent` and `answered` leave the warm-up out."""

    stations: int
    action: str
    protocol: str
    connected: int = 0
    booted: int = 0
    setup_s: float = 0.0
    boot_p50_ms: float | None = None
    boot_p99_ms: float | None = None
    sent: int = 0
    answered: int = 0
    orders: int = 0  # calls of the central system, all answered
    seconds: float = 0.0
    rate_per_s: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None
    errors: int = 0
    unanswered: int = 0
    closed: int = 0
    refused: int = 0
    cpu_s: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)


def check(plan: LoadPlan) -> None:
    """Raises: ValueError, saying what is wrong with the plan."""
    if plan.action not in ACTIONS:
        raise ValueError(f"action {plan.action!r} is none of {', '.join(ACTIONS)}")
    if plan.protocol not in PROTOCOLS:
        raise ValueError(f"protocol {plan.protocol!r} is none of {', '.join(PROTOCOLS)}")
    needed = {"MeterValues": "ocpp1.6", "TransactionEvent": "ocpp2.0.1"}.get(plan.action)
    if needed is not None and plan.protocol != needed:
        raise ValueError(f"{plan.action} is sent by {needed} stations only")
    if plan.stations < 1 or plan.in_flight < 1:
        raise ValueError("at least one station and one message in flight")
    if plan.rate_per_s is not None and plan.rate_per_s <= 0:
        raise ValueError("the rate must be above zero")
