"""Reads in a transaction see its writes, and other transactions do not."""

from uuid import UUID, uuid4

from sqlalchemy import bindparam, select
from sqlmodel import col

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.db.queries import Query
from backend.db.session_reader import SessionReader
from backend.modules.users.models import User
from tests.actors import Actor
from tests.samples import sample

Item = sample("items.models", "Item")
articles = sample("articles.service")

TITLES = Query(
    select(col(Item.id), col(Item.title))
    .where(col(Item.owner_id) == bindparam("owner"))
    .order_by(col(Item.title))
)


async def test_a_session_reader_sees_the_writes_of_its_session(
    context: Context, ada: Actor
) -> None:
    async with context.database.transaction() as session:
        reader = SessionReader(session)
        assert await reader.first(TITLES, owner=ada.id) is None
        items = [Item(title=title, owner_id=ada.id) for title in ("Tea", "Milk")]
        session.add_all(items)
        await session.flush()
        rows = await reader.all(TITLES, owner=ada.id)
        assert rows == [{"id": each.id, "title": each.title} for each in reversed(items)]
        assert await reader.first(TITLES, owner=ada.id) == rows[0]
        assert await context.database.primary.all(TITLES, owner=ada.id) == []
        assert await reader.all(TITLES, owner=uuid4()) == []
    assert len(await context.database.primary.all(TITLES, owner=ada.id)) == 2


async def test_a_write_reads_in_its_own_transaction(context: Context, ada: Actor) -> None:
    made = await ada.post("/api/v1/articles", json={"title": "On milk", "content": "White."})
    async with context.database.transaction() as session:
        author = await session.get_one(User, ada.id)
        author.full_name = "Countess of Lovelace"
        await session.flush()
        published = await articles.publish_article(
            context, session, SYSTEM, UUID(made.json()["id"])
        )
    # Another connection would not have seen the name yet.
    assert published.author.full_name == "Countess of Lovelace"
