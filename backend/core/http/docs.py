"""Documentation pages of the API, and the explanation of each error code."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from backend.core.authorization import unlimited
from backend.core.context import context_of
from backend.core.errors import NotFoundError, all_errors, error_responses, title_of
from backend.core.http.documented_urls import below_prefix
from backend.core.http.public_paths import public_path
from backend.core.http.routing import Router
from backend.core.schemas import Schema

error_pages = Router(tags=["errors"], dependencies=[unlimited], selects_fields=False)
# FastAPI's own router, because browsers request these pages without accepting JSON.
documentation = APIRouter(include_in_schema=False)
documentation_of_versions = APIRouter(include_in_schema=False)


class ErrorMeaning(Schema):
    code: str
    status: int
    title: str
    detail: str


@error_pages.get("/errors/{code}", responses=error_responses(NotFoundError))
async def explain_error(code: str) -> ErrorMeaning:
    """Explain an error code. The `type` of every problem document refers to this route."""
    for error in all_errors():
        if error.code == code:
            return ErrorMeaning(
                code=code, status=error.status, title=title_of(error), detail=error.detail
            )
    raise NotFoundError


# The pages contain inline scripts and styles; all other files are served here, for use offline.
_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src blob:; frame-ancestors 'none'"
)
_ASSETS = "/docs/assets"


def mount_documentation(app: FastAPI, later: Sequence[int] = ()) -> None:
    """Add /docs, /redoc and /openapi.json; of `later` versions of the API /docs/v2 and so on."""
    # The files of Swagger UI and ReDoc.
    app.mount(_ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]))
    app.include_router(documentation)
    if later:
        app.include_router(documentation_of_versions)


@documentation.get("/openapi.json")
@documentation_of_versions.get("/openapi/v{version}.json")
async def openapi(request: Request, version: int = 1) -> Response:
    _require(request, version)
    return JSONResponse(below_prefix(request.app.openapi(version), public_path("")))


@documentation.get("/docs")
@documentation_of_versions.get("/docs/v{version}")
async def swagger(request: Request, version: int = 1) -> Response:
    return _page(
        get_swagger_ui_html(
            openapi_url=_document(request, version),
            title=request.app.title,
            swagger_js_url=public_path(f"{_ASSETS}/swagger-ui-bundle.js"),
            swagger_css_url=public_path(f"{_ASSETS}/swagger-ui.css"),
            swagger_favicon_url=public_path(f"{_ASSETS}/favicon.png"),
            swagger_ui_parameters={"persistAuthorization": True, "tryItOutEnabled": True},
        )
    )


@documentation.get("/redoc")
@documentation_of_versions.get("/redoc/v{version}")
async def redoc(request: Request, version: int = 1) -> Response:
    return _page(
        get_redoc_html(
            openapi_url=_document(request, version),
            title=request.app.title,
            redoc_js_url=public_path(f"{_ASSETS}/redoc.standalone.js"),
            redoc_favicon_url=public_path(f"{_ASSETS}/favicon.png"),
            with_google_fonts=False,
        )
    )


def _document(request: Request, version: int) -> str:
    _require(request, version)
    return public_path("/openapi.json" if version == 1 else f"/openapi/v{version}.json")


def _require(request: Request, version: int) -> None:
    if version not in context_of(request).versions:
        raise NotFoundError


def _page(html: HTMLResponse) -> Response:
    html.headers["Content-Security-Policy"] = _CSP
    return html
