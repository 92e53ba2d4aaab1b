from sqlalchemy import bindparam, func, select
from sqlmodel import col

from backend.core.lists import list_spec
from backend.db.queries import Query
from backend.modules.files.models import StoredFile
from backend.modules.files.schemas import FileOut

FILES = list_spec(
    StoredFile, FileOut, scopes={"owner": lambda owner: col(StoredFile.owner_id) == owner}
)
FILE = Query(
    select(
        col(StoredFile.id),
        col(StoredFile.key),
        col(StoredFile.content_type),
        col(StoredFile.size),
        col(StoredFile.filename),
        col(StoredFile.is_public),
    ).where(col(StoredFile.key) == bindparam("key"))
)
KNOWN = Query(select(col(StoredFile.key)).where(col(StoredFile.key) == func.any(bindparam("keys"))))
