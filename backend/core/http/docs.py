"""Documentation pages of the API, and the explanation of each error code."""

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from backend.core.authorization import unlimited
from backend.core.errors import NotFoundError, all_errors, error_responses, title_of
from backend.core.http.openapi import below_prefix
from backend.core.http.public_paths import public_path
from backend.core.http.routing import Router
from backend.core.schemas import Schema

error_pages = Router(tags=["errors"], dependencies=[unlimited], selects_fields=False)
# FastAPI's own router, because browsers request these pages without accepting JSON.
documentation = APIRouter(include_in_schema=False)


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


def mount_documentation(app: FastAPI) -> None:
    """Add /docs, /redoc and /openapi.json."""
    # The files of Swagger UI and ReDoc.
    app.mount(_ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]))
    app.include_router(documentation)


@documentation.get("/openapi.json")
async def openapi(request: Request) -> Response:
    return JSONResponse(below_prefix(request.app.openapi(), public_path("")))


@documentation.get("/docs")
async def swagger(request: Request) -> Response:
    return _page(
        get_swagger_ui_html(
            openapi_url=public_path("/openapi.json"),
            title=request.app.title,
            swagger_js_url=public_path(f"{_ASSETS}/swagger-ui-bundle.js"),
            swagger_css_url=public_path(f"{_ASSETS}/swagger-ui.css"),
            swagger_favicon_url=public_path(f"{_ASSETS}/favicon.png"),
            swagger_ui_parameters={"persistAuthorization": True, "tryItOutEnabled": True},
        )
    )


@documentation.get("/redoc")
async def redoc(request: Request) -> Response:
    return _page(
        get_redoc_html(
            openapi_url=public_path("/openapi.json"),
            title=request.app.title,
            redoc_js_url=public_path(f"{_ASSETS}/redoc.standalone.js"),
            redoc_favicon_url=public_path(f"{_ASSETS}/favicon.png"),
            with_google_fonts=False,
        )
    )


def _page(html: HTMLResponse) -> Response:
    html.headers["Content-Security-Policy"] = _CSP
    return html
