from backend.core.errors import AppError


class ArticleNotFoundError(AppError):
    status = 404
    code = "ARTICLE_NOT_FOUND"
    detail = "No article has this id."


class ArticleWithoutContentError(AppError):
    status = 422
    code = "ARTICLE_WITHOUT_CONTENT"
    detail = "A published article needs content."


class ArticleAlreadyPublishedError(AppError):
    status = 409
    code = "ARTICLE_ALREADY_PUBLISHED"
    detail = "The article is published already."


class ArticleNotPublishedError(AppError):
    status = 409
    code = "ARTICLE_NOT_PUBLISHED"
    detail = "The article is not published."


class ArticleAlreadyArchivedError(AppError):
    status = 409
    code = "ARTICLE_ALREADY_ARCHIVED"
    detail = "The article is archived already."
