from backend.core.errors import AppError


class StorageQuotaExceededError(AppError):
    status = 422
    code = "STORAGE_QUOTA_EXCEEDED"
    detail = (
        "The texts of this user would take up more than the storage of one account: "
        "delete or shorten some first."
    )
