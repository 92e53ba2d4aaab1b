"""The broker of docs/events.md: its code relays events to a real Redis, once and in order."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from backend.core.app import create_app
from backend.core.module import Module
from tests.actors import Actor, ActorFactory
from tests.applications import make_context
from tests.architecture import ROOT
from tests.dropped_modules import discovered_with
from tests.jobs import run_jobs
from tests.redis_servers import RedisServer, redis_server
from tests.sessions import execute

PAGE = (ROOT / "docs" / "events.md").read_text("utf-8")
FILES = re.findall(r"^`(\w+\.py)`\n\n```python\n(.*?)```$", PAGE, re.MULTILINE | re.DOTALL)
ME = "/api/v1/users/me"


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[tuple[Module, ...]]:
    """The discovered modules, including the one of the page."""
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Relays changes to a broker."""\n')
    for name, code in FILES:
        (folder / name).write_text(code)
    with discovered_with(folder) as found:
        yield found


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def actors(
    database_url: str, modules: tuple[Module, ...], redis: RedisServer
) -> AsyncIterator[ActorFactory]:
    # Redis is needed by the relay alone.
    context = make_context(
        database_url,
        modules,
        redis_url=redis.url,
        rate_limit_storage="postgres",
        cache_storage="none",
    )
    factory = ActorFactory(create_app(context, modules), context)
    async with factory.stack:
        yield factory
    await context.close()


def relayed(redis: RedisServer) -> list[str]:
    """Return the ids of the users in the stream, in its order."""
    entries = redis.command("XRANGE profiles - +")
    return re.findall(r"^user_id\n\$\d+\n(\S+)$", entries, re.MULTILINE)


async def rename(actor: Actor, name: str) -> None:
    assert (await actor.patch(ME, json={"full_name": name})).status_code == 200


def test_the_page_shows_a_module_in_twenty_lines() -> None:
    assert [name for name, _ in FILES] == ["manifest.py", "subscribers.py"]
    code = [
        line for _, text in FILES for line in text.splitlines() if line and "import" not in line
    ]
    assert len(code) <= 20


async def test_changes_are_relayed_once_and_in_order(
    actors: ActorFactory, modules: tuple[Module, ...], redis: RedisServer, database_url: str
) -> None:
    ada, bob = await actors("ada"), await actors("bob")
    await rename(ada, "Ada")
    await rename(bob, "Bob")
    again = (
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args) SELECT queue_name, task_name,"
        " args FROM procrastinate_jobs WHERE task_name = 'broker.profile_changed' RETURNING id"
    )
    assert len(await execute(database_url, again)) == 2
    await run_jobs(actors.context, modules)
    assert relayed(redis) == [str(ada.id), str(bob.id)]


async def test_while_the_broker_is_away_changes_go_on(
    actors: ActorFactory, modules: tuple[Module, ...], redis: RedisServer, database_url: str
) -> None:
    ada = await actors("ada")
    redis.kill()
    await rename(ada, "Ada")
    await rename(ada, "Ada Lovelace")
    with pytest.raises(RedisError):
        await run_jobs(actors.context, modules)
    # The second change waits for its turn.
    await run_jobs(actors.context, modules)
    redis.start()
    await execute(database_url, "UPDATE procrastinate_jobs SET scheduled_at = NULL RETURNING id")
    await run_jobs(actors.context, modules)
    assert relayed(redis) == [str(ada.id)] * 2
