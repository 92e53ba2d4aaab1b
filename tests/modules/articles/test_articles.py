"""Articles are created, read, changed and deleted, and are visible by state and owner."""

from typing import Any
from uuid import uuid4

import pytest

from tests.actors import Actor, ActorFactory, Client
from tests.contract import is_uuid7, stable_members

ARTICLES = "/api/v1/articles"
MEMBERS = {
    "id",
    "title",
    "content",
    "status",
    "author",
    "author_id",
    "published_at",
    "created_at",
    "updated_at",
}


async def made_by(actor: Actor, *actions: str, **members: Any) -> dict[str, Any]:
    """Create an article, apply the actions, and return it."""
    answer = await actor.post(ARTICLES, json={"title": "Notes", "content": "Text.", **members})
    assert answer.status_code == 201, answer.text
    for action in actions:
        answer = await actor.post(f"{ARTICLES}/{answer.json()['id']}/{action}")
        assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def titles_seen_by(caller: Actor | Client, **parameters: Any) -> set[str]:
    answer = await caller.get(ARTICLES, params=parameters)
    assert answer.status_code == 200, answer.text
    return {article["title"] for article in answer.json()["data"]}


async def test_an_article_begins_as_a_draft_and_is_found_at_its_location(ada: Actor) -> None:
    answer = await ada.post(ARTICLES, json={"title": " Notes ", "content": " On engines. "})
    assert answer.status_code == 201
    article = answer.json()
    assert article.keys() == MEMBERS
    assert is_uuid7(article["id"])
    assert (article["title"], article["content"]) == ("Notes", "On engines.")
    assert (article["status"], article["published_at"]) == ("draft", None)
    assert article["author_id"] == str(ada.id)
    assert article["author"] == {"id": str(ada.id), "username": "ada", "full_name": None}
    assert article["created_at"] == article["updated_at"]
    assert answer.headers["location"] == f"{ARTICLES}/{article['id']}"
    assert (await ada.get(answer.headers["location"])).json() == article
    assert (await ada.get(ARTICLES)).json()["data"] == [article]


@pytest.mark.parametrize(
    "body",
    [
        {"content": "Text."},
        {"title": None},
        {"title": " \n"},
        {"title": "\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NON-JOINER}"},
        {"title": "x" * 256},
        {"title": "Notes", "content": ""},
        {"title": "Notes", "content": " "},
        {"title": "Notes", "content": 5},
        {"title": "Notes", "content": "x" * 500_001},
        {"title": "Notes", "status": "published"},
        {"title": "Notes", "author_id": "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"},
        {"title": "Notes", "published_at": "2026-01-01T00:00:00Z"},
        {"title": "Notes", "author": None},
    ],
    ids=lambda body: str(body)[:40],
)
async def test_what_is_no_article_is_refused(ada: Actor, body: Any) -> None:
    refused = await ada.post(ARTICLES, json=body)
    assert refused.status_code == 422
    assert refused.json()["error"] == "VALIDATION_ERROR"
    assert (await ada.get(ARTICLES)).json()["data"] == []


async def test_a_change_touches_only_what_was_sent(ada: Actor) -> None:
    article = await made_by(ada)
    where = f"{ARTICLES}/{article['id']}"
    changed = await ada.patch(where, json={"content": "Better."})
    assert changed.status_code == 200
    updated_at = changed.json()["updated_at"]
    assert updated_at > article["updated_at"]
    assert changed.json() == {**article, "content": "Better.", "updated_at": updated_at}
    assert (await ada.get(where)).json() == changed.json()
    cleared = await ada.patch(where, json={"content": None})
    assert cleared.json()["content"] is None
    assert (await ada.patch(where, json={"title": None})).status_code == 422


async def test_an_empty_change_changes_nothing(ada: Actor) -> None:
    for actions in ((), ("publish",), ("archive",)):
        article = await made_by(ada, *actions)
        answer = await ada.patch(f"{ARTICLES}/{article['id']}", json={})
        assert answer.status_code == 200
        assert answer.json() == article


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("status", "published"),
        ("status", "draft"),
        ("author_id", "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"),
        ("author", {}),
        ("published_at", "2026-01-01T00:00:00Z"),
        ("published_at", None),
        ("id", "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"),
        ("created_at", "2026-01-01T00:00:00Z"),
    ],
)
async def test_what_only_actions_change_is_not_writable(
    ada: Actor, editor: Actor, member: str, value: Any
) -> None:
    article = await made_by(ada)
    for caller in (ada, editor):
        refused = await caller.patch(
            f"{ARTICLES}/{article['id']}", json={"title": "New", member: value}
        )
        assert refused.status_code == 422
        assert [each["field"] for each in refused.json()["errors"]] == [f"body.{member}"]
    assert (await ada.get(f"{ARTICLES}/{article['id']}")).json() == article


