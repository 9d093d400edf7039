"""Settings of one process, read once, frozen.

Sources, later ones win: the defaults below, `time2plug.toml` in the working directory (or the file
that T2P_CONFIG names), environment variables `T2P_<FIELD IN CAPITALS>`. Every limit of the product
stands here with its unit at the end of its name; None means "none" or "not set", as said beside it.
"""

import ipaddress
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

PREFIX = "T2P_"
CONFIG_FILE = "time2plug.toml"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
PORT_MAX = 65_535
SAFE_ADDRESSES = ("https://", "http://127.0.0.1:", "http://localhost:")  # for what has a secret
REMINDERS_MAX = 9  # for one invoice


class SettingError(ValueError):
    """A setting that cannot be used: says which one, what it held, what it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Paths are relative to the working directory."""

    # Where things are.
    database_url: str | None = None  # None: embedded PostgreSQL in data_dir
    database_owner_url: str | None = None  # role that migrates; None: database_url
    data_dir: Path = Path("data")
    mqtt_url: str | None = None
    host: str = "127.0.0.1"
    ocpp_port: int = 9000
    ocpps_port: int = 9443  # TLS, open only when a certificate is set
    http_port: int = 8080
    node: str = "node-1"  # unique among processes that share a database
    tls_cert: tuple[Path, ...] = ()
    tls_key: tuple[Path, ...] = ()
    tls_ca: Path | None = None

    # Stations: who may connect, and how.
    unknown_stations: str = "refuse"  # refuse | pending: create them on hold
    default_protocol: str | None = None  # for a station that names no subprotocol; None: sniff
    password_length_min: int = 8
    heartbeat_interval_s: int = 300
    pending_interval_s: int = 30  # interval in the Boot answer to a station on hold
    ping_interval_s: float = 60.0  # 0: no pings
    ping_timeout_s: float = 30.0
    silence_timeout_s: float = 900.0  # no frame at all for so long, pings unanswered: cut
    handshake_timeout_s: float = 30.0

    # Orders to stations.
    call_timeout_s: float = 30.0  # a station's answer to our call
    boot_patience_s: float = 30.0  # a station that connects and does not boot: then as said next
    orders_without_boot: str = "send"  # send | wait: until it boots
    command_poll_s: float = 5.0  # the net under the wake-ups
    command_expires_in_max_s: float = 30 * 86_400.0
    own_order_expires_in_s: float = 3_600.0  # what we order on our own account
    command_queue_commands_max: int = 200  # waiting for one station
    charging_profile_periods_max: int = 24  # of a profile of ours: limits that begin and end
    command_reports_timeout_s: float = 3_600.0  # an answer in several messages must be whole
    drain_s: float = 0.0  # a node that stops spreads its goodbyes over so long
    drain_timeout_s: float = 5.0  # a node that stops waits so long for answers to its calls
    node_dead_after_s: float = 30.0  # a node silent for so long holds no station any more

    # Keys the database must not hold: see csms/secrets.py.
    secret_key: str | None = field(default=None, repr=False)  # None: data_dir/secret.key

    # People: how they log in (csms/logins.py), and what keeps others from it (csms/throttle.py).
    public_url: str | None = (
        None  # as people reach us, for links in mails and on stickers; None: host and port
    )
    trusted_proxies: str | None = None  # networks with commas: their X-Forwarded-... are believed
    account_password_length_min: int = 12
    access_token_s: float = 900.0
    refresh_token_s: float = 30 * 86_400.0
    refresh_grace_s: float = 10.0  # a former refresh token works once more: the answer was lost
    page_login_s: float = 12 * 3_600.0
    page_idle_s: float = 1_800.0  # a browser that asks for nothing for so long is logged out
    login_code_s: float = 300.0  # between the password and the code
    invitation_s: float = 7 * 86_400.0
    reset_link_s: float = 3_600.0
    email_link_s: float = 86_400.0
    trusted_device_s: float = 180 * 86_400.0
    account_failures_max: int = 5  # on an account from one place; then it waits, longer each time
    source_failures_max: int = 30  # from one place on any account; then likewise
    attacked_failures_max: int = 50  # on an account from everywhere; then strange places have one
    code_failures_max: int = 5  # of an account's second factor, after the right password
    failure_wait_s: float = 1.0  # the first wait; each is twice the one before
    failure_wait_max_s: float = 900.0
    failures_kept_s: float = 86_400.0
    reset_mails_max: int = 3  # to one account in reset_link_s
    login_queue_waiting_max: int = 50  # log-ins that wait for argon2: more are told to come later
    links_kept_days: int = 30  # after their end
    logins_kept_days: int = 180  # after their end

    # Security: TLS, certificates of stations, changes of password.
    tls_rsa_key_exchange: bool = False  # also without forward secrecy, for stations with no other
    station_ca_cert: Path | None = None  # our own CA, which signs requests of stations
    station_ca_key: Path | None = None
    station_ca_passphrase: str | None = field(default=None, repr=False)
    station_ca_url: str | None = None  # somebody else's CA instead: see csms/certificates.py
    station_ca_token: str | None = field(default=None, repr=False)  # Bearer, for that
    station_ca_trust: Path | None = None  # who vouches for that server; None: the usual ones
    station_ca_timeout_s: float = 10.0
    certificate_signing: str = "manual"  # manual: a person approves; automatic: nobody is asked
    certificate_organization: str | None = None  # O that stations' certificates must have
    certificate_validity_days: int = 365
    certificate_warning_days: int = 30  # before the end; then stations are asked to renew
    certificates_per_day_max: int = 5  # signed for one station without a person
    csr_length_max: int = 5_500

    # What somebody outside has to answer: see csms/wire/outside.py.
    outside_timeout_s: float = 10.0
    outside_questions_max: int = 100  # under way at once: more are answered "no"
    outside_trust: Path | None = None  # CAs beside the usual ones, for HTTPS
    ocsp_hosts: str | None = None  # with commas; None: any with a public address
    ocsp_trust: Path | None = None  # CAs that vouch for responders; None: not checked
    ocsp_cache_s: float = 3_600.0  # at most, and never beyond what the responder says
    contract_pool_url: str | None = None
    contract_pool_token: str | None = field(default=None, repr=False)

    # Notifications: see csms/notifications.
    smtp_host: str | None = None  # None: mails wait
    smtp_port: int = 587
    smtp_security: str = "starttls"  # starttls | tls | none
    smtp_user: str | None = None
    smtp_password: str | None = field(default=None, repr=False)
    smtp_trust: Path | None = None  # CAs beside the usual ones
    smtp_timeout_s: float = 30.0  # for each answer of the mail server
    mail_from: str | None = None  # address of the sender; needed with smtp_host
    mail_from_name: str = "Time2Plug"
    notification_operator_address: str | None = None  # None: operators are sent none
    notification_operator_language: str = "fr"
    notification_poll_s: float = 5.0
    notification_attempt_s: float = 120.0  # one attempt at most
    notification_lease_s: float = 900.0  # afterwards another worker takes it up
    notification_back_off_s: float = 30.0  # before the second attempt; then twice as long each time
    notification_back_off_longest_s: float = 3_600.0
    notification_give_up_s: float = 86_400.0  # after so long it is a dead letter
    notification_age_max_s: float = 86_400.0  # what happened before is told to nobody any more
    notification_days: int = 184  # what was sent stays on record so long; contracts' for ever
    station_offline_after_s: float = 900.0  # away for so long: told
    station_back_after_s: float = 300.0  # back, or repaired, for so long: told
    station_fault_after_s: float = 120.0  # out of order for so long: told
    webhook_hosts: str | None = None  # with commas; these may be private, and plain HTTP
    webhook_timeout_s: float = 10.0
    webhooks_per_client_entries_max: int = 20

    # Who the operator is, as invoices name it; none is issued while one that they need is missing.
    operator_name: str | None = None
    operator_legal_form: str | None = None  # with the capital: "SAS au capital de 60 000 €"
    operator_siren: str | None = None
    operator_vat_number: str | None = None
    operator_register: str | None = None  # "RCS Paris 912 044 948"
    operator_street: str | None = None
    operator_postal_code: str | None = None
    operator_city: str | None = None
    operator_email: str | None = None
    invoice_due_days: int = 30  # drivers pay so long after the issue (Code de commerce L.441-10)
    own_invoice_due_days: int = 8  # clients pay the operator's (contract, article 7)
    supply_refund_days: int = 30  # what co-owners get back is paid so long after it is credited
    supply_difference_percent: int = 5  # of a supply meter to its points: above it, it is flagged
    billing_simulated: bool = False  # of a demonstration: every document says so
    # Payment provider; without a key there is none, and cards are refused (billing/providers).
    stripe_key: str | None = field(default=None, repr=False)
    stripe_webhook_secret: str | None = field(default=None, repr=False)
    stripe_live: bool = False  # a live key is refused without it
    stripe_url: str = "https://api.stripe.com"
    provider_timeout_s: float = 20.0  # of one call; then nobody knows what came of it
    provider_failures_max: int = 2  # of one call, tried again under the same idempotency key
    provider_ask_after_s: float = 60.0  # a payment whose end is unknown is asked about so often
    operator_mandate_iban: str | None = None  # account of third parties' money, kept apart
    operator_mandate_bic: str | None = None
    operator_own_iban: str | None = None
    operator_own_bic: str | None = None
    operator_creditor_identifier: str | None = None  # for direct debits (ICS)
    payout_lead_days: int = 1  # TARGET days between the bank's receipt of a file and its execution
    debit_lead_days: int = 2
    reminder_days: tuple[int, ...] = (7, 21, 35)  # past due, of each reminder
    reminder_pause_days: int = 7  # between two letters about an invoice, at least
    reminder_min_cents: int = 100  # less than this is not asked for again
    blocking_notice_days: int = 8  # from the notice to the block, on a working day
    platform_drop_dir: Path | None = None  # for an approved platform; None: nothing is laid down

    # What leaves for other systems: see reporting/outlet.py.
    outlet_poll_s: float = 30.0
    outlet_lease_s: float = 900.0  # afterwards another worker takes it up
    outlet_back_off_s: float = 10.0  # after the first failure; then twice as long each time
    outlet_back_off_longest_s: float = 3_600.0  # of one item
    outlet_pause_longest_s: float = 300.0  # of a peer that is away
    outlet_give_up_s: float = 30 * 86_400.0  # after so long it is a dead letter
    # data.gouv.fr; off without key, organisation, dataset and resource (reporting/datagouv.py).
    datagouv_url: str = "https://www.data.gouv.fr/api/1"
    datagouv_key: str | None = field(default=None, repr=False)  # of a member's account
    datagouv_organization: str | None = None  # identifiers, as the pages of the platform show them
    datagouv_dataset: str | None = None
    datagouv_static_resource: str | None = None  # a file that is hosted there
    datagouv_dynamic_resource: str | None = None  # a link, which leads to us; None: there is none
    datagouv_schema_version: str = "2.3.1"  # as schema.data.gouv.fr lists it
    datagouv_timeout_s: float = 60.0
    datagouv_period_s: float = 900.0  # between two looks whether the file has changed
    # QualiCharge; off without address, user and password.
    qualicharge_url: str | None = None  # https://.../api/v1
    qualicharge_user: str | None = None
    qualicharge_password: str | None = field(default=None, repr=False)
    qualicharge_user_agent: str = "Time2Plug"  # the company's name, which production requires
    qualicharge_timeout_s: float = 30.0
    qualicharge_token_s: float = 1_500.0  # a token is used so long; it lives 30 minutes
    qualicharge_static_entries_max: int = 10  # in one request
    qualicharge_status_entries_max: int = 10
    qualicharge_session_entries_max: int = 10
    qualicharge_static_period_s: float = 300.0  # between two looks at what changed of points
    qualicharge_static_gap_s: float = 6.0  # between two requests: 10 a minute
    qualicharge_point_gap_s: float = 1.0  # between two requests for one point: 1 a second
    qualicharge_status_gap_s: float = 2.0
    qualicharge_session_gap_s: float = 6.0
    qualicharge_verify_after_s: float = 60.0  # what is written after the answer is looked for then
    qualicharge_patience_s: float = 900.0  # and taken to be lost after so long
    qualicharge_refresh_s: float = 12 * 3_600.0  # a status that does not change is told so often
    qualicharge_session_days: int = 15  # sessions that ended before are not begun with
    # Roaming over OCPI 2.2.1; off without a party (reporting/ocpi).
    ocpi_country_code: str = "FR"
    ocpi_party_id: str | None = None  # three letters of the AFIREV prefix: T2P of FRT2P
    ocpi_hosts: str | None = None  # with commas; these may be private, and plain HTTP
    ocpi_timeout_s: float = 30.0  # of one request to a partner
    ocpi_poll_s: float = 2.0  # between two looks at what partners are to be told
    ocpi_places_period_s: float = 60.0  # of places and tariffs; statuses at every look
    ocpi_session_days: int = 8  # sessions that began before, and were not told, are not begun with
    # Country, party, uid and contract that stand for all drivers of the ADVENIR feed (GIREVE)
    ocpi_advenir_driver: str = "$$ ADV 12345671234567 Gireve2Advenir"
    ocpi_authorize_timeout_s: float = 8.0  # of all partners, while a station waits
    ocpi_whitelist: bool = True  # what partners say of their tokens counts while they are away
    ocpi_grant_s: float = 900.0  # a token that was allowed may begin to charge so long
    ocpi_refresh_s: float = 30.0  # partners and their sites are looked up so often
    ocpi_page_entries_max: int = 100  # objects in a page of a list
    ocpi_cdr_page_entries_max: int = 20
    ocpi_session_update_s: float = 300.0  # a session that goes on is told so often at most
    ocpi_command_timeout_s: float = 60.0  # a partner's order that no station took by then is off

    # Limits on what one peer may do.
    frame_bytes_max: int = 512 * 1024
    frames_per_s_max: float = 200.0  # per station, sustained
    frames_burst_max: int = 2_000  # per station: an offline queue arrives at once
    unanswered_frames_max: int = 64  # per station: then reading pauses
    unanswered_frames_total_max: int = 50_000  # whole gateway: then every reading pauses
    handshakes_waiting_max: int = 10_000
    handshakes_per_s_max: float = 1_000.0  # of this node, sustained: more are told when to come
    handshakes_burst_max: int = 10_000  # of this node: all its stations may come back at once
    remembered_answers: int = 8  # per station, answered again to the same message id
    refused_connections_max: int = 10_000  # rows of the list "seen, refused"
    http_body_bytes_max: int = 8 * 1024 * 1024

    # Committing in groups.
    group_window_ms: float = 5.0
    group_events_max: int = 1_000
    group_window_loaded_ms: float = 15.0  # with more than group_loaded_stations connected
    group_loaded_stations: int = 1_000
    database_retry_s: float = 0.5
    commit_timeout_s: float = 30.0

    # Drivers: starts from afar, live sessions, reservations.
    start_answer_timeout_s: float = 30.0  # a station's answer; not sent by then, it never is
    start_session_wait_s: float = 10.0  # and the session, before the driver is told to follow it
    start_session_timeout_s: float = 150.0  # accepted, and no session by then: it was ignored
    live_period_s: float = 1.5  # between looks at the sessions that somebody follows
    live_refresh_s: float = 10.0  # told anew though nothing changed, but the time
    live_heartbeat_s: float = 15.0  # something is written at least so often
    live_stream_max_s: float = 900.0  # then the follower comes back, and is checked again
    live_streams_max: int = 2_000  # of this process
    live_person_streams_max: int = 4  # of this process
    live_price_poll_s: float = 5.0  # between looks whether a tariff was changed
    live_price_reload_s: float = 60.0  # all that prices depend on is read anew
    live_price_rows_max: int = 100_000  # of each list; clients beyond have no price so far
    live_price_readings_max: int = 500_000  # that a gateway keeps of running sessions
    live_price_session_readings_max: int = 2_000  # beyond them a session has no price so far
    public_reservations_max: int = 1  # open ones of a driver, where no group says more
    public_reservation_minutes_max: int = 60
    reservation_ahead_max_days: int = 14
    reservation_warning_s: float = 600.0  # so long before it is given up, its driver is told
    reservation_grace_s: float = 1_800.0  # not there so long after its begin: given up; 0: never
    support_phone: str | None = None  # on stickers and on the pages of points
    points_radius_m_max: int = 200_000
    sticker_points_max: int = 1_000  # on one PDF

    # MQTT: what may be lost.
    telemetry_queue_events_max: int = 10_000  # waiting for the broker; the oldest are dropped
    telemetry_live_s: float = 5.0  # live values of an EVSE, the newest of so long

    # National files of public points: see reporting/irve.
    afirev_prefixes: tuple[str, ...] = ()  # ours, like FRT2P; none: not compared
    irve_published: bool = False  # whether anybody may fetch them under /irve
    irve_static_cache_s: float = 60.0  # the law gives a day, and a minute to the dynamic file
    irve_dynamic_cache_s: float = 15.0
    irve_points_max: int = 100_000  # of one file
    irve_file_bytes_max: int = 200_000_000  # of a file to check; the national one has 100 MB

    # Reports of availability and consumption.
    report_points_max: int = 20_000  # of one report
    report_sessions_total: int = 1_000_000  # sessions of one report of consumption

    # What is believed of a station.
    clock_skew_max_s: float = 600.0  # beyond it the time of receipt is used, and flagged
    offline_age_max_days: int = 730  # a queued event older than that has a wrong clock
    power_w_max: int = 400_000  # bound of plausibility where the connector states none
    lost_stop_after_s: float = 1_800.0  # EVSE free for so long and no stop: the session is lost
    lost_station_after_s: float = 30 * 86_400.0  # station silent for so long: its sessions are lost
    local_list_entries_max: int = 1_000  # badges in a station's local list; 0: none is sent
    local_list_update_entries_max: int = 100  # badges in one message of it
    token_concurrent_max: int = 1  # open sessions per badge; 0: no limit

    # How long things are kept.
    journal_months: int = 6
    partitions_ahead_months: int = 2

    # Processes.
    database_pool_max: int = 8
    argon2_workers: int = 2
    gc_threshold: int = 700
    log_level: str = "INFO"

    @property
    def base_url(self) -> str:
        """As people reach us, without a slash at the end."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.http_port}"

    @property
    def signs_certificates(self) -> bool:
        """Whether there is a CA for requests of stations."""
        return self.station_ca_cert is not None or self.station_ca_url is not None


def load(environ: Mapping[str, str] | None = None, directory: Path | None = None) -> Settings:
    """Settings from file and environment.

    Raises: SettingError, naming the setting, for an unknown name in the file or a value of the
    wrong type in either.
    """
    environ = os.environ if environ is None else environ
    directory = Path.cwd() if directory is None else directory
    path = Path(environ.get(PREFIX + "CONFIG", directory / CONFIG_FILE))
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(Settings)
    if path.is_file():
        for name, value in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if name not in hints:
                raise SettingError(f"{path}: there is no setting named {name!r}")
            values[name] = _read(name, value, hints[name])
    for known in fields(Settings):
        text = environ.get(PREFIX + known.name.upper())
        if text is not None:
            values[known.name] = _read(PREFIX + known.name.upper(), text, hints[known.name])
    settings = Settings(**values)
    if len(settings.tls_cert) != len(settings.tls_key):
        raise SettingError("T2P_TLS_CERT and T2P_TLS_KEY must name as many files, pairs in order")
    if settings.unknown_stations not in ("refuse", "pending"):
        raise SettingError("T2P_UNKNOWN_STATIONS takes refuse or pending")
    if settings.orders_without_boot not in ("send", "wait"):
        raise SettingError("T2P_ORDERS_WITHOUT_BOOT takes send or wait")
    _check_authority(settings)
    _check_reach(settings)
    _check_mail(settings)
    _check_outlets(settings)
    _check_datagouv(settings)
    if settings.log_level not in LOG_LEVELS:
        raise SettingError(f"T2P_LOG_LEVEL takes one of {', '.join(LOG_LEVELS)}")
    _check_numbers(settings)
    _check_reminders(settings)
    _check_prefixes(settings)
    return settings


def _check_authority(settings: Settings) -> None:
    """Raises: SettingError for a CA of stations that is half there, or there twice."""
    if (settings.station_ca_cert is None) != (settings.station_ca_key is None):
        raise SettingError("T2P_STATION_CA_CERT and T2P_STATION_CA_KEY come together")
    if settings.station_ca_url is not None:
        if settings.station_ca_cert is not None:
            raise SettingError("T2P_STATION_CA_URL and T2P_STATION_CA_CERT exclude each other")
        if not settings.station_ca_url.startswith("https://"):
            raise SettingError("T2P_STATION_CA_URL takes an address that begins with https://")
    if settings.certificate_signing not in ("manual", "automatic"):
        raise SettingError("T2P_CERTIFICATE_SIGNING takes manual or automatic")


def _check_reach(settings: Settings) -> None:
    """Raises: SettingError for an address of ours, or networks of proxies, that cannot be read."""
    url = settings.public_url
    if url is not None and not url.startswith(("http://", "https://")):
        raise SettingError("T2P_PUBLIC_URL takes an address like https://charging.example.org")
    try:
        networks(settings.trusted_proxies)
    except ValueError as error:
        raise SettingError(f"T2P_TRUSTED_PROXIES: {error}") from None


def networks(text: str | None) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Networks written with commas, like 10.0.0.0/8,::1. Raises: ValueError."""
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(ipaddress.ip_network(part) for part in parts if part)


