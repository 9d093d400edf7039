"""A report as a file: JSON for programs, HTML, PDF and a workbook for people."""

import json
from typing import Any, Final, Literal

from reporting import sheet_html, sheet_pdf, sheet_xlsx
from reporting.sheet import Sheet

Format = Literal["json", "html", "pdf", "xlsx"]
FORMATS: Final = ("json", "html", "pdf", "xlsx")
MEDIA_TYPES: Final = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def render(
    sheet: Sheet, told: dict[str, Any], file_format: str, *, link: str | None = None
) -> bytes:
    """The bytes of a report; `told` is what programs are given, `link` as `sheet_html.document` has
    it. Takes seconds for large ones."""
    if file_format == "json":
        return (json.dumps(told, ensure_ascii=False, indent=1) + "\n").encode()
    if file_format == "html":
        return sheet_html.document(sheet, link=link).encode()
    if file_format == "pdf":
        return sheet_pdf.render(sheet)
    return sheet_xlsx.render(sheet)


def file_name(kind: str, span: object, of: str, file_format: str, language: str) -> str:
    """disponibilite-2026-10-les-tilleuls.pdf: safe anywhere."""
    named = {"availability": "disponibilite", "consumption": "consommation"}
    name = named[kind] if language == "fr" else kind
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in of)
    short = "-".join(part for part in plain.lower().split("-") if part)[:60]
    return f"{name}-{str(span).replace('..', '-')}-{short or 'all'}.{file_format}"
