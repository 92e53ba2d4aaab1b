"""Event handlers run in order and in the publisher's transaction; all subscriptions are listed."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.app import create_app
from backend.core.context import Context
from backend.core.events import Event, on, publish
from backend.core.module import Module
from backend.core.stored_events import event_name
from backend.modules.users import events
from tests.actors import PASSWORD, Actor, ActorFactory
from tests.applications import MODULES, make_context
from tests.dropped_modules import discovered_with
from tests.sessions import execute

ME = "/api/v1/users/me"
# The whole table: event, then module and handler in the order of the calls.
LISTENERS = {
    "users.PasswordChanged": ["auth.end_other_sessions"],
    "users.SessionsRevoked": ["auth.end_all_sessions"],
    "users.EmailChangeRequested": ["accounts.mail_change_link"],
    "users.EmailChangeCancelled": ["accounts.end_change_links"],
    "users.EmailChanged": [
        "auth.end_sessions_of_former_owner",
        "accounts.end_links_and_notify",
    ],
    "users.UsersInvited": ["accounts.mail_invitations"],
    "users.ProfileChanged": ["articles.drop_articles_of_changed_author"],
    "users.UserDeleted": [
        "articles.drop_articles_of_deleted_author",
        "auth.clear_own_cookies",
    ],
}

# The same for deliveries after the commit, by their names.
DURABLE = {"users.PasswordChanged": ["accounts.notify_password_change"]}


def test_who_listens_to_what(context: Context) -> None:
    """The table of the shipped modules; modules of a team may subscribe as well."""
    found: dict[str, list[str]] = {}
    for event, handlers in context.subscribers.items():
        names = [f"{each.__module__.split('.')[2]}.{each.__name__}" for each in handlers]
        found[event_name(event)] = [each for each in names if is_shipped(each)]
    assert {event: names for event, names in found.items() if names} == LISTENERS
    durable = {
        event_name(event): [each.name for each in subscribers if is_shipped(each.name)]
        for event, subscribers in context.durable_subscribers.items()
    }
    assert {event: names for event, names in durable.items() if names} == DURABLE


def is_shipped(handler: str) -> bool:
    return handler.split(".", maxsplit=1)[0] in {
        each.split(".")[0] for names in LISTENERS.values() for each in names
    }


def test_every_event_has_a_listener() -> None:
    defined = {
        each.__name__ for each in Event.__subclasses__() if each.__module__ == events.__name__
    }
    assert {f"users.{name}" for name in defined} == LISTENERS.keys() | DURABLE.keys()


@dataclass(frozen=True)
class Rung(Event):
    by: str


@dataclass(frozen=True)
class Knocked(Event):
    pass


def test_mypy_compares_handler_and_event() -> None:
    async def hear_knock(_: Context, session: AsyncSession, event: Knocked) -> None: ...

    # If this were no error, mypy would report the comment as unused.
    mistaken = on(Rung, hear_knock)  # type: ignore[arg-type]
    assert mistaken.event is Rung


async def test_handlers_run_one_after_the_other_in_the_session_of_the_publisher(
    database_url: str,
) -> None:
    heard: list[tuple[str, AsyncSession, Rung]] = []

    async def first(_: Context, session: AsyncSession, event: Rung) -> None:
        heard.append(("begin", session, event))
        await publish(context, session, Knocked())
        heard.append(("end", session, event))

    async def second(_: Context, session: AsyncSession, event: Rung) -> None:
        heard.append(("second", session, event))

    hall = Module(name="made_hall", subscribers=(on(Rung, first),))
    attic = Module(name="made_attic", subscribers=(on(Rung, second),))
    context = make_context(database_url, (*MODULES, hall, attic))
    event = Rung("Ada")
    async with context.database.transaction() as session:
        await publish(context, session, event)
        assert heard == [(name, session, event) for name in ("begin", "end", "second")]
    await context.database.close()


FILES = {
    "__init__": '"""Watch: remembers changed passwords, and keeps all accounts."""\n',
    "manifest": """
from backend.core.events import on
from backend.core.module import Module
from backend.modules.users.events import PasswordChanged, UserDeleted
from backend.modules.made_watch import subscribers

module = Module(
    name="made_watch",
    depends_on=("audit", "users"),
    subscribers=(
        on(PasswordChanged, subscribers.remember),
        on(UserDeleted, subscribers.keep),
    ),
)
""",
    "subscribers": """
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.errors import ConflictError
from backend.modules.audit import service as audit
from backend.modules.users.events import PasswordChanged, UserDeleted


async def remember(_: Context, session: AsyncSession, event: PasswordChanged) -> None:
    await audit.record(session, "watch.password", target=("user", event.user_id))


async def keep(_: Context, session: AsyncSession, event: UserDeleted) -> None:
    await audit.record(session, "watch.deleted", target=("user", event.user_id))
    raise ConflictError
""",
}


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[tuple[Module, ...]]:
    """The discovered modules, including one additional folder."""
    folder = tmp_path / "made_watch"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(text)
    with discovered_with(folder) as found:
        yield found


@pytest.fixture
async def watched(database_url: str, modules: tuple[Module, ...]) -> AsyncIterator[Actor]:
    context = make_context(database_url, modules)
    factory = ActorFactory(create_app(context, modules), context)
    async with factory.stack:
        yield await factory("ada")
    await context.database.close()


async def actions(url: str) -> list[str]:
    rows = await execute(url, "SELECT action FROM audit_events ORDER BY id")
    return [row["action"] for row in rows]


async def test_a_dropped_in_module_listens(watched: Actor, database_url: str) -> None:
    body = {"current_password": PASSWORD, "new_password": "another one of them"}
    assert (await watched.put(f"{ME}/password", json=body)).status_code == 204
    found = await actions(database_url)
    assert {"watch.password", "auth.password_change"} <= set(found)


async def test_what_it_raises_rolls_everything_back(watched: Actor, database_url: str) -> None:
    before = await actions(database_url)
    refused = await watched.delete(ME)
    assert (refused.status_code, refused.json()["error"]) == (409, "CONFLICT")
    assert await actions(database_url) == before
    assert (await watched.get(ME)).json()["email"] == watched.email
