from backend.core.errors import AppError


class StorageQuotaExceededError(AppError):
    status = 422
    code = "STORAGE_QUOTA_EXCEEDED"
    detail = (
        "The texts and files of this user would exceed the storage quota of an account: "
        "delete or shorten some first."
    )
