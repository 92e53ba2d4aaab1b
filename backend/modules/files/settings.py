from pydantic import Field, SecretStr, field_validator

from backend.addresses.server_urls import check_escapes
from backend.core.settings import Settings, SettingsBase
from backend.integrations.storage.storage_url import Folder, parse_storage_url


class FileSettings(SettingsBase):
    storage_url: SecretStr | None = Field(
        None,
        description="Storage of files: a folder, `file:///var/lib/trellis/storage`, or a bucket, "
        "`s3://bucket/prefix?region=eu-central-1`, which several servers need; see "
        "docs/operations.md. Unset: the folder `files` in DATA_DIR.",
    )

    @field_validator("storage_url")
    @classmethod
    def _usable_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            url = value.get_secret_value()
            # The options may contain the address of another service.
            check_escapes(url.partition("?")[0])
            parse_storage_url(url)
        return value

    def conflicts(self, core: Settings) -> list[str]:
        if self.storage_url is None:
            return []
        place = parse_storage_url(self.storage_url.get_secret_value())
        if not isinstance(place, Folder):
            return []
        if not core.data_dir.resolve().is_relative_to(place.path.resolve()):
            return []
        sentence = (
            "STORAGE_URL must name a folder that does not contain DATA_DIR: files in it that the "
            "database does not know are deleted."
        )
        return [sentence]
