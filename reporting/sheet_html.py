"""A report as a page: a part for a page of ours, or a whole document that stands alone."""

import base64
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from reporting import sheet as sheets
from reporting.sheet import Column, Picture, Sheet


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["source"] = _source
    environment.globals["is_figure"] = _is_figure
    return environment


def part(sheet: Sheet) -> str:
    """What stands below the head of a page, without styles of its own."""
    return _environment().get_template("report_part.html").render(sheet=sheet, texts=_texts(sheet))


def document(sheet: Sheet, *, link: str | None = None) -> str:
    """The whole document; `link`: the address of its styles (`styles`). None: they stand in it, and
    it is a file that opens anywhere."""
    template = _environment().get_template("report.html")
    return template.render(sheet=sheet, texts=_texts(sheet), link=link)


def styles() -> str:
    """The styles of a document that only links to them."""
    return files("reporting").joinpath("templates", "report.css").read_text(encoding="utf-8")


def _texts(sheet: Sheet) -> Callable[[Sequence[object], Sequence[Column]], list[str]]:
    return lambda row, columns: sheets.texts(row, columns, sheet.language)


def _source(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.png).decode()


def _is_figure(column: Column) -> bool:
    return sheets.is_figure(column.kind)
