"""Limits on guessing do not disclose whether an account exists, whatever the spelling."""

import unicodedata

import pytest

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.users import service as users
from backend.modules.users.service import PASSWORD_ATTEMPTS
from tests.modules.accounts.post import LOGIN, Post

# A name, another spelling of it, and a different name that looks like it.
SPELLINGS = [
    ("susi@example.com", "\u017fusi@example.com", "\u0455usi@example.com"),
    ("susi", "\u017fUSI", "sus\u0131"),
    ("kim", "\N{KELVIN SIGN}IM", "k\u0131m"),
    ("strau\u00df@example.com", "STRAUSS@example.com", "straus@example.com"),
    (
        "\u03bd\u03af\u03ba\u03bf\u03c2@example.com",
        "\u039d\u038a\u039a\u039f\u03a3@example.com",
        "\u03bd\u03b9\u03ba\u03bf\u03c2@example.com",
    ),
    (
        "jos\u00e9@example.com",
        unicodedata.normalize("NFD", "JOS\u00c9@example.com"),
        "jose@example.com",
    ),
    ("ada@m\u00fcnchen.example", "ADA@XN--MNCHEN-3YA.example", "ada@munchen.example"),
    ("ada@example.com", " ada@\uff45xample\u3002com ", "ad\u0430@example.com"),
]
WRONG = "Not the right one"


@pytest.mark.parametrize(("name", "spelling", "another"), SPELLINGS)
async def test_known_and_unknown_names_are_answered_alike(
    post: Post, context: Context, name: str, spelling: str, another: str
) -> None:
    post.configure(rate_limit_enabled=True, rate_limit_default="100000/minute")

    async def answers() -> list[tuple[int, str]]:
        post.sql("DELETE FROM rate_limit_guesses")
        # Clears the attempts counted in the memory of the process.
        post.configure(rate_limit_enabled=True, rate_limit_default="100000/minute")
        seen = []
        for typed in (*(spelling,) * PASSWORD_ATTEMPTS.limit, name, another, spelling):
            answer = await post.client.post(LOGIN, json={"email": typed, "password": WRONG})
            seen.append((answer.status_code, answer.json()["error"]))
        return seen

    unknown = await answers()
    assert [status for status, _ in unknown] == [401] * PASSWORD_ATTEMPTS.limit + [429, 401, 429]
    email, username = (name, None) if "@" in name else ("other@example.com", name)
    async with context.database.transaction() as session:
        await users.add_user(session, SYSTEM, email=email, username=username)
    assert await answers() == unknown
