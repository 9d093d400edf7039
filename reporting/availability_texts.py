"""Words of the availability report, in French and in English."""

from typing import Final

TEXTS: Final[dict[str, dict[str, str]]] = {
    "fr": {
        "title": "Disponibilité des points de recharge",
        "all": "Tous les clients",
        "made": "Calculé le {moment} (heure de Paris)",
        "made_running": "Calculé le {moment} (heure de Paris)\u202f; période mesurée "
        "jusqu’à cet instant",
        "rules_title": "Règles de calcul",
        "rule_span": "Période\u00a0: {span}, jours entiers à l’heure de Paris, soit {hours} heures "
        "par point{running}. Toutes les durées sont comptées en secondes entières.",
        "rule_running": ", mesurées à ce jour",
        "rule_up": "Un point est disponible lorsqu’il est libre ou en service (voiture branchée, "
        "réservation). Il est indisponible lorsqu’il est en panne, hors ligne ou fermé.",
        "rule_offline": "Hors ligne\u00a0: la liaison de la borne avec la supervision est rompue, "
        "quel que soit le dernier état annoncé. Ce temps compte comme indisponible. Une liaison "
        "perdue par un arrêt brutal de la supervision est réputée rompue depuis le dernier signe "
        "de vie de la borne.",
        "rule_windows": "Les travaux planifiés et les périodes exclues, listés ci-dessous avec "
        "leur motif, sortent du calcul, quel que soit l’état du point. Là où les deux se "
        "recouvrent, la période exclue prime.",
        "rule_unknown": "Le temps dont l’état est inconnu (avant le premier contact) sort aussi du "
        "calcul\u202f; il est indiqué à part.",
        "rule_rate": "Disponibilité = temps disponible ÷ (temps disponible + temps indisponible), "
        "arrondie au centième de pour cent. Pour un site ou un client, les secondes des points "
        "s’additionnent\u202f; les pourcentages ne sont jamais moyennés.",
        "rule_station": "Une panne de la borne entière compte pour chacun de ses points. Un point "
        "à plusieurs prises vaut sa meilleure prise. Un point retiré compte jusqu’à son retrait.",
        "rule_again": "Le rapport se recalcule à l’identique à partir de l’historique conservé des "
        "états et des liaisons\u202f; seule une fenêtre saisie ou révoquée depuis le change.",
        "availability": "Disponibilité",
        "points": "Points",
        "down_time": "Temps indisponible",
        "outages": "Interruptions",
        "left_out": "Temps écarté",
        "unknown_time": "Temps inconnu",
        "points_note": "sur {sites} sites",
        "points_note_one": "sur un site",
        "left_out_note": "travaux planifiés et périodes exclues",
        "none_counts": "aucune seconde ne compte",
        "by_client": "Par client",
        "by_site": "Par site",
        "by_point": "Par point de recharge",
        "by_state": "Temps passé dans chaque état",
        "by_state_intro": "Hors travaux planifiés et périodes exclues.",
        "outage_list": "Interruptions",
        "outage_none": "Aucune interruption.",
        "outage_more": "Les {shown} plus longues sur {total}\u202f; le classeur les contient "
        "toutes.",
        "outage_order": "De la plus longue à la plus courte.",
        "window_list": "Travaux planifiés et périodes exclues",
        "window_none": "Aucune fenêtre saisie pour cette période.",
        "window_contradicts": "Des fenêtres des deux natures se recouvrent (voir la dernière "
        "colonne)\u00a0: la période exclue prime.",
        "client": "Client",
        "site": "Site",
        "point": "Point",
        "up_s": "Disponible",
        "down_s": "Indisponible",
        "unknown_s": "Inconnu",
        "left_out_s": "Écarté",
        "count": "Interruptions",
        "in_use": "En service",
        "available": "Libre",
        "faulted": "En panne",
        "unavailable": "Fermé",
        "offline": "Hors ligne",
        "unknown": "Inconnu",
        "from": "Début",
        "to": "Fin",
        "duration": "Durée",
        "causes": "Causes",
        "place": "Lieu",
        "kind": "Nature",
        "cause": "Motif",
        "entered": "Saisie",
        "entered_at": "Saisie le",
        "standing": "Remarque",
        "planned": "Travaux planifiés",
        "excluded": "Période exclue",
        "whole_site": "{site} (tout le site)",
        "whole_station": "{station} (toute la borne)",
        "revoked": "révoquée\u00a0: {reason}",
        "afterwards": "saisie après coup",
        "contradicts": "recouvre n° {numbers}",
        "total": "Total",
        "running": "en cours",
    },
    "en": {
        "title": "Availability of charging points",
        "all": "All clients",
        "made": "Computed on {moment} (Paris time)",
        "made_running": "Computed on {moment} (Paris time); the period is measured up to then",
        "rules_title": "How it is computed",
        "rule_span": "Period: {span}, whole days in Paris time, that is {hours} hours for each "
        "point{running}. All durations are counted in whole seconds.",
        "rule_running": ", measured up to now",
        "rule_up": "A point is available when it is free or in use (a car is plugged in, or it is "
        "reserved). It is unavailable when it is faulted, offline or closed.",
        "rule_offline": "Offline: the station’s link with the supervision is lost, whatever state "
        "it told last. That time counts as unavailable. A link lost by a crash of the "
        "supervision is held to be lost since the station was last heard.",
        "rule_windows": "Planned work and excluded periods, listed below with their cause, leave "
        "the computation, whatever the state of the point. Where both overlap, the exclusion "
        "prevails.",
        "rule_unknown": "Time of which the state is not known (before the first contact) leaves "
        "the computation too; it is shown apart.",
        "rule_rate": "Availability = available time ÷ (available time + unavailable time), rounded "
        "to a hundredth of a percent. For a site or a client the seconds of its points are "
        "added; percentages are never averaged.",
        "rule_station": "A fault of the whole station counts for each of its points. A point with "
        "several connectors is as its best one. A retired point counts until its retirement.",
        "rule_again": "The report is computed anew with the same result from the history of states "
        "and links that is kept; only a window entered or revoked since changes it.",
        "availability": "Availability",
        "points": "Points",
        "down_time": "Unavailable time",
        "outages": "Outages",
        "left_out": "Time left out",
        "unknown_time": "Unknown time",
        "points_note": "at {sites} sites",
        "points_note_one": "at one site",
        "left_out_note": "planned work and excluded periods",
        "none_counts": "no second counts",
        "by_client": "By client",
        "by_site": "By site",
        "by_point": "By charging point",
        "by_state": "Time in each state",
        "by_state_intro": "Outside planned work and excluded periods.",
        "outage_list": "Outages",
        "outage_none": "No outage.",
        "outage_more": "The {shown} longest of {total}; the workbook has them all.",
        "outage_order": "From the longest to the shortest.",
        "window_list": "Planned work and excluded periods",
        "window_none": "No window was entered for this period.",
        "window_contradicts": "Windows of both kinds overlap (see the last column): the exclusion "
        "prevails.",
        "client": "Client",
        "site": "Site",
        "point": "Point",
        "up_s": "Available",
        "down_s": "Unavailable",
        "unknown_s": "Unknown",
        "left_out_s": "Left out",
        "count": "Outages",
        "in_use": "In use",
        "available": "Free",
        "faulted": "Faulted",
        "unavailable": "Closed",
        "offline": "Offline",
        "unknown": "Unknown",
        "from": "From",
        "to": "To",
        "duration": "Duration",
        "causes": "Causes",
        "place": "Place",
        "kind": "Kind",
        "cause": "Cause",
        "entered": "Entry",
        "entered_at": "Entered on",
        "standing": "Remark",
        "planned": "Planned work",
        "excluded": "Excluded period",
        "whole_site": "{site} (whole site)",
        "whole_station": "{station} (whole station)",
        "revoked": "revoked: {reason}",
        "afterwards": "entered afterwards",
        "contradicts": "overlaps no. {numbers}",
        "total": "Total",
        "running": "goes on",
    },
}
