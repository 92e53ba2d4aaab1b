"""Example articles for development."""

from collections.abc import Sequence
from random import Random

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.principal import Principal
from backend.modules.articles import service
from backend.modules.articles.schemas import ArticleCreate

SUBJECTS = (
    *("analytical engines", "compilers", "garbage collection", "hash tables", "recursion"),
    *("relational algebra", "sorting networks", "structured programming", "type systems"),
)
FORMS = ("An introduction to", "Notes on", "A history of", "The limits of", "Lessons from")
SENTENCES = (
    "The idea is older than the machines that made it popular.",
    "A small example shows what the theory says.",
    "In practice, the cost depends on the data more than on the method.",
    "Two mistakes are common, and both are easy to avoid.",
    "The original paper is still the best place to start.",
    "Nothing here needs more than school mathematics.",
)
ARTICLES = 60


async def seed(
    context: Context, session: AsyncSession, random: Random, users: Sequence[Principal]
) -> int:
    """Create drafts, published and archived articles; return their number."""
    authors = [user for user in users if user.may("articles:write")]
    for _ in range(ARTICLES):
        subject = random.choice(SUBJECTS)
        paragraphs = (" ".join(random.sample(SENTENCES, 4)) for _ in range(random.randint(2, 6)))
        content = f"This is about {subject}.\n\n" + "\n\n".join(paragraphs)
        by = random.choice(authors)
        new = ArticleCreate(title=f"{random.choice(FORMS)} {subject}", content=content)
        article = await service.create_article(context, session, by, new)
        if by.may("articles:publish") and random.random() < 0.8:
            await service.publish_article(context, session, by, article.id)
            if random.random() < 0.1:
                await service.archive_article(context, session, by, article.id)
    return ARTICLES