async def test_a_published_article_keeps_its_status_when_it_is_changed(ada: Actor) -> None:
    article = await made_by(ada, "publish")
    changed = (await ada.patch(f"{ARTICLES}/{article['id']}", json={"title": "New"})).json()
    assert changed["status"] == "published"
    assert changed["published_at"] == article["published_at"]


async def test_a_published_article_cannot_be_emptied(ada: Actor) -> None:
    article = await made_by(ada, "publish")
    where = f"{ARTICLES}/{article['id']}"
    refused = await ada.patch(where, json={"title": "New", "content": None})
    assert refused.status_code == 422
    assert refused.json()["error"] == "ARTICLE_WITHOUT_CONTENT"
    assert (await ada.get(where)).json() == article


async def test_a_deleted_article_is_gone(ada: Actor) -> None:
    for actions in ((), ("publish",), ("publish", "archive")):
        article = await made_by(ada, *actions)
        where = f"{ARTICLES}/{article['id']}"
        assert (await ada.delete(where)).status_code == 204
        assert (await ada.get(where)).status_code == 404
        assert (await ada.delete(where)).status_code == 404


async def test_who_sees_which(
    ada: Actor, bob: Actor, editor: Actor, admin: Actor, client: Client, actor: ActorFactory
) -> None:
    viewer = await actor("vera", roles=("viewer",))
    nobody = await actor("nemo", roles=())
    articles = {
        "draft": await made_by(ada, title="draft"),
        "published": await made_by(ada, "publish", title="published"),
        "archived": await made_by(ada, "publish", "archive", title="archived"),
    }
    for caller, visible in (
        (ada, {"draft", "published", "archived"}),
        (editor, {"draft", "published", "archived"}),
        (admin, {"draft", "published", "archived"}),
        (bob, {"published"}),
        (viewer, {"published"}),
        (nobody, {"published"}),
        (client, {"published"}),
    ):
        assert await titles_seen_by(caller) == visible
        for status, article in articles.items():
            assert await titles_seen_by(caller, status=status) == visible & {status}
            answer = await caller.get(f"{ARTICLES}/{article['id']}")
            assert answer.status_code == (200 if status in visible else 404)


async def test_an_unseen_article_answers_as_an_unknown_one(
    ada: Actor, bob: Actor, client: Client
) -> None:
    for actions in ((), ("publish", "archive")):
        article = await made_by(ada, *actions)
        for caller, method, action, body in (
            (client, "GET", "", None),
            (bob, "GET", "", None),
            (bob, "PATCH", "", {"title": "Mine"}),
            (bob, "DELETE", "", None),
            (bob, "POST", "/publish", None),
            (bob, "POST", "/unpublish", None),
            (bob, "POST", "/archive", None),
        ):
            unseen = await caller.request(method, f"{ARTICLES}/{article['id']}{action}", json=body)
            unknown = await caller.request(method, f"{ARTICLES}/{uuid4()}{action}", json=body)
            assert unseen.status_code == 404
            assert unseen.json()["error"] == "ARTICLE_NOT_FOUND"
            assert stable_members(unseen) == stable_members(unknown)
        assert (await ada.get(f"{ARTICLES}/{article['id']}")).json() == article


async def test_a_foreign_published_article_may_be_seen_but_not_changed(
    ada: Actor, bob: Actor
) -> None:
    article = await made_by(ada, "publish")
    where = f"{ARTICLES}/{article['id']}"
    assert (await bob.get(where)).json() == article
    for method, body in (("PATCH", {"title": "Mine"}), ("PATCH", {}), ("DELETE", None)):
        refused = await bob.request(method, where, json=body)
        assert refused.status_code == 403
        assert refused.json()["error"] == "PERMISSION_DENIED"
    assert (await ada.get(where)).json() == article


async def test_articles_admin_lifts_the_ownership_limit(ada: Actor, editor: Actor) -> None:
    article = await made_by(ada)
    where = f"{ARTICLES}/{article['id']}"
    changed = await editor.patch(where, json={"title": "Better"})
    assert changed.status_code == 200
    assert changed.json()["author"]["username"] == "ada"
    for action in ("publish", "archive", "publish", "unpublish"):
        assert (await editor.post(f"{where}/{action}")).status_code == 200
    assert (await editor.delete(where)).status_code == 204


async def test_a_malformed_id_is_not_found(ada: Actor) -> None:
    for method, path in (
        ("GET", "5"),
        ("DELETE", "me"),
        ("PATCH", "%00"),
        ("POST", "x/publish"),
        ("POST", "x/unpublish"),
        ("POST", "x/archive"),
    ):
        body: dict[str, str] | None = {} if method == "PATCH" else None
        answer = await ada.request(method, f"{ARTICLES}/{path}", json=body)
        assert answer.status_code == 404, path


