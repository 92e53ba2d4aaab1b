"""Declarations of `backend module ...` and their --help texts."""

from enum import StrEnum
from typing import Annotated

import typer

module = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


class GraphFormat(StrEnum):
    text = "text"
    mermaid = "mermaid"


@module.callback()
def about_modules() -> None:
    """Inspect, draw, add and remove the modules of the application."""


@module.command("list")
def list_modules() -> None:
    """List the modules with their dependencies, routes, tables and permissions, and the events."""
    from backend.cli.listing import modules

    modules()


@module.command()
def graph(
    form: Annotated[
        GraphFormat, typer.Option("--format", help="Lines of text, or a Mermaid flowchart.")
    ] = GraphFormat.text,
) -> None:
    """Print which modules depend on which, dependencies first."""
    from backend.cli.module_graph import run

    run(form)


@module.command()
def remove(
    name: Annotated[str, typer.Argument(help="The module's folder, such as notes.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed, but change nothing.")
    ] = False,
) -> None:
    """Remove a module that nothing depends on: its folder, its tests, its tables.

    Lists what uses the module, by file and line, and stops if there is anything. Refuses folders
    with changes that are not committed. The tables and permissions go with a migration that it
    writes, as `backend db revision` does.
    """
    from backend.cli.module_removal import run

    run(name, dry_run=dry_run, confirmed=yes)


@module.command()
def new(
    name: Annotated[str, typer.Argument(help="Name in the plural, such as purchase_orders.")],
    fields: Annotated[
        str,
        typer.Option(
            help="Fields, comma separated: name:type, with ? if optional, :unique (for each "
            "owner), :max=N (characters)."
        ),
    ] = "name:str, description:text?",
    singular: Annotated[
        str | None, typer.Option(help="Name of one row, if it cannot be derived.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files, but write none.")
    ] = False,
) -> None:
    """Write a module for rows that belong to users: code, migration and tests.

    Types: str, text, int, decimal or decimal(10,4), bool, date, datetime, uuid, email, url,
    enum(draft,sent,paid), ref(users) or ref to the rows of another module.

    backend module new invoices --fields "number:str:unique, amount:decimal,
    status:enum(draft,sent,paid), due_on:date?, customer:ref(users)"

    It loads the module before it writes anything, needs no database, and never overwrites a file.
    """
    from backend.cli.scaffold.command import run

    run(name, fields, singular, dry_run=dry_run)
