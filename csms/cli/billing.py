"""`time2plug billing`: money received, the proof of the books, files for accountants.

Other modules of csms.cli named billing_* register their verbs on `app` and `export` too.
"""

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Billing: receipts, the checks of the books, files for accountants. Every verb may run "
    "again: what is there already stays as it is.",
)
export = typer.Typer(no_args_is_help=True, help="Write files for accountants and platforms.")
app.add_typer(export, name="export")
