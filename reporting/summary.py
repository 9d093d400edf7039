"""The one-page summary of a monthly collection, for people."""

from typing import Final

from reporting.collection import Collection, SiteTotal

WIDTH: Final = 79
_NAME_WIDTH: Final = 38

_TEXTS: Final[dict[str, dict[str, str]]] = {
    "fr": {
        "title": "Collecte mensuelle des sessions de recharge : {month}",
        "scope": "Client : {client}",
        "rule": "Sessions terminées dans le mois, heure de Paris.",
        "site": "Site",
        "sessions": "Sessions",
        "flagged": "À regarder",
        "energy": "Énergie (Wh)",
        "none": "(sans site)",
        "total": "Total",
        "unknown": "{n} session(s) d’énergie inconnue : présentes, énergie laissée vide.",
        "flags": "Signalements (une session peut en porter plusieurs) :",
        "empty": "Aucune session ne s’est terminée dans ce mois.",
        "months": "janvier février mars avril mai juin juillet août septembre octobre novembre "
        "décembre",
    },
    "en": {
        "title": "Monthly collection of charging sessions: {month}",
        "scope": "Client: {client}",
        "rule": "Sessions that ended in the month, Paris time.",
        "site": "Site",
        "sessions": "Sessions",
        "flagged": "To look at",
        "energy": "Energy (Wh)",
        "none": "(no site)",
        "total": "Total",
        "unknown": "{n} session(s) of unknown energy: listed, their energy left empty.",
        "flags": "Flags (a session may carry several):",
        "empty": "No session ended in this month.",
        "months": "January February March April May June July August September October November "
        "December",
    },
}


def summary_text(collection: Collection, language: str = "fr") -> str:
    """The summary as plain text: totals by site, what is flagged; ends with a line break."""
    text = _TEXTS[language]
    month = text["months"].split()[collection.month.month - 1]
    lines = [text["title"].format(month=f"{month} {collection.month.year}")]
    lines.append("=" * len(lines[0]))
    if collection.client is not None:
        lines.append(text["scope"].format(client=collection.client))
    lines += [text["rule"], ""]
    if not collection.sites:
        return "\n".join([*lines, text["empty"], ""])
    lines += _table(collection, text, language)
    if collection.unknown_energy:
        lines += ["", text["unknown"].format(n=_number(collection.unknown_energy, language))]
    if collection.flags:
        lines += ["", text["flags"]]
        for flag, count in sorted(collection.flags.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"  {_number(count, language):>8}  {flag}")
    return "\n".join([*lines, ""])


def _table(collection: Collection, text: dict[str, str], language: str) -> list[str]:
    """A line for every site by client and site, the client's name above its sites."""
    header = _line(text["site"], text["sessions"], text["flagged"], text["energy"])
    lines = [header, "-" * WIDTH]
    client = None
    for site in sorted(collection.sites.values(), key=lambda s: (s.client, s.site_id or "")):
        if site.client != client:
            client = site.client
            lines.append(client)
        lines.append(_site_line(site, text, language))
    lines += ["-" * WIDTH]
    flagged = sum(site.flagged for site in collection.sites.values())
    figures = (collection.sessions, flagged, collection.energy_wh)
    lines.append(_line(text["total"], *(_number(figure, language) for figure in figures)))
    return lines


def _site_line(site: SiteTotal, text: dict[str, str], language: str) -> str:
    name = site.site_id or text["none"]
    if site.site_name and site.site_name != site.site_id:
        name += f" ({site.site_name})"
    figures = (site.sessions, site.flagged, site.energy_wh)
    return _line("  " + name, *(_number(figure, language) for figure in figures))


def _line(name: str, sessions: str, flagged: str, energy: str) -> str:
    if len(name) > _NAME_WIDTH:
        name = name[: _NAME_WIDTH - 1] + "…"
    return f"{name:<{_NAME_WIDTH}} {sessions:>10} {flagged:>11} {energy:>17}"


def _number(value: int, language: str) -> str:
    """Grouped in thousands: by narrow no-break spaces in French."""
    return f"{value:,}".replace(",", "\u202f") if language == "fr" else f"{value:,}"
