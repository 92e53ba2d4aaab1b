"""The commands, and what their --help says. What they do is imported when they are run."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from backend.cli.terminal import exit_on_signals

# Plain text: importing rich costs more than everything else that --help does.
app = typer.Typer(
    help="Run Trellis and look after it.",
    epilog="Settings come from the environment and from .env; .env.example lists them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)
db = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
users = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
module = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
audit = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Host = Annotated[
    str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines call as well.")
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes one that is free.")
]


@app.command()
def dev(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Start everything for development: database, migrations, API.

    Without DATABASE_URL it brings a PostgreSQL of its own, whose data it keeps in the data
    folder. It makes a first administrator, prints how to sign in, and starts the API again
    whenever its code changes. Ctrl-C stops everything.
    """
    exit_on_signals(code=0)
    from backend.cli.dev import run

    raise typer.Exit(run(host, port))


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes; about as many as there are cores.")
    ] = 1,
) -> None:
    """Start the API for production.

    It does not migrate: run `backend db upgrade` first, or /health/ready answers 503. Only in
    development and test, without DATABASE_URL, it brings the embedded database and migrates it.

    SIGTERM makes it not ready, lets it answer for SHUTDOWN_DELAY seconds more, finishes the
    requests that are running, and stops it with exit code 0.
    """
    # uvicorn takes the first of these to stop gracefully, and repeats it when it has stopped.
    exit_on_signals((signal.SIGINT, signal.SIGTERM), code=0)
    from backend.cli.serve import run

    run(host, port, workers)


@app.command()
def worker() -> None:
    """Run what is to be done later, such as sending mail.

    Any number may run, on any machine that reaches the database; each job goes to one of them.
    While the database is down, or not migrated, it waits. Only in development and test, without
    DATABASE_URL, it brings the embedded database and migrates it.

    SIGTERM lets the jobs that are running finish, for up to 20 seconds, and stops it with exit
    code 0. What is not finished by then is given back, and begins anew in another worker.
    """
    exit_on_signals(code=0)
    from backend.cli.worker import run

    run()


@app.command()
def routes() -> None:
    """List every route: method, path, who may call it, and its module."""
    from backend.cli.listing import routes

    routes()


@app.command()
def openapi(
    output: Annotated[
        Path | None, typer.Option(help="File to write; without it, standard output.")
    ] = None,
) -> None:
    """Print the OpenAPI document as JSON, for generators of clients."""
    from backend.cli.listing import openapi

    openapi(output)


@app.command()
def doctor(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Check whether Trellis can run here.

    Prints a line for each thing it looked at, and how to mend what is wrong. Exit code 1 if
    anything is.
    """
    from backend.cli.doctor import run

    raise typer.Exit(run(host, port))


@db.callback()
def about_db() -> None:
    """Move the schema, compare it with the code, write migrations."""


@db.command()
def upgrade(
    revision: Annotated[str, typer.Argument(help="Revision to reach, such as 0002.")] = "head",
) -> None:
    """Migrate to the newest or another revision.

    Safe to run from several places at once: one migrates, the others find it done.
    """
    from backend.cli.schema import upgrade

    upgrade(revision)


# As in `downgrade -1`.
@db.command(context_settings={"ignore_unknown_options": True})
def downgrade(
    revision: Annotated[
        str, typer.Argument(help="Revision to go back to: 0001, -1 for one step, base for none.")
    ],
) -> None:
    """Take migrations back. What only they had room for is lost."""
    from backend.cli.schema import downgrade

    downgrade(revision)


@db.command()
def check() -> None:
    """Find what the migrations lack.

    Compares the tables in the code with the database of DATABASE_URL. Without DATABASE_URL it
    runs all migrations on an empty database of its own, and so tests the migrations themselves.
    Exit code 1 with the differences, if there are any.
    """
    from backend.cli.comparison import check

    check()


@db.command()
def revision(
    message: Annotated[str, typer.Argument(help='What changes, such as "add invoices".')],
) -> None:
    """Write a migration for changed tables.

    It migrates the development database first, because it compares the code with that.
    """
    from backend.cli.revision import revision

    revision(message)


@users.callback()
def about_users() -> None:
    """Accounts."""


@users.command("create-admin")
def create_admin(
    email: Annotated[str | None, typer.Option(help="Asked for when not given.")] = None,
    password: Annotated[
        str | None,
        typer.Option(
            envvar="FIRST_ADMIN_PASSWORD",
            show_envvar=False,
            help="Everybody on this machine sees it in the list of processes: better leave it out "
            "and type it when asked, or put it into the environment variable "
            "FIRST_ADMIN_PASSWORD.",
        ),
    ] = None,
) -> None:
    """Make an account with the role admin."""
    from backend.cli.accounts import create_admin

    create_admin(email, password)


@users.command("import")
def import_users(
    file: Annotated[Path, typer.Argument(help="CSV or NDJSON, in UTF-8.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
    ] = False,
) -> None:
    """Make accounts from a file: all of them, or none if a line is refused.

    Columns of the CSV, or members of each line of NDJSON: email (needed), username, full_name,
    is_active, is_verified, roles (separated by ';'), password_hash. A hash is one of bcrypt; its
    owner signs in with the same password as before. Without one they ask for a link to set a
    password. Nobody is mailed.

    Exit code 1 if anything is refused; the lines are named, and what is wrong with them.
    """
    from backend.cli.imports import run

    run(file, dry_run=dry_run)


@module.callback()
def about_modules() -> None:
    """The features this application is made of."""


@module.command("list")
def list_modules() -> None:
    """List the modules: what they depend on, their routes, tables and permissions."""
    from backend.cli.listing import modules

    modules()


@audit.callback()
def about_audit() -> None:
    """The record of what was done."""


@audit.command("verify")
def verify_audit(
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER:DIGEST",
            help="A seal as the log tells it (audit_sealed). Whoever cuts off the end of the "
            "record can hide that from everything but the log.",
        ),
    ] = None,
) -> None:
    """Find out whether the record was tampered with.

    Holds every event against the seal that was made of it, and every seal against the one before.
    Exit code 1 with the first things that are wrong, if there are any.
    """
    from backend.cli.audit import verify

    raise typer.Exit(verify(anchor))


app.add_typer(db, name="db")
app.add_typer(users, name="users")
app.add_typer(audit, name="audit")
app.add_typer(module, name="module")
