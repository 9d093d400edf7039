"""The options of article 5.4: what a client may subscribe to, and what that opens."""

from enum import StrEnum
from typing import Final, NamedTuple


class Option(StrEnum):
    """A service that a client subscribes to."""

    STATUS_MONITORING = "status_monitoring"
    REMOTE_MAINTENANCE = "remote_maintenance"
    ANALYSIS_REPORTS = "analysis_reports"
    USER_COSTS = "user_costs"
    NOTIFICATIONS = "notifications"
    PREVENTIVE_MAINTENANCE = "preventive_maintenance"
    USER_ACCESS = "user_access"
    GIREVE = "gireve"
    DATA_GOUV = "data_gouv"
    STATIC_DATA = "static_data"
    COLLECTION = "collection"
    DRIVER_APP = "driver_app"
    RESERVATIONS = "reservations"
    USER_PROFILES = "user_profiles"
    TARIFFS = "tariffs"
    BILLING_PAYMENT = "billing_payment"
    DYNAMIC_ENERGY = "dynamic_energy"
    CORRECTIVE_MAINTENANCE = "corrective_maintenance"
    MANDATE = "mandate"
    COPROPRIETARY_SUPPLY = "coproprietary_supply"


class Label(NamedTuple):
    """How an option is called, and where it stands in the general terms."""

    fr: str
    en: str
    clause: str


_STATIONS: Final = "5.4 a) Gestion des installations"
_USERS: Final = "5.4 a) Gestion des utilisateurs"

LABELS: Final[dict[Option, Label]] = {
    Option.STATUS_MONITORING: Label(
        "Contrôle et suivi du statut des bornes", "Status of the charge points", _STATIONS
    ),
    Option.REMOTE_MAINTENANCE: Label(
        "Maintenance à distance (diagnostic, mise à jour du firmware)",
        "Remote maintenance (diagnostics, firmware)",
        _STATIONS,
    ),
    Option.ANALYSIS_REPORTS: Label(
        "Analyse et rapports (disponibilité, consommation)",
        "Analysis and reports (availability, consumption)",
        _STATIONS,
    ),
    Option.USER_COSTS: Label("Suivi des coûts par utilisateur", "Costs by user", _STATIONS),
    Option.NOTIFICATIONS: Label("Envoi de notifications", "Notifications", _STATIONS),
    Option.PREVENTIVE_MAINTENANCE: Label(
        "Plan de maintenance préventive incluant une visite annuelle",
        "Preventive maintenance with a visit each year",
        _STATIONS,
    ),
    Option.USER_ACCESS: Label("Gestion des accès utilisateurs", "Access of users", _USERS),
    Option.GIREVE: Label(
        "Connexion du système de supervision avec GIREVE", "Connection to GIREVE", _USERS
    ),
    Option.DATA_GOUV: Label(
        "Déclaration des données géographiques des points de recharge sur data.gouv",
        "Declaration of the points on data.gouv",
        _USERS,
    ),
    Option.STATIC_DATA: Label(
        "Enregistrement des données statiques par point de recharge",
        "Static data of each point",
        _USERS,
    ),
    Option.COLLECTION: Label(
        "Collecte mensuelle des données de recharge", "Monthly collection of sessions", _USERS
    ),
    Option.DRIVER_APP: Label("Application pour les conducteurs", "Application for drivers", _USERS),
    Option.RESERVATIONS: Label(
        "Gestion des réservations des bornes", "Reservations of points", _USERS
    ),
    Option.USER_PROFILES: Label(
        "Profilage des utilisateurs (consommation, temps)",
        "Profiles of users (consumption, time)",
        _USERS,
    ),
    Option.TARIFFS: Label(
        "Mise en place d’une tarification (plage horaire, profils)",
        "Tariffs (hours, profiles)",
        _USERS,
    ),
    Option.BILLING_PAYMENT: Label("Facturation et paiement", "Invoices and payment", _USERS),
    Option.DYNAMIC_ENERGY: Label(
        "Gestion dynamique de l’énergie avec planification de la charge",
        "Dynamic energy management with planned charging",
        "5.4 a) Gestion de l’énergie",
    ),
    Option.CORRECTIVE_MAINTENANCE: Label(
        "Maintenance corrective sous 48 heures ouvrées",
        "Corrective maintenance within 48 working hours",
        "5.4 b)",
    ),
    Option.MANDATE: Label(
        "Mandat d’encaissement et de facturation",
        "Mandate to collect and to invoice",
        "5.4 c)",
    ),
    Option.COPROPRIETARY_SUPPLY: Label(
        "Supervision en copropriété : point de livraison et refacturation",
        "Supply in co-ownership: delivery point, consumption charged on",
        "5.4 d)",
    ),
}


class Service(NamedTuple):
    """Whether a service is open to a client, and why it is not.

    `reason`: None when it is open, else not_subscribed, suspended, ended or no_mandate.
    """

    open: bool
    reason: str | None = None
    text_fr: str = ""
    text_en: str = ""

    def text(self, language: str = "fr") -> str:
        """The reason for people, in French or (en) English; empty when it is open."""
        return self.text_en if language == "en" else self.text_fr


OPEN: Final = Service(True)


def closed(reason: str, option: Option | None = None) -> Service:
    """The service closed for this reason, with its sentences."""
    fr, en = _SENTENCES[reason]
    if option is not None:
        fr, en = fr.format(LABELS[option].fr), en.format(LABELS[option].en)
    return Service(False, reason, fr, en)


_SENTENCES: Final = {
    "not_subscribed": (
        "L’option « {} » n’est pas souscrite par ce client.",
        "This client has not subscribed to the option “{}”.",
    ),
    "suspended": (
        "Le contrat de gestion de ce client est suspendu : aucune charge ne peut y commencer.",
        "This client's contract is suspended: no session can begin at its stations.",
    ),
    "ended": (
        "Le contrat de gestion de ce client a pris fin : aucune charge ne peut y commencer.",
        "This client's contract has ended: no session can begin at its stations.",
    ),
    "no_mandate": (
        "Ce client n’a pas donné de mandat d’encaissement et de facturation, ou l’a révoqué.",
        "This client has given no mandate to collect and to invoice, or has revoked it.",
    ),
}
