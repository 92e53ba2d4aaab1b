"""Features and their permissions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ADMIN_ROLE = "admin"
# The actions of owners on their rows, in a feature of `owned_feature`.
OWN_ROWS = ("read", "write", "delete")


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


def owned_feature(
    name: str, description: str, *, granted_to: Mapping[str, tuple[str, ...]]
) -> Feature:
    """Return the feature of rows that belong to users; `name` is their plural."""
    rows = name.replace("_", " ")
    actions = {
        "read": f"See {rows}.",
        "write": f"Make and change {rows}.",
        "delete": f"Delete {rows}.",
        "admin": f"All of this with other people's {rows}.",
    }
    return Feature(name, description, actions, granted_to)
