"""The README is tried, not believed."""

import re
from pathlib import Path

from tests.applications import setting_kinds

README = (Path(__file__).parents[1] / "README.md").read_text()


def settings_table() -> str:
    """The configuration table as it has to stand in the README."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for kind in setting_kinds():
        for name, field in kind.model_fields.items():
            default = field.get_default()
            shown = ",".join(default) if isinstance(default, tuple) else default
            text = (field.description or "").replace("|", "\\|")
            lines.append(
                f"| `{name.upper()}` | {f'`{shown}`' if shown not in (None, '') else ''} | {text} |"
            )
    return "\n".join(lines)


def readme_module() -> dict[str, str]:
    """File name to source of the module that the README builds."""
    part = README.split("## A module in ten minutes")[1].split("Then write its migration")[0]
    return dict(re.findall(r"^`(\w+\.py)`\n\n```python\n(.*?)```$", part, re.MULTILINE | re.DOTALL))


def test_every_setting_is_listed_with_its_default_and_meaning() -> None:
    assert settings_table() in README, f"Put this table into README.md:\n\n{settings_table()}"


def test_the_files_it_names_exist() -> None:
    root = Path(__file__).parents[1]
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (root / link).exists(), link
