"""Rows that belong to a user."""

from uuid import UUID

from backend.core.ownership import new_row
from backend.core.principal import Principal
from backend.core.schemas import Schema
from backend.db.base import uuid7


class Note(Schema):
    id: UUID
    owner_id: UUID
    text: str


def test_no_member_of_a_body_names_the_owner_or_the_id_of_a_new_row() -> None:
    by = Principal(uuid7(), uuid7(), frozenset())
    sent = Note(id=uuid7(), owner_id=uuid7(), text="Tea")
    row = new_row(by, sent)
    assert (row["text"], row["owner_id"]) == ("Tea", by.user_id)
    assert row["id"] != sent.id
