import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import Query, Request, Response
from starlette.responses import HTMLResponse

from backend.core.authorization import unlimited
from backend.core.http.dependencies import Reader, Session
from backend.core.http.routing import Router
from backend.modules.mail import service
from backend.modules.mail.schemas import MailboxOut

PAGE = Path(__file__).parent / "mailbox.html"
HTML = "text/html"
VARY = {"Vary": "Accept"}


router = Router(
    prefix="/dev/mailbox",
    tags=["development"],
    dependencies=[unlimited],
    development_only=True,
    # Mailed links contain tokens.
    carries_secrets=True,
    # The document is the same everywhere, and clients are generated from it for production.
    include_in_schema=False,
)


@router.get("", responses={200: {"content": {HTML: {}}}}, response_model=MailboxOut)
async def read_mailbox(
    request: Request,
    response: Response,
    reader: Reader,
    to: Annotated[
        str | None, Query(max_length=320, description="Only mails to this address.")
    ] = None,
) -> MailboxOut | Response:
    """The mails that would have left, newest first; a page of them for a browser."""
    if prefers_html(",".join(request.headers.getlist("accept"))):
        page, policy = _page()
        return HTMLResponse(page, headers={**VARY, "Content-Security-Policy": policy})
    response.headers.update(VARY)
    return await service.read_mailbox(reader, to)


@router.delete("", status_code=204)
async def empty_mailbox(session: Session) -> None:
    """Throw all mails away."""
    await service.empty_mailbox(session)


def prefers_html(accept: str) -> bool:
    """Whether a client likes HTML better than JSON (RFC 9110, 12.5.1); in doubt it does not."""
    return _quality(accept, HTML) > _quality(accept, "application/json")


def _quality(accept: str, media_type: str) -> float:
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    qualities: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        qualities[name] = float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight) else 0
    # The most specific range determines the quality, even if another one has a higher one.
    return next((qualities[name] for name in ranges if name in qualities), 0)


@cache
def _page() -> tuple[str, str]:
    """Return the page and its Content-Security-Policy, which allows its own script only.

    Mails are shown in a frame inside the page, under the same policy: their styles and pictures
    are loaded, and their scripts do not run.
    """
    page = PAGE.read_text("utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page, (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data: http: https:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