async def test_anonymous_callers_only_read(client: Client, ada: Actor) -> None:
    article = await made_by(ada, "publish")
    where = f"{ARTICLES}/{article['id']}"
    for method, path in (
        ("POST", ARTICLES),
        ("PATCH", where),
        ("DELETE", where),
        ("POST", f"{where}/publish"),
        ("POST", f"{where}/unpublish"),
        ("POST", f"{where}/archive"),
    ):
        answer = await client.request(method, path, json=[] if method == "PATCH" else None)
        assert answer.status_code == 401
        assert answer.json()["error"] == "NOT_AUTHENTICATED"


async def test_a_viewer_only_reads_and_learns_nothing_of_what_exists(
    actor: ActorFactory, ada: Actor
) -> None:
    viewer = await actor("vera", roles=("viewer",))
    article = await made_by(ada, "publish")
    for id in (article["id"], uuid4()):
        for method, path in (
            ("PATCH", f"{ARTICLES}/{id}"),
            ("DELETE", f"{ARTICLES}/{id}"),
            ("POST", f"{ARTICLES}/{id}/publish"),
            ("POST", f"{ARTICLES}/{id}/unpublish"),
            ("POST", f"{ARTICLES}/{id}/archive"),
        ):
            refused = await viewer.request(method, path, json=None)
            assert refused.status_code == 403, path
    assert (await viewer.post(ARTICLES, json={"title": "Mine"})).status_code == 403


async def test_a_broken_token_is_never_anonymous(client: Client, ada: Actor) -> None:
    article = await made_by(ada, "publish")
    for path in (ARTICLES, f"{ARTICLES}/{article['id']}"):
        answer = await client.get(path, headers={"Authorization": "Bearer broken"})
        assert answer.status_code == 401
        assert answer.json()["error"] == "INVALID_TOKEN"


async def test_filters_by_status_and_author(ada: Actor, bob: Actor, client: Client) -> None:
    await made_by(ada, title="ada's draft")
    await made_by(ada, "publish", title="ada's published")
    await made_by(bob, "publish", title="bob's published")
    await made_by(bob, "archive", title="bob's archived")
    of_ada, of_bob = {"author_id": str(ada.id)}, {"author_id": str(bob.id)}
    assert await titles_seen_by(client, **of_ada) == {"ada's published"}
    assert await titles_seen_by(ada, **of_ada) == {"ada's published", "ada's draft"}
    assert await titles_seen_by(ada, **of_bob) == {"bob's published"}
    assert await titles_seen_by(bob, status="archived") == {"bob's archived"}
    assert await titles_seen_by(ada, status="archived") == set()
    assert await titles_seen_by(ada, status="draft", **of_bob) == set()
    assert await titles_seen_by(client, author_id=str(uuid4())) == set()


@pytest.mark.parametrize(
    "query",
    [
        "status=",
        "status=deleted",
        "status=Draft",
        "status=draft&status=published",
        "author_id=me",
        "sort=status",
        "sort=content",
        "sort=rank",
        "sort=-rank&q=x",
        "q=",
        "fields=search",
        "fields=author.username",
        "published_after=2026-01-01T00:00:00Z",
    ],
)
async def test_a_wrong_parameter_is_refused(client: Client, query: str) -> None:
    refused = await client.get(f"{ARTICLES}?{query}")
    assert refused.status_code == 422
    name = query.partition("=")[0]
    assert [each["field"] for each in refused.json()["errors"]] == [f"query.{name}"]


async def test_any_one_field_alone(ada: Actor) -> None:
    article = await made_by(ada, "publish")
    for member in MEMBERS:
        expected = {member: article[member]}
        page = await ada.get(ARTICLES, params={"fields": member})
        assert page.json()["data"] == [expected]
        one = await ada.get(f"{ARTICLES}/{article['id']}", params={"fields": member})
        assert one.json() == expected


async def test_total_counts_only_what_the_caller_sees(
    ada: Actor, bob: Actor, client: Client
) -> None:
    await made_by(ada)
    await made_by(ada, "publish")
    for caller, total in ((ada, 2), (bob, 1), (client, 1)):
        page = (await caller.get(ARTICLES, params={"total": "true", "limit": 1})).json()
        assert page["total"] == total


async def test_created_after_and_before(ada: Actor) -> None:
    first = await made_by(ada, title="first")
    second = await made_by(ada, title="second")
    at = second["created_at"]
    assert await titles_seen_by(ada, created_after=at) == {"second"}
    assert await titles_seen_by(ada, created_before=at) == {"first"}
    assert await titles_seen_by(ada, created_before=first["created_at"]) == set()


async def test_the_author_is_told_as_of_now(ada: Actor, client: Client) -> None:
    article = await made_by(ada, "publish")
    await ada.patch("/api/v1/users/me", json={"full_name": "Ada Lovelace", "username": None})
    author = {"id": str(ada.id), "username": None, "full_name": "Ada Lovelace"}
    assert (await client.get(f"{ARTICLES}/{article['id']}")).json()["author"] == author
    assert (await client.get(ARTICLES)).json()["data"][0]["author"] == author
