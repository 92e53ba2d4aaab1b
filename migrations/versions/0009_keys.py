"""keys: lookup keys of e-mail addresses and usernames, independent of the database's locale"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

# The function that sign-in uses, not a copy: other keys would not match at sign-in.
from backend.addresses.account_names import name_key
from backend.db.errors import MigrationRefusedError

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BATCH = 5_000
# Smaller tables are converted within seconds, so they need no progress report.
REPORT_EVERY = 100_000
NAMED = 5
KEY = sa.String(collation="C")


def upgrade() -> None:
    op.add_column("users", sa.Column("email_key", KEY, nullable=True))
    op.add_column("users", sa.Column("username_key", KEY, nullable=True))
    op.add_column("mailed_tokens", sa.Column("email_key", KEY, nullable=True))
    _fill("users", ("email", "username"))
    _fill("mailed_tokens", ("email",))
    _refuse_twins()
    op.alter_column("users", "email_key", nullable=False)
    op.alter_column("mailed_tokens", "email_key", nullable=False)
    op.drop_index("ix_users_email_lower", "users")
    op.drop_index("ix_users_username_lower", "users")
    op.drop_index("ix_users_by_username", "users")
    op.drop_index("ix_mailed_tokens_registrations", "mailed_tokens")
    op.create_index("ix_users_email_key", "users", ["email_key"], unique=True)
    op.create_index("ix_users_username_key", "users", ["username_key"], unique=True)
    _create_shared_indexes("email_key", "username_key")


def downgrade() -> None:
    op.drop_index("ix_mailed_tokens_registrations", "mailed_tokens")
    op.drop_index("ix_users_by_username", "users")
    op.create_index(
        "ix_users_email_lower", "users", [sa.literal_column("lower(email)")], unique=True
    )
    op.create_index(
        "ix_users_username_lower", "users", [sa.literal_column("lower(username)")], unique=True
    )
    _create_shared_indexes("lower(email)", "lower(username)")
    # PostgreSQL drops their indexes as well.
    op.drop_column("mailed_tokens", "email_key")
    op.drop_column("users", "username_key")
    op.drop_column("users", "email_key")


def _create_shared_indexes(email: str, username: str) -> None:
    op.create_index(
        "ix_users_by_username",
        "users",
        [sa.literal_column(f"coalesce({username}, '')"), sa.column("id")],
    )
    op.create_index(
        "ix_mailed_tokens_registrations",
        "mailed_tokens",
        [sa.literal_column(email)],
        postgresql_where=sa.text("purpose = 'registration' AND ended_at IS NULL"),
    )


def _fill(name: str, names: Sequence[str]) -> None:
    """Compute the keys of all rows, in batches of `BATCH` rows."""
    connection = op.get_bind()
    keys = [f"{each}_key" for each in names]
    table = sa.table(name, *map(sa.column, ("id", *names, *keys)))
    found = (
        sa.func.unnest(
            sa.cast(sa.bindparam("ids"), ARRAY(sa.Uuid)),
            *(sa.cast(sa.bindparam(key), ARRAY(sa.Text)) for key in keys),
        )
        .table_valued("id", *keys)
        .render_derived()
    )
    update = (
        sa.update(table).values({key: found.c[key] for key in keys}).where(table.c.id == found.c.id)
    )
    done = 0
    for rows in _batches(connection, table, names):
        values: dict[str, list[Any]] = {"ids": [row.id for row in rows]}
        for each, key in zip(names, keys, strict=True):
            spelled = (getattr(row, each) for row in rows)
            values[key] = [None if text is None else name_key(text) for text in spelled]
        connection.execute(update, values)
        done += len(rows)
        if done % REPORT_EVERY == 0:
            sys.stderr.write(f"{done} rows of {name} have their keys ...\n")


def _batches(
    connection: sa.Connection, table: sa.TableClause, names: Sequence[str]
) -> Iterator[Sequence[sa.Row[Any]]]:
    id = sa.cast(table.c.id, sa.Uuid)
    select = sa.select(id.label("id"), *(table.c[name] for name in names))
    select = select.where(id > sa.bindparam("last", type_=sa.Uuid)).order_by(id).limit(BATCH)
    last = UUID(int=0)
    while rows := connection.execute(select, {"last": last}).all():
        yield rows
        last = rows[-1].id


def _twins(key: str) -> Iterator[Sequence[UUID]]:
    table = sa.table("users", sa.column("id", sa.Uuid), sa.column(key), sa.column("created_at"))
    ids = sa.func.array_agg(aggregate_order_by(table.c.id, table.c.created_at, table.c.id))
    select = sa.select(ids).where(table.c[key].is_not(None)).group_by(table.c[key])
    select = select.having(sa.func.count() > 1).order_by(sa.func.min(table.c.created_at))
    for (found,) in op.get_bind().execute(select):
        yield found


def _refuse_twins() -> None:
    """Raise `MigrationRefusedError` if accounts share a key: a person decides which one stays."""
    found = [
        f"{' and '.join(map(str, ids))} have the same {thing}"
        for thing, key in (("e-mail address", "email_key"), ("username", "username_key"))
        for ids in _twins(key)
    ]
    if not found:
        return
    more = f", and {len(found) - NAMED} more groups do" if len(found) > NAMED else ""
    raise MigrationRefusedError(
        "Without regard to case and composition, the accounts "
        f"{', the accounts '.join(found[:NAMED])}{more}: give all but one of each another or "
        "delete them, with the present version or in the table users, and run this again; "
        "nothing was changed."
    )
