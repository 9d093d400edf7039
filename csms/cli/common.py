"""What all verbs share: settings, the database, tables, and how to fail."""

import asyncio
import importlib
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from csms.config import Settings
    from csms.db import Database

Result = TypeVar("Result")

FAILED = 1
"""Exit code of a verb that could not do its work; 2 is a wrong call."""

ACTOR = "command line"
"""Who does what is done here, as the audit names it."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def fail(message: str, code: int = FAILED) -> NoReturn:
    """End the command with a sentence on standard error."""
    typer.echo(f"time2plug: {message}", err=True)
    raise typer.Exit(code)


def settings() -> "Settings":
    """The settings, or a sentence that says which one is wrong."""
    from csms import config

    try:
        return config.load()
    except (config.SettingError, OSError, ValueError) as error:
        fail(str(error), 2)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a verb to its end; expected failures become one sentence."""
    import psycopg

    from csms.config import SettingError
    from csms.registry import Refusal

    try:
        return asyncio.run(work)
    except (SettingError, Refusal) as error:
        fail(str(error))
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        fail("the database is not up to date: run `time2plug migrate` first")
    except psycopg.errors.InsufficientPrivilege as error:
        fail(f"the database refuses: {_first_line(error)}")
    except psycopg.OperationalError as error:
        fail(f"the database does not answer: {_first_line(error)}")
    except OSError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", 130)


@asynccontextmanager
async def open_migrated(given: "Settings | None" = None) -> AsyncIterator["Database"]:
    """The database, the embedded one too, shared with a running server.

    The embedded one is ours alone and brought up to date at once; a database that the operator
    gave is migrated by `time2plug migrate` or `serve` only.
    """
    from csms import db

    chosen = given or settings()
    async with db.open_database(chosen) as database:
        if chosen.database_url is None:
            await db.migrate(database)
        yield database


@asynccontextmanager
async def transaction() -> AsyncIterator["AsyncConnection"]:
    """One connection in one transaction, committed at the end of the block."""
    from csms import db

    async with open_migrated() as database:
        connection = await db.connect(database, application_name="time2plug-cli")
        try:
            async with connection.transaction():
                yield connection
        finally:
            await connection.close()


def now() -> datetime:
    """The moment of the command."""
    return datetime.now(UTC)


def load_part(module: str, name: str) -> Callable[..., Any]:
    """A function of a part that loads slowly, or that is not shipped everywhere."""
    try:
        part = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        fail(f"this installation has no {module}")
    found: Callable[..., Any] = getattr(part, name)
    return found


@contextmanager
def byte_counter(what: str) -> Iterator[Callable[[int], None]]:
    """Show how many megabytes were handled so far; call the result with the bytes."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed:,.1f} MB " + what), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda size_bytes: shown.update(task, completed=size_bytes / 1e6)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows as a table that fits the terminal; piped, one line a row with tabs between."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        for row in [columns, *rows]:
            typer.echo("\t".join(_cell(value) for value in row))
        return
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_escaped(_cell(value)) for value in row))
    console.print(table)


def show_json(value: object) -> None:
    """A record or a list of records as JSON, for programs."""
    records = [_plain(v) for v in value] if isinstance(value, list) else _plain(value)
    typer.echo(json.dumps(records, ensure_ascii=False, indent=2, default=_text))


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _text(value: object) -> str:
    """RFC 3339 of a time; the text of anything else that JSON does not know."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def _cell(value: object) -> str:
    """A value as text. Stations write some of them: no control character reaches a terminal."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, list):
        return " ".join(_cell(part) for part in value) or "-"
    return _CONTROL.sub("?", str(value))


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