def _check_mail(settings: Settings) -> None:
    """Raises: SettingError for a mail server that mails could not go by."""
    if settings.smtp_security not in ("starttls", "tls", "none"):
        raise SettingError("T2P_SMTP_SECURITY takes starttls, tls or none")
    if settings.smtp_host is not None and settings.mail_from is None:
        raise SettingError("T2P_SMTP_HOST needs T2P_MAIL_FROM, the address that mails come from")
    if settings.notification_lease_s < 2 * settings.notification_attempt_s:
        raise SettingError(
            "T2P_NOTIFICATION_LEASE_S takes twice T2P_NOTIFICATION_ATTEMPT_S at least: "
            "nobody else may take up what is still being sent"
        )
    if settings.notification_operator_language not in ("fr", "en"):
        raise SettingError("T2P_NOTIFICATION_OPERATOR_LANGUAGE takes fr or en")


def _check_outlets(settings: Settings) -> None:
    """Raises: SettingError for a peer that cannot be reached, or a lease that ends too early."""
    given = (settings.qualicharge_url, settings.qualicharge_user, settings.qualicharge_password)
    if any(given) and not all(given):
        raise SettingError(
            "T2P_QUALICHARGE_URL, T2P_QUALICHARGE_USER and T2P_QUALICHARGE_PASSWORD come together"
        )
    if given[0] is not None and not given[0].startswith(SAFE_ADDRESSES):
        raise SettingError("T2P_QUALICHARGE_URL takes an address that begins with https://")
    if not settings.qualicharge_user_agent.isprintable() or not settings.qualicharge_user_agent:
        raise SettingError("T2P_QUALICHARGE_USER_AGENT takes the company's name")
    if settings.outlet_lease_s < 4 * settings.qualicharge_timeout_s:
        raise SettingError(
            "T2P_OUTLET_LEASE_S takes four times T2P_QUALICHARGE_TIMEOUT_S at least: "
            "nobody else may take up what is still being sent"
        )
    for name in ("static", "status", "session"):
        if not 1 <= getattr(settings, f"qualicharge_{name}_entries_max") <= 1_000:
            raise SettingError(f"T2P_QUALICHARGE_{name.upper()}_ENTRIES_MAX takes 1 to 1000")


