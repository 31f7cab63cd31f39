"""Requirements beside the tests that prove them, and hazards beside the requirements that control them.

``python packaging/traceability.py`` writes docs/requirements.md and docs/risks.md from docs/requirements.toml and
from the marks ``@pytest.mark.proves("ID")`` in tests/.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MADE = "Made by `make requirements` from [requirements.toml](requirements.toml) and the marks on the tests."


def declared() -> dict[str, list[dict[str, Any]]]:
    """The tables `requirement` and `hazard`."""
    return tomllib.loads((ROOT / "docs" / "requirements.toml").read_text(encoding="utf-8"))


def proofs() -> dict[str, list[tuple[str, str]]]:
    """File and name of the tests that are marked as proving each id."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for proven in _marks(node):
                    found.setdefault(proven, []).append((str(path.relative_to(ROOT)), node.name))
    return found


def _marks(function: ast.FunctionDef) -> Iterator[str]:
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.proves":
            yield from (ast.literal_eval(argument) for argument in mark.args)


def requirements_page() -> str:
    """docs/requirements.md."""
    tests = proofs()
    lines = [
        "# Requirements and their tests",
        "",
        MADE,
        "",
        "| id | what must be true | proven by |",
        "|---|---|---|",
    ]
    for requirement in declared()["requirement"]:
        proven = "<br>".join(
            f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})"
            for path, name in tests.get(requirement["id"], [])
        )
        lines.append(f"| {requirement['id']} | {requirement['text']} | {proven} |")
    return "\n".join(lines) + "\n"


def risks_page() -> str:
    """docs/risks.md."""
    names = ("hazard", "cause", "harm", "severity", "before", "after", "residual")
    lines = [
        "# Risks",
        "",
        MADE,
        "",
        "In the style of ISO 14971: what can go wrong, what is done about it, and the requirement (with its tests, in",
        "[requirements](requirements.md)) that shows it was done. Probabilities are the maintainers' judgement.",
        "",
    ]
    for hazard in declared()["hazard"]:
        what, cause, harm, severity, before, after, residual = (hazard[name] for name in names)
        lines += [
            f"## {hazard['id']}: {what}",
            "",
            f"* **Cause:** {cause}.",
            f"* **Harm:** {harm} ({severity}).",
            f"* **Probability:** {before}; with the controls {after}.",
            f"* **Controls:** {', '.join(hazard['controls'])}.",
            f"* **What remains:** {residual}",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    (ROOT / "docs" / "requirements.md").write_text(requirements_page(), encoding="utf-8")
    (ROOT / "docs" / "risks.md").write_text(risks_page(), encoding="utf-8")
