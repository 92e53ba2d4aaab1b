from backend.core.errors import AppError


class ItemNotFoundError(AppError):
    status = 404
    code = "ITEM_NOT_FOUND"
    detail = "No item has this id."
