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
    """Inspect the modules of the application."""


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
