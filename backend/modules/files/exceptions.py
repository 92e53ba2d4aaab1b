from typing import ClassVar

from backend.core.errors import AppError


class ImageUnreadableError(AppError):
    status = 422
    code = "IMAGE_UNREADABLE"
    detail = "The image is incomplete or damaged."


class ImageTooLargeError(AppError):
    status = 422
    code = "IMAGE_TOO_LARGE"
    detail = "The image has more than 25 million pixels: send a smaller one."


class RangeNotSatisfiableError(AppError):
    status = 416
    code = "RANGE_NOT_SATISFIABLE"
    detail = "The file ends before the requested range; Content-Range has its size."
    default_headers: ClassVar = {"Accept-Ranges": "bytes"}
