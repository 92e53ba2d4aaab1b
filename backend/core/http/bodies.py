"""Request bodies: limits of the size of each and of all together, and their parsing."""

from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any, Self

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope

from backend.addresses.ip_addresses import address_key
from backend.core.client_info import client_address
from backend.core.context import Context, context_of
from backend.core.http import strict_json
from backend.core.http.forms import Form, read_form

MAX_BODY_BYTES = 1024 * 1024
MAX_BULK_BYTES = 16 * 1024 * 1024
# The limit of all bodies in memory, not counting the first bytes of each; otherwise a thousand
# connections could use a gigabyte. One client has a quarter, so that it cannot exclude others.
MAX_HELD_BYTES = 64 * 1024 * 1024
MAX_HELD_OF_ONE = MAX_HELD_BYTES // 4
UNCOUNTED_BYTES = 64 * 1024


def held_bytes(context: Context) -> Counter[str]:
    """Return the bytes of bodies in memory by client."""
    return context.get_or_create(_no_bytes)


def _no_bytes(_: Context) -> Counter[str]:
    return Counter()


class BodyRequest(Request):
    """A request whose body is limited while it is received, and parsed strictly: JSON or `form`.

    Use it in a `with` block; at its end the body no longer counts towards the limits.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        *,
        limit: int = MAX_BODY_BYTES,
        form: Form | None = None,
    ) -> None:
        super().__init__(scope, receive)
        self._limit = limit
        self._described = form
        self._held = 0
        self._holder = ""
        self._all_held: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._held:
            self._all_held[self._holder] -= self._held
            self._held = 0
            if not self._all_held[self._holder]:
                del self._all_held[self._holder]

    def _hold(self, size: int) -> None:
        if not self._holder:
            self._holder = address_key(client_address(self.scope))
            self._all_held = held_bytes(context_of(self))
        full = self._all_held.total() + size > MAX_HELD_BYTES
        if full or self._all_held[self._holder] + size > MAX_HELD_OF_ONE:
            # FastAPI passes on no other exception from where it reads a body.
            raise HTTPException(503)
        self._all_held[self._holder] += size
        self._held += size

    async def stream(self) -> AsyncGenerator[bytes, None]:
        declared = self.headers.get("content-length", "")
        # int() raises an error for thousands of digits.
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > self._limit):
            raise HTTPException(413)
        received = 0
        async for chunk in super().stream():
            received += len(chunk)
            if received > self._limit:
                raise HTTPException(413)
            if received > UNCOUNTED_BYTES:
                self._hold(len(chunk))
            yield chunk

    async def json(self) -> Any:
        if hasattr(self, "_json"):
            return self._json
        try:
            self._json = strict_json.loads(await self.body())
        except strict_json.JSONRefusedError as refused:
            # FastAPI passes on no other exception from here.
            raise HTTPException(400, str(refused)) from None
        return self._json

    async def _get_form(
        self,
        *,
        max_files: float = 1000,
        max_fields: float = 1000,
        max_part_size: int = MAX_BODY_BYTES,
    ) -> FormData:
        # Starlette's `form()` calls this; the limits are those of the route.
        if self._form is None:
            self._form = await read_form(
                self, max_files=max_files, max_fields=max_fields, max_part_size=max_part_size
            )
            if self._described is not None:
                await self._described.check(self._form)
        return self._form
