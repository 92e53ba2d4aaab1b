"""Transitions between draft, published and archived, and the refused ones."""

from typing import Any

import pytest

from tests.actors import Actor, ActorFactory

ARTICLES = "/api/v1/articles"
# The actions that lead from a new draft to each state.
PATHS = {
    "draft": [],
    "published": ["publish"],
    "archived": ["archive"],
    "archived after publishing": ["publish", "archive"],
    "draft again": ["publish", "unpublish"],
}
# The status after each action, or the error code if the action is refused.
OUTCOMES = {
    ("draft", "publish"): "published",
    ("draft", "unpublish"): "ARTICLE_NOT_PUBLISHED",
    ("draft", "archive"): "archived",
    ("published", "publish"): "ARTICLE_ALREADY_PUBLISHED",
    ("published", "unpublish"): "draft",
    ("published", "archive"): "archived",
    ("archived", "publish"): "published",
    ("archived", "unpublish"): "ARTICLE_NOT_PUBLISHED",
    ("archived", "archive"): "ARTICLE_ALREADY_ARCHIVED",
}


async def brought_to(actor: Actor, state: str) -> dict[str, Any]:
    answer = await actor.post(ARTICLES, json={"title": "Notes", "content": "Text."})
    for action in PATHS[state]:
        answer = await actor.post(f"{ARTICLES}/{answer.json()['id']}/{action}")
        assert answer.status_code == 200, answer.text
    article: dict[str, Any] = answer.json()
    return article


@pytest.mark.parametrize("state", PATHS)
@pytest.mark.parametrize("action", ["publish", "unpublish", "archive"])
async def test_every_action_from_every_state(ada: Actor, state: str, action: str) -> None:
    article = await brought_to(ada, state)
    where = f"{ARTICLES}/{article['id']}"
    outcome = OUTCOMES[article["status"], action]
    answer = await ada.post(f"{where}/{action}")
    body = answer.json()
    if outcome.isupper():
        assert answer.status_code == 409
        assert body["error"] == outcome
        assert (await ada.get(where)).json() == article
        return
    assert answer.status_code == 200
    assert body["status"] == outcome
    assert body["updated_at"] > article["updated_at"]
    assert (await ada.get(where)).json() == body
    untouched = ("id", "title", "content", "author", "author_id", "created_at")
    assert {name: body[name] for name in untouched} == {name: article[name] for name in untouched}
    if outcome == "published":
        assert body["published_at"] >= article["updated_at"]
    elif outcome == "draft":
        assert body["published_at"] is None
    else:
        assert body["published_at"] == article["published_at"]


async def test_publishing_without_content_is_refused_in_every_state(ada: Actor) -> None:
    for state in ("draft", "archived", "draft again"):
        article = await brought_to(ada, state)
        where = f"{ARTICLES}/{article['id']}"
        emptied = await ada.patch(where, json={"content": None})
        assert emptied.status_code == 200
        refused = await ada.post(f"{where}/publish")
        assert refused.status_code == 422
        assert refused.json()["error"] == "ARTICLE_WITHOUT_CONTENT"
        assert (await ada.get(where)).json() == emptied.json()


async def test_actions_take_no_body_and_answer_with_a_trailing_slash(ada: Actor) -> None:
    article = await brought_to(ada, "draft")
    answer = await ada.post(f"{ARTICLES}/{article['id']}/publish/")
    assert answer.status_code == 200


@pytest.mark.parametrize("action", ["publish", "unpublish", "archive"])
async def test_403_before_409_on_a_foreign_published_article(
    ada: Actor, bob: Actor, action: str
) -> None:
    article = await brought_to(ada, "published")
    refused = await bob.post(f"{ARTICLES}/{article['id']}/{action}")
    assert refused.status_code == 403
    assert refused.json()["error"] == "PERMISSION_DENIED"


@pytest.mark.parametrize("state", ["draft", "archived", "archived after publishing"])
@pytest.mark.parametrize("action", ["publish", "unpublish", "archive"])
async def test_404_before_409_on_what_the_caller_does_not_see(
    ada: Actor, bob: Actor, state: str, action: str
) -> None:
    article = await brought_to(ada, state)
    refused = await bob.post(f"{ARTICLES}/{article['id']}/{action}")
    assert refused.status_code == 404
    assert refused.json()["error"] == "ARTICLE_NOT_FOUND"


@pytest.mark.parametrize("action", ["publish", "unpublish", "archive"])
async def test_without_the_permission_even_the_author_is_refused(
    ada: Actor, admin: Actor, action: str
) -> None:
    article = await brought_to(ada, "published")
    roles = await admin.put(f"/api/v1/users/{ada.id}/roles", json={"roles": ["viewer"]})
    assert roles.status_code == 200
    refused = await ada.post(f"{ARTICLES}/{article['id']}/{action}")
    assert refused.status_code == 403
    assert (await admin.get(f"{ARTICLES}/{article['id']}")).json() == article


@pytest.mark.parametrize("action", ["publish", "unpublish", "archive"])
async def test_an_article_that_is_gone(ada: Actor, action: str) -> None:
    article = await brought_to(ada, "published")
    await ada.delete(f"{ARTICLES}/{article['id']}")
    answer = await ada.post(f"{ARTICLES}/{article['id']}/{action}")
    assert answer.status_code == 404


async def test_an_archived_article_leaves_every_list_but_the_authors(
    ada: Actor, bob: Actor, editor: Actor, actor: ActorFactory
) -> None:
    article = await brought_to(ada, "archived after publishing")
    viewer = await actor("vera", roles=("viewer",))
    for caller, expected in ((ada, [article]), (editor, [article]), (bob, []), (viewer, [])):
        for parameters in ({}, {"status": "archived"}, {"q": "notes"}):
            page = await caller.get(ARTICLES, params=parameters)
            assert page.json()["data"] == expected