def _check_datagouv(settings: Settings) -> None:
    """Raises: SettingError for an account that is half there, or could not be used."""
    key = settings.datagouv_key
    names = ("organization", "dataset", "static_resource", "dynamic_resource")
    ids = {name: getattr(settings, f"datagouv_{name}") for name in names}
    needed = (key, *(ids[name] for name in names[:3]))
    if (any(needed) or ids["dynamic_resource"]) and not all(needed):
        raise SettingError(
            "T2P_DATAGOUV_KEY, T2P_DATAGOUV_ORGANIZATION, T2P_DATAGOUV_DATASET and "
            "T2P_DATAGOUV_STATIC_RESOURCE come together"
        )
    for name, value in ids.items():
        if value is not None and not re.fullmatch(r"[0-9A-Za-z-]+", value):
            raise SettingError(
                f"T2P_DATAGOUV_{name.upper()} takes the identifier, letters and digits, that the "
                "platform shows"
            )
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise SettingError("T2P_DATAGOUV_KEY takes the API key as the profile on the site shows it")
    if not settings.datagouv_url.startswith(SAFE_ADDRESSES):
        raise SettingError("T2P_DATAGOUV_URL takes an address that begins with https://")
    if ids["dynamic_resource"] and not (settings.irve_published and settings.public_url):
        raise SettingError(
            "T2P_DATAGOUV_DYNAMIC_RESOURCE needs T2P_IRVE_PUBLISHED=1 and T2P_PUBLIC_URL: it is a "
            "link to the file that we serve"
        )
    if settings.outlet_lease_s < 6 * settings.datagouv_timeout_s:
        raise SettingError(
            "T2P_OUTLET_LEASE_S takes six times T2P_DATAGOUV_TIMEOUT_S at least: "
            "nobody else may take up what is still being sent"
        )


