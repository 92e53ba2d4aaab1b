"""Declarations of the commands about the project itself, and their --help texts."""

from typing import Annotated

import typer


def version() -> None:
    """Print the name and the version of the product."""
    from backend.cli.terminal import say
    from backend.product import TITLE, VERSION

    say(f"{TITLE} {VERSION}")


def upgrade_check(
    against: Annotated[
        str | None,
        typer.Option(
            metavar="RELEASE",
            help="A later release of Trellis: its folder, its trellis.manifest, or a revision of "
            "this git repository, such as a fetched tag.",
        ),
    ] = None,
) -> None:
    """Compare a project that started from Trellis with its release, and with a later one.

    Names the files of Trellis that the project has changed, removed or added, and with --against
    those among them that the later release changes too. Exit code 1 if an upgrade needs a
    decision.
    """
    from backend.cli.upgrade_check import run

    raise typer.Exit(run(against))


def rename(
    name: Annotated[
        str, typer.Argument(help="Such as 'Your Product'; its package is your-product.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files that would change.")
    ] = False,
) -> None:
    """Give the project the name of your product, before the first installation.

    Changes the title, package, mails, containers, services and their documents; run it again after
    each upgrade. Needs a git repository without uncommitted changes.
    """
    from backend.cli.rename import run

    run(name, dry_run=dry_run)
