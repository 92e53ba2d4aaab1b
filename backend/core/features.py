"""Features and their permissions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ADMIN_ROLE = "admin"


@dataclass(frozen=True)
class Feature:
    """Actions on one subject: `notes` with the action `publish` is the permission `notes:publish`.

    `granted_to` lists the actions of each built-in role at the first start with this feature.
    The role `admin` always holds all actions.
    """

    name: str
    description: str
    actions: Mapping[str, str]
    granted_to: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def permissions(self) -> dict[str, str]:
        """Descriptions by name of the permission."""
        return {f"{self.name}:{action}": text for action, text in self.actions.items()}
