"""What can be permitted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ADMIN_ROLE = "admin"


@dataclass(frozen=True)
class Feature:
    """Actions on one subject. `notes` with the action `publish` makes `notes:publish`.

    `granted_to` says which built-in roles hold which actions when the feature first appears;
    the `admin` role always holds all of them.
    """

    name: str
    description: str
    actions: Mapping[str, str]
    granted_to: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def permissions(self) -> dict[str, str]:
        """Description by permission name."""
        return {f"{self.name}:{action}": text for action, text in self.actions.items()}