def _check_numbers(settings: Settings) -> None:
    """Raises: SettingError for a number below zero or without end, or a port that cannot be."""
    for known in fields(settings):
        value = getattr(settings, known.name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if not 0 <= value < float("inf"):
            raise SettingError(f"{PREFIX}{known.name.upper()} takes a number from 0 on")
        if known.name.endswith("_port") and value > PORT_MAX:
            raise SettingError(f"{PREFIX}{known.name.upper()} takes a port, {PORT_MAX} at most")


def _check_reminders(settings: Settings) -> None:
    """Raises: SettingError."""
    days = settings.reminder_days
    if not days or days[0] < 1 or list(days) != sorted(set(days)) or len(days) > REMINDERS_MAX:
        raise SettingError(
            f"T2P_REMINDER_DAYS takes rising numbers of days, {REMINDERS_MAX} at most, like 7,21,35"
        )
    if settings.blocking_notice_days < 1:
        raise SettingError("T2P_BLOCKING_NOTICE_DAYS takes a number from 1 on")


def _check_prefixes(settings: Settings) -> None:
    """Raises: SettingError."""
    for prefix in settings.afirev_prefixes:
        if not re.fullmatch(r"[A-Z]{2}[A-Z0-9]{3}", prefix):
            raise SettingError(
                "T2P_AFIREV_PREFIXES takes prefixes as AFIREV gives them, five capitals and digits "
                "like FRT2P, with commas between"
            )


def _read(name: str, value: object, kind: Any) -> Any:
    """One value, from text or TOML, as the type of its field."""
    arguments = typing.get_args(kind)
    if isinstance(kind, types.UnionType):  # "X | None"
        return None if value in ("", None) else _read(name, value, arguments[0])
    if typing.get_origin(kind) is tuple:
        parts = value if isinstance(value, list) else str(value).split(",")
        return tuple(
            _read(name, str(part).strip(), arguments[0]) for part in parts if str(part).strip()
        )
    try:
        if kind is bool:
            return {"1": True, "true": True, "0": False, "false": False}[str(value).lower()]
        return kind(value)
    except (KeyError, TypeError, ValueError):
        raise SettingError(f"{name}: {value!r} is not {kind.__name__}") from None
