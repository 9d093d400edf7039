"""The letters of our documents: Source Sans, which a package brings (SIL Open Font License 1.1).

Embedded in every PDF, so that it looks the same everywhere; holds the narrow no-break space.
"""

from importlib.resources import as_file, files
from typing import Final

from fpdf import FPDF

FAMILY: Final = "Source Sans"
_FILES: Final = {"": "SourceSansPro-Regular.ttf", "B": "SourceSansPro-Semibold.ttf"}


def add_fonts(pdf: FPDF) -> None:
    """Let the document use the family, upright and bold."""
    for style, name in _FILES.items():
        with as_file(files("font_source_sans_pro") / "files" / name) as path:
            pdf.add_font(FAMILY, style, path)
