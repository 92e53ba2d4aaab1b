"""Command declarations and their --help texts. Implementations are imported on execution."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from backend.cli import project
from backend.cli.modules import module
from backend.cli.terminal import exit_on_signals

# Plain text: importing rich would take longer than the rest of --help.
app = typer.Typer(
    help="Run and operate the application.",
    epilog="Settings come from the environment and from .env; .env.example lists them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)
db = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
users = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
audit = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Host = Annotated[
    str, typer.Option(help="Address to listen on; 0.0.0.0 accepts other machines as well.")
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Port to listen on; 0 selects a free one.")
]
MetricsHost = Annotated[
    str, typer.Option(help="Address of /metrics, if WORKER_METRICS_PORT is set.")
]


@app.command()
def dev(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Start everything for development: database, migrations, API and worker.

    Without DATABASE_URL it starts an embedded PostgreSQL, which stores its data in the data
    folder. It creates a first administrator, prints how to sign in, and restarts the API and the
    worker whenever the code changes. Ctrl-C stops everything.
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
    development and test, without DATABASE_URL, it starts the embedded database and migrates it.

    On SIGTERM it reports not ready, serves requests for SHUTDOWN_DELAY seconds more, finishes the
    running ones, and exits with code 0.
    """
    # uvicorn handles the first signal by a graceful stop, and raises it again afterwards.
    exit_on_signals((signal.SIGINT, signal.SIGTERM), code=0)
    from backend.cli.serve import run

    run(host, port, workers)


@app.command()
def worker(host: MetricsHost = "127.0.0.1") -> None:
    """Run background jobs, such as sending mail.

    Any number of workers may run, on any machine that reaches the database; each job runs in one
    of them. While the database is down, or not migrated, the worker waits. Only in development
    and test, without DATABASE_URL, it starts the embedded database and migrates it.

    On SIGTERM the running jobs have up to 20 seconds to finish; then the worker exits with code
    0. Unfinished jobs are requeued and start from the beginning in another worker.
    """
    exit_on_signals(code=0)
    from backend.cli.worker import run

    run(host=host)


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
    api_version: Annotated[
        int | None, typer.Option(help="Version of the API; without it, --output writes all.")
    ] = None,
) -> None:
    """Print the OpenAPI document as JSON, for client generators.

    --output writes that of version 1, and those of later versions beside it: openapi.v2.json.
    """
    from backend.cli.listing import openapi

    openapi(output, api_version)


@app.command()
def doctor(host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Check whether the application can run here.

    Prints one line per check, with the remedy if it fails. Exit code 1 if any check fails.
    """
    from backend.cli.doctor import run

    raise typer.Exit(run(host, port))


@db.callback()
def about_db() -> None:
    """Migrate the schema, compare it with the code, write migrations."""


@db.command()
def upgrade(
    revision: Annotated[str, typer.Argument(help="Revision to reach, such as 0002.")] = "head",
) -> None:
    """Migrate to the newest or another revision.

    Safe to run several times at once: one process migrates, the others wait for it. If a table
    is locked, it tries again for about two minutes, and names the process that is in the way.
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
    """Revert migrations. Data in the tables and columns that they added is lost."""
    from backend.cli.schema import downgrade

    downgrade(revision)


@db.command()
def check() -> None:
    """Report differences between the migrations and the code, and migrations that lock tables.

    Compares the tables in the code with the database of DATABASE_URL. Without DATABASE_URL it
    runs all migrations on a temporary empty database, which also tests the migrations. On such a
    database it also observes what each migration locks, and refuses those that would disturb the
    release that serves. Exit code 1 with the differences and refusals, if there are any.
    """
    from backend.cli.comparison import check

    check()


@db.command()
def revision(
    message: Annotated[str, typer.Argument(help='What changes, such as "add invoices".')],
) -> None:
    """Write a migration for changed tables.

    Migrates the development database first, and compares the code with it.
    """
    from backend.cli.revision import revision

    revision(message)


@db.command()
def backup(file: Annotated[Path, typer.Argument(help="File to write; it must not exist.")]) -> None:
    """Write the database to one file, while it is in use.

    The file is consistent, compressed and carries its checksum. It contains personal data, but
    not SECRET_KEY. Needs pg_dump, at least as new as the server; the embedded PostgreSQL has it.
    """
    exit_on_signals()
    from backend.cli.backup import run

    run(file)


@db.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file of `backend db backup`.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the contents of a database that is not empty.")
    ] = False,
) -> None:
    """Load a backup into an empty database, and verify it.

    Stop servers and workers first. Checks the file's checksum, the number of rows of each table
    and the audit record. If anything fails, the former contents stay. Exit code 1 if the audit
    record does not match its seals.
    """
    exit_on_signals()
    from backend.cli.restore import run

    raise typer.Exit(run(file, force=force))


@db.command()
def seed() -> None:
    """Fill a development database with plausible data, the same each time.

    Creates users, items and articles. All accounts have the password that it prints.
    """
    from backend.cli.seed import run

    run()


@users.callback()
def about_users() -> None:
    """Create and import accounts."""


@users.command("create-admin")
def create_admin(
    email: Annotated[str | None, typer.Option(help="Prompted for if not given.")] = None,
    password: Annotated[
        str | None,
        typer.Option(
            envvar="FIRST_ADMIN_PASSWORD",
            show_envvar=False,
            help="Visible to all users of this machine in the process list: leave it out and type "
            "it at the prompt, or set the environment variable FIRST_ADMIN_PASSWORD.",
        ),
    ] = None,
) -> None:
    """Create an account with the role admin."""
    from backend.cli.accounts import create_admin

    create_admin(email, password)


@users.command("import")
def import_users(
    file: Annotated[Path, typer.Argument(help="CSV or NDJSON, in UTF-8.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and report, but change nothing.")
    ] = False,
) -> None:
    """Create accounts from a file: all of them, or none if a line is refused.

    Columns of the CSV, or members of each line of NDJSON: email (required), username, full_name,
    is_active, is_verified, roles (separated by ';'), password_hash. The hash is a bcrypt hash; its
    owner signs in with the same password as before. Without it, the owner requests a link to set
    a password. No mail is sent.

    Exit code 1 if any line is refused; each is listed with the reason.
    """
    from backend.cli.imports import run

    run(file, dry_run=dry_run)


@audit.callback()
def about_audit() -> None:
    """Verify the audit record."""


@audit.command("verify")
def verify_audit(
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER:DIGEST",
            help="A seal from the log event audit_sealed. Only a comparison with the log detects "
            "that the end of the record was cut off.",
        ),
    ] = None,
) -> None:
    """Check the audit record for tampering.

    Compares every event with its seal, and every seal with the previous one. Exit code 1 with the
    first findings, if there are any.
    """
    from backend.cli.audit import verify

    raise typer.Exit(verify(anchor))


app.add_typer(db, name="db")
app.add_typer(users, name="users")
app.add_typer(audit, name="audit")
app.add_typer(module, name="module")
app.command()(project.version)
app.command("upgrade-check")(project.upgrade_check)
app.command()(project.rename)
