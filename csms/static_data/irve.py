"""The words of the static IRVE schema (2.3.1) for ours, both ways: for import and export."""

from collections.abc import Iterable, Mapping

IMPLANTATION = {
    "Voirie": "street",
    "Parking public": "public_parking",
    "Parking privé à usage public": "private_parking_public_use",
    "Parking privé réservé à la clientèle": "customer_parking",
    "Station dédiée à la recharge rapide": "fast_station",
}
ACCESS = {"Accès libre": "open", "Accès réservé": "reserved"}
PMR_ACCESS = {
    "Réservé PMR": "reserved",
    "Accessible mais non réservé PMR": "accessible",
    "Non accessible": "not_accessible",
    "Accessibilité inconnue": "unknown",
}
GRID_CONNECTION = {"Direct": "direct", "Indirect": "indirect"}

SOCKETS = {
    "prise_type_ef": frozenset({"sCEE-7-7"}),
    "prise_type_2": frozenset({"sType2", "cType2"}),
    "prise_type_combo_ccs": frozenset({"cCCS2"}),
    "prise_type_chademo": frozenset({"cG105"}),
}
"""Our connector types under each column; any other known type is `prise_type_autre`."""
OTHER_SOCKET = "prise_type_autre"
NOT_KNOWN = frozenset({"Undetermined", "Unknown"})


def label(words: Mapping[str, str], ours: str) -> str:
    """The schema's word for ours. Raises: KeyError."""
    return {value: name for name, value in words.items()}[ours]


def sockets(connector_types: Iterable[str | None]) -> dict[str, bool]:
    """The five prise_type_... columns of a point, and cable_t2_attache."""
    types = {kind for kind in connector_types if kind is not None}
    columns = {column: bool(types & kinds) for column, kinds in SOCKETS.items()}
    known = frozenset().union(*SOCKETS.values())
    columns[OTHER_SOCKET] = bool(types - known - NOT_KNOWN)
    columns["cable_t2_attache"] = "cType2" in types
    return columns
