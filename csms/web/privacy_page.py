"""The page about personal data, public, in French or English: the register, told to people."""

from html import escape

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from csms import processing
from csms.processing import Activity, Basis, End, Register
from csms.web.rendering import language_of

router = APIRouter(include_in_schema=False)

_TEXTS = {
    "fr": {
        "title": "Données personnelles",
        "lead": "Ce que Time2Plug fait des données personnelles, pourquoi, et pendant combien de "
        "temps.",
        "purpose": "Finalité",
        "basis": "Base légale",
        "people": "Personnes",
        "data": "Données",
        "recipients": "Destinataires",
        "active": "Base active",
        "archive": "Archive intermédiaire",
        "end": "Ensuite",
        "rights": "Vos droits",
        "rights_text": "Vous pouvez demander l’accès à vos données, leur rectification, leur "
        "effacement, la limitation de leur traitement, leur portabilité, vous opposer à leur "
        "traitement ou faire fermer votre compte\u00a0: depuis votre compte, ou par écrit à "
        "{contact}. "
        "La réponse vient dans le mois\u202f; un compte est fermé sous quinze jours ouvrables. "
        "Réclamations\u00a0: {authority}.",
        "cookies": "Cookies",
        "cookies_text": "Uniquement des cookies strictement nécessaires\u00a0: aucune mesure "
        "d’audience, aucune publicité, donc aucun bandeau.",
        "name": "Nom",
        "lasts": "Durée",
        "other": "English",
        "home": "Accueil",
    },
    "en": {
        "title": "Personal data",
        "lead": "What Time2Plug does with personal data, why, and for how long.",
        "purpose": "Purpose",
        "basis": "Legal basis",
        "people": "People",
        "data": "Data",
        "recipients": "Recipients",
        "active": "Active base",
        "archive": "Intermediate archive",
        "end": "Afterwards",
        "rights": "Your rights",
        "rights_text": "You may ask for access to your data, their rectification or erasure, the "
        "restriction of their processing, their portability, object to their processing, or have "
        "your account closed: from your account, or in writing to {contact}. The answer comes "
        "within a month; an account is closed within fifteen working days. Complaints: "
        "{authority}.",
        "cookies": "Cookies",
        "cookies_text": "Strictly necessary cookies only: no audience measurement, no "
        "advertisement, hence no banner.",
        "name": "Name",
        "lasts": "Lasts",
        "other": "Français",
        "home": "Home",
    },
}
_BASES = {
    "fr": {
        Basis.CONTRACT: "Exécution du contrat",
        Basis.LEGAL_OBLIGATION: "Obligation légale",
        Basis.LEGITIMATE_INTEREST: "Intérêt légitime",
        Basis.CONSENT: "Consentement",
    },
    "en": {
        Basis.CONTRACT: "Performance of the contract",
        Basis.LEGAL_OBLIGATION: "Legal obligation",
        Basis.LEGITIMATE_INTEREST: "Legitimate interest",
        Basis.CONSENT: "Consent",
    },
}
_ENDS = {
    "fr": {
        End.DELETED: "Effacement",
        End.ANONYMISED: "Anonymisation",
        End.ARCHIVED: "Archive restreinte, puis effacement",
    },
    "en": {
        End.DELETED: "Deleted",
        End.ANONYMISED: "Anonymised",
        End.ARCHIVED: "Restricted archive, then deleted",
    },
}
_SHOWN = ("purpose", "people", "data", "recipients", "active", "archive")


@router.get("/confidentialite")
async def privacy_page(request: Request) -> HTMLResponse:
    """The register as a page, in the language that is asked for."""
    page = render(processing.register(), language_of(request))
    return HTMLResponse(page, headers={"Vary": "Accept-Language"})


def render(register: Register, language: str) -> str:
    """The page as HTML."""
    text = {name: escape(value) for name, value in _TEXTS[language].items()}
    contact = {name: escape(value) for name, value in register.controller.items()}
    other = "en" if language == "fr" else "fr"
    activities = "\n".join(_activity(a, text, language) for a in register.activities)
    cookies = "\n".join(
        f"<tr><td><code>{escape(cookie.name)}</code></td><td>{escape(cookie.purpose[language])}"
        f"</td><td>{escape(cookie.lasts[language])}</td></tr>"
        for cookie in register.cookies
    )
    return f"""<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text["title"]}</title>
<link rel="stylesheet" href="/static/site.css">
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
</head>
<body>
<header><h1>{text["title"]}</h1><p>{text["lead"]}</p></header>
<main>
{activities}
<h2>{text["rights"]}</h2>
<p>{text["rights_text"].format(**contact)}</p>
<h2>{text["cookies"]}</h2>
<p>{text["cookies_text"]}</p>
<div class="wide"><table>
<tr><th scope="col">{text["name"]}</th><th scope="col">{text["purpose"]}</th>
<th scope="col">{text["lasts"]}</th></tr>
{cookies}
</table></div>
</main>
<footer><nav>
<a href="/?lang={language}">{text["home"]}</a>
<a href="/confidentialite?lang={other}" hreflang="{other}" lang="{other}">{text["other"]}</a>
</nav></footer>
</body>
</html>
"""


def _activity(activity: Activity, text: dict[str, str], language: str) -> str:
    rows = [(text[name], getattr(activity, name)[language]) for name in _SHOWN]
    rows.insert(1, (text["basis"], _BASES[language][activity.basis]))
    rows.append((text["end"], _ENDS[language][activity.end]))
    lines = "\n".join(
        f'<tr><th scope="row">{name}</th><td>{escape(value)}</td></tr>' for name, value in rows
    )
    return f"""<h2>{escape(activity.name[language])}</h2>
<div class="wide"><table class="facts">
{lines}
</table></div>"""
