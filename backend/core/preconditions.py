"""Entity tags, and the preconditions of the current request (RFC 9110, sections 8.8.3 and 13).

A service checks the preconditions of a change where it has locked the row and checked the rights,
before it looks at the row's state:

    await check_preconditions(lambda: NoteOut.from_row(note.model_dump()))
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from inspect import isawaitable
from typing import Any

from starlette.types import Scope

from backend.core.client_info import current_scope, header_lines
from backend.core.errors import PreconditionFailedError
from backend.core.fast_json import json_of
from backend.core.schemas import Schema

Represent = Callable[[Any], Schema]
IF_MATCH, IF_NONE_MATCH = b"if-match", b"if-none-match"
# Content codings of compressed responses.
CODINGS = (b"zstd", b"br", b"gzip")
_CHECKED = "preconditions_checked"
# In the scope: how the version of the API in the request represents resources of services.
REPRESENTS = "represents"
_TAG = rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(_TAG)
_LIST = re.compile(rb"[ \t,]*" + _TAG + rb"(?:[ \t]*,[ \t,]*" + _TAG + rb")*[ \t,]*")


def tag_of(representation: bytes) -> bytes:
    """Return the strong entity tag of the JSON of a whole resource."""
    return b'"%s"' % urlsafe_b64encode(blake2b(representation, digest_size=18).digest())


def coded_tag(tag: bytes, coding: bytes) -> bytes:
    """Return the tag of a compressed response: other bytes, so another strong tag.

    Preconditions accept the tags of all codings, because they stand for one state of the resource.
    """
    return b'%s-%s"' % (tag[:-1], coding)


async def check_preconditions(current: Callable[[], Schema | Awaitable[Schema]]) -> None:
    """Raise `PreconditionFailedError` if the request's If-Match or If-None-Match fails.

    `current` returns the resource before the change, as GET would. It is called only if the
    request has one of these headers. Outside a request, such as in a job, nothing is checked.
    """
    scope = current_scope.get()
    if scope is None or not _has_preconditions(scope):
        return
    scope[_CHECKED] = True
    resource = current()
    if isawaitable(resource):
        resource = await resource
    represents: Mapping[type, Represent] = scope.get(REPRESENTS, {})
    while represent := represents.get(type(resource)):
        resource = represent(resource)
    tag = tag_of(json_of(resource))
    match, none_match = header_lines(scope, IF_MATCH), header_lines(scope, IF_NONE_MATCH)
    if match and not _matches(match, tag, weak=False):
        raise PreconditionFailedError
    # Malformed ones are refused: the client does not want this change unconditionally.
    if none_match and _matches(none_match, tag, weak=True) is not False:
        raise PreconditionFailedError


def are_unchecked() -> bool:
    """Return whether the request has preconditions that nothing has checked."""
    scope = current_scope.get()
    return scope is not None and _CHECKED not in scope and _has_preconditions(scope)


def is_not_modified(tag: bytes) -> bool:
    """Return whether the client of this GET request has the resource with this tag already."""
    scope = current_scope.get()
    lines = [] if scope is None else header_lines(scope, IF_NONE_MATCH)
    return bool(lines) and _matches(lines, tag, weak=True) is True


def _has_preconditions(scope: Scope) -> bool:
    return any(name in (IF_MATCH, IF_NONE_MATCH) for name, _ in scope["headers"])


def _matches(lines: Sequence[bytes], tag: bytes, *, weak: bool) -> bool | None:
    """Return whether one of the listed tags is `tag`; None if the list is malformed."""
    listed = b",".join(lines).strip()
    if listed == b"*":
        return True
    if not _LIST.fullmatch(listed):
        return None
    tags = _TAGS.findall(listed)
    if weak:
        tags = [each.removeprefix(b"W/") for each in tags]
    return not {tag, *(coded_tag(tag, coding) for coding in CODINGS)}.isdisjoint(tags)
