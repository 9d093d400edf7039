"""What each finding says to people, by its code: what is wrong, and what to do about it."""

from typing import Final

TEXTS: Final[dict[str, dict[str, str]]] = {
    # --- Of a file -------------------------------------------------------------------------------
    "file_empty": {
        "fr": "le fichier est vide. Publiez un fichier CSV avec sa ligne d’en-tête.",
        "en": "the file is empty. Publish a CSV file with its header line.",
    },
    "file_zip": {
        "fr": "le contenu est une archive ZIP. Publiez le fichier CSV lui-même, non compressé.",
        "en": "the content is a ZIP archive. Publish the CSV file itself, not compressed.",
    },
    "file_extension": {
        "fr": "l’extension « {value} » n’est pas celle d’un CSV. Nommez le fichier en .csv.",
        "en": "the extension “{value}” is not that of a CSV. Name the file .csv.",
    },
    "file_v1": {
        "fr": "l’en-tête est celui de la version 1 du schéma (n_operateur). Passez à la 2.3.1.",
        "en": "the header is that of version 1 of the schema (n_operateur). Move to 2.3.1.",
    },
    "file_no_id": {
        "fr": "la première ligne ne contient pas id_pdc_itinerance. La première ligne du fichier "
        "est l’en-tête, avec les 40 colonnes du schéma.",
        "en": "the first line has no id_pdc_itinerance. The first line of the file is the header, "
        "with the 40 columns of the schema.",
    },
    "file_separator": {
        "fr": "les colonnes sont séparées par « {value} ». Séparez-les par des virgules.",
        "en": "the columns are separated by “{value}”. Separate them by commas.",
    },
    "file_separators_mixed": {
        "fr": "l’en-tête mêle virgules et points-virgules. Gardez la virgule partout.",
        "en": "the header mixes commas and semicolons. Keep to the comma.",
    },
    "file_broken": {
        "fr": "le fichier n’est pas un CSV lisible à partir d’ici ({reason}). Un guillemet dans "
        "une cellule se double, et une cellule qui contient une virgule est entre guillemets.",
        "en": "from here on the file cannot be read as CSV ({reason}). A quote in a cell is "
        "doubled, and a cell with a comma stands in quotes.",
    },
    "file_no_row": {
        "fr": "le fichier n’a aucune ligne sous son en-tête : il ne déclare aucun point.",
        "en": "the file has no line below its header: it declares no point.",
    },
    "encoding": {
        "fr": "le fichier n’est pas en UTF-8 ; il est lu comme du latin-1. Enregistrez-le en "
        "UTF-8.",
        "en": "the file is not UTF-8; it is read as latin-1. Save it as UTF-8.",
    },
    "byte_order_mark": {
        "fr": "le fichier commence par une marque d’ordre d’octets (BOM), que tous les lecteurs "
        "n’ignorent pas. Enregistrez-le en UTF-8 sans BOM.",
        "en": "the file begins with a byte order mark, which not every reader skips. Save it as "
        "UTF-8 without BOM.",
    },
    "semicolons": {
        "fr": "les colonnes sont séparées par des points-virgules. Séparez-les par des virgules.",
        "en": "the columns are separated by semicolons. Separate them by commas.",
    },
    "column_missing": {
        "fr": "cette colonne obligatoire manque. Ajoutez-la à l’en-tête et à chaque ligne.",
        "en": "this required column is missing. Add it to the header and to every line.",
    },
    "column_absent": {
        "fr": "cette colonne facultative manque ; elle est lue comme vide. Ajoutez-la, vide.",
        "en": "this optional column is missing; it is read as empty. Add it, empty.",
    },
    "column_twice": {
        "fr": "cette colonne figure deux fois dans l’en-tête. Gardez-en une.",
        "en": "this column stands in the header twice. Keep one.",
    },
    "column_unknown": {
        "fr": "cette colonne n’est pas du schéma ; elle est ignorée. Vérifiez son nom, ou "
        "retirez-la.",
        "en": "this column is not of the schema; it is ignored. Check its name, or drop it.",
    },
    "row_cells": {
        "fr": "la ligne a {found} cellules, l’en-tête {meant}. Mettez entre guillemets les "
        "cellules qui contiennent une virgule.",
        "en": "the line has {found} cells, the header {meant}. Put cells with a comma in quotes.",
    },
    # --- Of a cell, by the schema ----------------------------------------------------------------
    "required": {
        "fr": "la valeur est obligatoire et manque. Renseignez-la.",
        "en": "the value is required and missing. Enter it.",
    },
    "truth_form": {
        "fr": "« {value} » n’est ni true ni false. Écrivez true ou false.",
        "en": "“{value}” is neither true nor false. Write true or false.",
    },
    "truth_spelling": {
        "fr": "« {value} » est lu comme {meant}. Écrivez {meant}.",
        "en": "“{value}” is read as {meant}. Write {meant}.",
    },
    "integer_form": {
        "fr": "« {value} » n’est pas un nombre entier positif. Écrivez des chiffres seuls, comme "
        "4.",
        "en": "“{value}” is no whole number from 0 on. Write digits alone, like 4.",
    },
    "number_comma": {
        "fr": "« {value} » a une virgule décimale. Écrivez un point : {meant}.",
        "en": "“{value}” has a decimal comma. Write a point: {meant}.",
    },
    "number_form": {
        "fr": "« {value} » n’est pas un nombre positif. Écrivez le nombre seul, en kW, comme 22 "
        "ou 7.4.",
        "en": "“{value}” is no number from 0 on. Write the number alone, in kW, like 22 or 7.4.",
    },
    "email_form": {
        "fr": "« {value} » n’est pas une adresse électronique. Écrivez une adresse comme "
        "contact@example.fr.",
        "en": "“{value}” is no e-mail address. Write an address like contact@example.fr.",
    },
    "date_form": {
        "fr": "« {value} » n’est pas une date AAAA-MM-JJ. Écrivez par exemple 2026-11-26.",
        "en": "“{value}” is no date like YYYY-MM-DD. Write 2026-11-26, for instance.",
    },
    "date_unreal": {
        "fr": "« {value} » n’est pas un jour du calendrier. Corrigez la date.",
        "en": "“{value}” is no day of the calendar. Correct the date.",
    },
    "place_form": {
        "fr": "« {value} » n’a pas la forme [longitude,latitude]. Écrivez les degrés avec un "
        "point, la longitude d’abord : [2.3522,48.8566].",
        "en": "“{value}” is not of the form [longitude,latitude]. Write degrees with a point, the "
        "longitude first: [2.3522,48.8566].",
    },
    "place_spaces": {
        "fr": "« {value} » contient des espaces. Écrivez sans espace : [2.3522,48.8566].",
        "en": "“{value}” has spaces in it. Write it without: [2.3522,48.8566].",
    },
    "word": {
        "fr": "« {value} » n’est pas une des valeurs possibles. Choisissez parmi : {words}.",
        "en": "“{value}” is not one of the possible values. Choose from: {words}.",
    },
    "siren_form": {
        "fr": "« {value} » n’est pas un SIREN. Écrivez ses neuf chiffres, sans espace.",
        "en": "“{value}” is no SIREN. Write its nine digits, without a space.",
    },
    "insee_form": {
        "fr": "« {value} » n’est pas un code INSEE de commune. Écrivez ses cinq caractères, comme "
        "21231 ou 2A004.",
        "en": "“{value}” is no INSEE code of a commune. Write its five characters, like 21231 or "
        "2A004.",
    },
    "hours_pattern": {
        "fr": "« {value} » n’est pas un horaire. Écrivez 24/7, ou par exemple Mo-Fr 08:00-12:00.",
        "en": "“{value}” is no opening time. Write 24/7, or for instance Mo-Fr 08:00-12:00.",
    },
    "id_separators": {
        "fr": "« {value} » contient des séparateurs. Écrivez l’identifiant sans * ni tiret ni "
        "espace, en capitales : {meant}.",
        "en": "“{value}” has separators in it. Write the identifier without *, hyphen or space, in "
        "capitals: {meant}.",
    },
    "id_form": {
        "fr": "« {value} » n’est pas un identifiant d’itinérance. Écrivez l’identifiant AFIREV, "
        "comme FRABC{letter}1234, ou « Non concerné ».",
        "en": "“{value}” is no roaming identifier. Write the AFIREV identifier, like "
        "FRABC{letter}1234, or “Non concerné”.",
    },
    # --- Of a row, beyond the schema -------------------------------------------------------------
    "not_concerned": {
        "fr": "les lignes « Non concerné » disparaissent du fichier consolidé. Demandez un préfixe "
        "à l’AFIREV et donnez un identifiant au point.",
        "en": "lines with “Non concerné” vanish from the consolidated file. Ask AFIREV for a "
        "prefix and give the point an identifier.",
    },
    "local_id_missing": {
        "fr": "sans identifiant d’itinérance, l’identifiant local est indispensable. "
        "Renseignez-le.",
        "en": "without a roaming identifier the local one is indispensable. Enter it.",
    },
    "station_letter": {
        "fr": "« {value} » est l’identifiant d’un point de recharge (lettre E). Écrivez celui de "
        "la station, dont la sixième lettre est P.",
        "en": "“{value}” is the identifier of a point (letter E). Write the station's, whose sixth "
        "letter is P.",
    },
    "point_letter": {
        "fr": "« {value} » est l’identifiant d’une station (lettre P). Écrivez celui du point de "
        "recharge, dont la sixième lettre est E.",
        "en": "“{value}” is the identifier of a station (letter P). Write the point's, whose sixth "
        "letter is E.",
    },
    "id_letter": {
        "fr": "« {value} » n’a pas la lettre {letter} après le préfixe de cinq caractères. Écrivez "
        "l’identifiant AFIREV, comme FRABC{letter}1234.",
        "en": "“{value}” has no letter {letter} after its prefix of five characters. Write the "
        "AFIREV identifier, like FRABC{letter}1234.",
    },
    "id_example": {
        "fr": "« {value} » est l’identifiant de l’exemple du schéma. Écrivez celui du point.",
        "en": "“{value}” is the identifier in the schema's example. Write the point's own.",
    },
    "prefix_differs": {
        "fr": "le point commence par {found}, sa station par {meant}. Les deux portent le même "
        "préfixe AFIREV : corrigez celui qui est faux.",
        "en": "the point begins with {found}, its station with {meant}. Both carry the same AFIREV "
        "prefix: correct the wrong one.",
    },
    "prefix_foreign": {
        "fr": "« {value} » ne commence pas par le préfixe AFIREV de l’opérateur ({meant}). "
        "Corrigez l’identifiant, ou le réglage T2P_AFIREV_PREFIXES.",
        "en": "“{value}” does not begin with the operator's AFIREV prefix ({meant}). Correct the "
        "identifier, or the setting T2P_AFIREV_PREFIXES.",
    },
    "place_swapped": {
        "fr": "longitude et latitude semblent inversées. Écrivez la longitude d’abord : {meant}.",
        "en": "longitude and latitude look swapped. Write the longitude first: {meant}.",
    },
    "place_outside": {
        "fr": "« {value} » n’est ni en France métropolitaine, ni en Corse, ni dans un département "
        "d’outre-mer. Corrigez les coordonnées.",
        "en": "“{value}” lies neither in metropolitan France, Corsica nor the overseas "
        "departments. Correct the coordinates.",
    },
    "commune_elsewhere": {
        "fr": "la commune {value} n’est pas là où sont les coordonnées ({meant}). Corrigez l’une "
        "ou les autres.",
        "en": "commune {value} is not where the coordinates are ({meant}). Correct the one or the "
        "other.",
    },
    "commune_postal": {
        "fr": "« {value} » est un code postal. Écrivez le code INSEE de la commune, comme 75101 "
        "pour Paris 1er.",
        "en": "“{value}” is a postal code. Write the commune's INSEE code, like 75101 for the "
        "first arrondissement of Paris.",
    },
    "commune_as_postal": {
        "fr": "« {value} » est aussi le code postal de l’adresse. Vérifiez que c’est bien le code "
        "INSEE de la commune : les deux sont rarement les mêmes.",
        "en": "“{value}” is the postal code of the address too. Check that it is the commune's "
        "INSEE code: the two are rarely the same.",
    },
    "commune_department": {
        "fr": "la commune {value} et le code postal {found} ne sont pas du même département. "
        "Vérifiez-les.",
        "en": "commune {value} and postal code {found} are not of one department. Check them.",
    },
    "address_postal": {
        "fr": "l’adresse n’a pas de code postal. Écrivez numéro, rue, code postal et ville.",
        "en": "the address has no postal code. Write number, street, postal code and city.",
    },
    "power_watts": {
        "fr": "{value} semble être en watts. La colonne est en kW : écrivez {meant}.",
        "en": "{value} looks like watts. The column is in kW: write {meant}.",
    },
    "power_little": {
        "fr": "{value} kW est trop peu pour un point de recharge. Écrivez sa puissance en kW, "
        "comme 7.4.",
        "en": "{value} kW is too little for a point of charge. Write its power in kW, like 7.4.",
    },
    "power_ac": {
        "fr": "{value} kW est beaucoup pour un point sans prise Combo CCS ni CHAdeMO. Vérifiez la "
        "puissance et les prises.",
        "en": "{value} kW is much for a point with neither Combo CCS nor CHAdeMO. Check its power "
        "and its sockets.",
    },
    "no_socket": {
        "fr": "aucune des cinq colonnes prise_type_… n’est à true. Indiquez au moins une prise.",
        "en": "none of the five columns prise_type_… is true. State one socket at least.",
    },
    "cable_without_t2": {
        "fr": "un câble T2 est attaché, mais prise_type_2 est à false. Corrigez l’un ou l’autre.",
        "en": "a type 2 cable is attached, yet prise_type_2 is false. Correct the one or the "
        "other.",
    },
    "free_priced": {
        "fr": "la recharge est gratuite, mais un prix est indiqué (« {value} »). Corrigez gratuit "
        "ou tarification.",
        "en": "charging is free, and yet there is a price (“{value}”). Correct gratuit or "
        "tarification.",
    },
    "siren_checksum": {
        "fr": "« {value} » n’est pas un SIREN existant : sa clé de contrôle est fausse. Corrigez "
        "le chiffre mal saisi.",
        "en": "“{value}” is no SIREN that exists: its check digit is wrong. Correct the mistyped "
        "digit.",
    },
    "phone_form": {
        "fr": "« {value} » n’est pas un numéro de téléphone. Écrivez par exemple +33184710062.",
        "en": "“{value}” is no telephone number. Write +33184710062, for instance.",
    },
    "date_future": {
        "fr": "« {value} » est dans le futur. Écrivez une date passée ou d’aujourd’hui.",
        "en": "“{value}” lies in the future. Write a past date, or today's.",
    },
    "hours_form": {
        "fr": "les horaires ne peuvent pas être lus : {reason}. Corrigez-les.",
        "en": "the opening hours cannot be read: {reason}. Correct them.",
    },
    "pdl_form": {
        "fr": "« {value} » n’est pas un numéro de point de livraison. Écrivez ses 14 chiffres.",
        "en": "“{value}” is no number of a delivery point (PDL). Write its 14 digits.",
    },
    "pdl_missing": {
        "fr": "un raccordement Direct a son point de livraison. Renseignez ses 14 chiffres, ou "
        "corrigez raccordement.",
        "en": "a direct grid connection has its delivery point. Enter its 14 digits, or correct "
        "raccordement.",
    },
    "size_limits_empty": {
        "fr": "« {value} » ne dit rien du gabarit. Écrivez la limite, comme « Hauteur maximale "
        "2 m », ou « inconnu ».",
        "en": "“{value}” says nothing of the limits of size. Write the limit, like “Hauteur "
        "maximale 2 m”, or “inconnu”.",
    },
    # --- Of rows together ------------------------------------------------------------------------
    "duplicate_point": {
        "fr": "« {value} » désigne plusieurs points : {others}. Aucun n’est publié : donnez à "
        "chacun son identifiant.",
        "en": "“{value}” names several points: {others}. None is published: give each its own "
        "identifier.",
    },
    "duplicate_exact": {
        "fr": "« {value} » figure déjà ligne {first}, à l’identique ; la première est gardée. "
        "Retirez celle-ci.",
        "en": "“{value}” stands on line {first} already, the same; the first is kept. Drop this "
        "one.",
    },
    "duplicate_older": {
        "fr": "« {value} » figure aussi ligne {first}, avec une date_maj plus récente, qui est "
        "gardée. Retirez celle-ci.",
        "en": "“{value}” stands on line {first} too, with a later date_maj, which is kept. Drop "
        "this one.",
    },
    "duplicate_undecided": {
        "fr": "« {value} » figure plusieurs fois (lignes {others}) avec la même date_maj et des "
        "valeurs différentes : aucune n’est gardée. Gardez une ligne par point.",
        "en": "“{value}” stands there several times (lines {others}) with one date_maj and other "
        "values: none is kept. Keep one line a point.",
    },
    "station_differs": {
        "fr": "« {value} » diffère de la première ligne de la station ({first}), qui porte "
        "« {meant} ». Répétez la même valeur sur toutes les lignes de la station.",
        "en": "“{value}” differs from the station's first line ({first}), which has “{meant}”. "
        "Repeat the same value on all lines of the station.",
    },
    "station_shared": {
        "fr": "la station {value} est déclarée par plusieurs sites : {others}. Donnez à chaque "
        "site son identifiant de station (site.afirev_station_id).",
        "en": "station {value} is declared by several sites: {others}. Give each site its own "
        "station identifier (site.afirev_station_id).",
    },
    "count_differs": {
        "fr": "{value} point(s) annoncé(s), {found} ligne(s) pour cette station. Écrivez {found}, "
        "ou ajoutez les lignes qui manquent.",
        "en": "{value} point(s) announced, {found} line(s) of this station. Write {found}, or add "
        "the lines that are missing.",
    },
    "connector_as_point": {
        "fr": "les points {others} n’ont chacun qu’une prise, d’un type différent : est-ce un seul "
        "point à plusieurs connecteurs ? Une ligne décrit un point (une voiture à la fois), avec "
        "toutes ses prises.",
        "en": "points {others} have one socket each, of different types: are they one point with "
        "several connectors? A line describes a point (one car at a time) with all its sockets.",
    },
    # --- Of what is stored -----------------------------------------------------------------------
    "stored": {
        "fr": "{reason}. Corrigez {member}.",
        "en": "{reason}. Correct {member}.",
    },
    "stored_missing": {
        "fr": "aucune valeur n’est enregistrée. Renseignez {member}.",
        "en": "no value is stored. Enter {member}.",
    },
    "stored_badly": {
        "fr": "la valeur enregistrée « {value} » est inutilisable : {reason}. Corrigez {member}.",
        "en": "the value stored, “{value}”, cannot be used: {reason}. Correct {member}.",
    },
    "no_site": {
        "fr": "la borne n’appartient à aucun site. Rattachez-la à un site.",
        "en": "the station belongs to no site. Give it one.",
    },
    "service_closed": {
        "fr": "le contrat du client {client} n’ouvre pas la déclaration sur data.gouv. Ajoutez "
        "l’option, ou déclarez le point non public.",
        "en": "the contract of client {client} does not open the declaration on data.gouv. Add the "
        "option, or declare the point not public.",
    },
}
"""`{value}` is the cell as written; the other names are the parts of the finding."""

EXPECTED: Final[dict[str, dict[str, str]]] = {
    "text": {"fr": "attend un texte", "en": "takes a text"},
    "email": {"fr": "attend une adresse électronique", "en": "takes an e-mail address"},
    "truth": {"fr": "attend vrai ou faux", "en": "takes true or false"},
    "integer": {"fr": "attend un nombre entier", "en": "takes a whole number"},
    "number": {"fr": "attend un nombre", "en": "takes a number"},
    "date": {"fr": "attend une date", "en": "takes a date"},
    "place": {"fr": "attend des degrés", "en": "takes degrees"},
    "words": {"fr": "attend une des valeurs : {words}", "en": "takes one of: {words}"},
}
"""What a member takes, where the rule that it breaks has no sentence of its own."""
