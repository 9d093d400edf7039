"""What was written, or judged, for people: plain text in French or English."""

from typing import Final

from csms.static_data import Language
from reporting.irve.consolidation import Judgement
from reporting.irve.findings import Effect, Finding, shown
from reporting.irve.static_rows import Refused, Static, told

REFUSED_MAX: Final = 200  # points that are told one by one
FINDINGS_MAX: Final = 200

_TEXTS: Final[dict[str, dict[str, str]]] = {
    "fr": {
        "title": "Fichier IRVE statique (schéma 2.3.1)",
        "rows": "{rows} point(s) publié(s), dans {stations} station(s).",
        "not_in_force": "{n} point(s) public(s) hors service à ce jour, ou pas encore en service : "
        "non publiés.",
        "refused": "{n} point(s) retenu(s) ; les autres sont publiés :",
        "whole": "Sans ce tri, une seule de ces lignes ferait refuser le fichier entier par la "
        "consolidation nationale : {n} point(s).",
        "doubts": "{n} point(s) publié(s), à vérifier :",
        "more": "… et {n} autre(s).",
        "judged": "Contrôle du fichier {name} selon la consolidation nationale",
        "out": "REFUSÉ : la consolidation écarterait le fichier entier ({lines} ligne(s) "
        "invalide(s)) ; aucun de ses {rows} point(s) n’y paraîtrait.",
        "in": "ACCEPTÉ : {kept} ligne(s) gardée(s) sur {rows}, {dropped} écartée(s).",
        "others": "Un même identifiant dans un fichier d’un autre producteur ne se voit pas d’ici.",
        "file": "Fait refuser le fichier entier :",
        "dropped": "Lignes écartées à la consolidation :",
        "wrong": "Accepté tel quel, mais faux :",
        "fixed": "Corrigé d’office, sans avertissement :",
        "doubt": "À vérifier :",
        "times": "{n} fois en tout",
        "line": "ligne {n}",
        "point": "point {point}",
        "column": "colonne {column}",
        "of_file": "fichier",
        "colon": " : ",
    },
    "en": {
        "title": "Static IRVE file (schema 2.3.1)",
        "rows": "{rows} point(s) published, in {stations} station(s).",
        "not_in_force": "{n} public point(s) out of service for good, or not in service yet: not "
        "published.",
        "refused": "{n} point(s) held back; the others are published:",
        "whole": "Were they not held back, one of these lines would make the national "
        "consolidation leave out the whole file: {n} point(s).",
        "doubts": "{n} point(s) published, to be looked at:",
        "more": "… and {n} more.",
        "judged": "File {name}, as the national consolidation would take it",
        "out": "LEFT OUT: the consolidation would take nothing of the file ({lines} invalid "
        "line(s)); none of its {rows} point(s) would be there.",
        "in": "TAKEN: {kept} line(s) kept of {rows}, {dropped} dropped.",
        "others": "The same identifier in another producer's file cannot be seen from here.",
        "file": "For which the whole file is left out:",
        "dropped": "Lines that the consolidation drops:",
        "wrong": "Taken as it stands, and wrong:",
        "fixed": "Put right without a word:",
        "doubt": "To be looked at:",
        "times": "{n} times in all",
        "line": "line {n}",
        "point": "point {point}",
        "column": "column {column}",
        "of_file": "file",
        "colon": ": ",
    },
}


def static_summary(static: Static, language: Language) -> str:
    """What the file has and what was held back, with what to do about each; ends with a line
    break."""
    text = _TEXTS[language]
    stations = {row["id_station_itinerance"] for row in static.rows}
    lines = _titled(text["title"])
    lines.append(text["rows"].format(rows=len(static.rows), stations=len(stations)))
    if static.not_in_force:
        lines.append(text["not_in_force"].format(n=len(static.not_in_force)))
    if static.refused:
        lines += ["", text["refused"].format(n=len(static.refused))]
        lines += _points(static.refused, language)
        fatal = sum(
            any(finding.effect is Effect.FILE for finding in refused.findings)
            for refused in static.refused
        )
        if fatal:
            lines.append(text["whole"].format(n=fatal))
    if static.doubtful:
        lines += ["", text["doubts"].format(n=len(static.doubtful))]
        lines += _points(static.doubtful, language)
    return "\n".join([*lines, ""])


def _titled(title: str) -> list[str]:
    return [title, "=" * len(title)]


def _points(points: tuple[Refused, ...], language: Language) -> list[str]:
    lines = [f"- {line}" for point in points[:REFUSED_MAX] for line in told(point, language)]
    if len(points) > REFUSED_MAX:
        lines.append(_TEXTS[language]["more"].format(n=len(points) - REFUSED_MAX))
    return lines


def judgement_summary(judgement: Judgement, name: str, language: Language) -> str:
    """What would become of a file and why, the worst first; ends with a line break."""
    text = _TEXTS[language]
    lines = _titled(text["judged"].format(name=shown(name)))
    verdict = text["out"] if judgement.is_left_out else text["in"]
    lines.append(
        verdict.format(
            lines=len(judgement.invalid),
            rows=judgement.rows,
            kept=judgement.kept,
            dropped=len(judgement.dropped),
        )
    )
    for effect in Effect:
        found = [finding for finding in judgement.findings if finding.effect is effect]
        if found:
            lines += ["", text[effect.value]]
            lines += _findings(found, judgement, language)
    return "\n".join([*lines, "", text["others"], ""])


def _findings(found: list[Finding], judgement: Judgement, language: Language) -> list[str]:
    """A line a finding, the first of each kind; kinds with more say how many they are."""
    text = _TEXTS[language]
    lines = []
    seen: dict[tuple[str, str], int] = {}
    for finding in found[:FINDINGS_MAX]:
        kind = (finding.code, finding.column)
        seen[kind] = seen.get(kind, 0) + 1
        lines.append(f"- {_where(finding, language)}{text['colon']}{finding.told(language)}")
    for (code, column), number in seen.items():
        times = judgement.counts[(found[0].effect, code, column)]
        if times > number:
            lines.append(f"  {column or text['of_file']}, {code}: " + text["times"].format(n=times))
    if len(found) > FINDINGS_MAX:
        lines.append(text["more"].format(n=len(found) - FINDINGS_MAX))
    return lines


def _where(finding: Finding, language: Language) -> str:
    text = _TEXTS[language]
    parts = []
    if finding.line is not None:
        parts.append(text["line"].format(n=finding.line))
    if finding.point:
        parts.append(text["point"].format(point=shown(finding.point)))
    if finding.column:
        parts.append(text["column"].format(column=shown(finding.column)))
    return ", ".join(parts) or text["of_file"]
