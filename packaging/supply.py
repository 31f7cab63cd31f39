"""What ships, under which licences: the packages that an installation with all extras for users brings along.

The bill of materials itself is made by CycloneDX's own tool, from the environment (`make release`).
"""

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
EXTRAS = ("design", "fab", "slm", "export", "clinic")
"""What users install; `test` and `lint` ship with nothing."""


def shipped() -> dict[str, Distribution]:
    """Installed distributions by normalised name, that the project and its extras for users need, all the way down."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    todo = [Requirement(line) for line in wanted]
    found: dict[str, Distribution] = {}
    while todo:
        requirement = todo.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        extras = requirement.extras or {""}
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        if name in found and not requirement.extras:
            continue
        try:
            found[name] = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # for another platform
        for line in found[name].requires or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                needed.marker = None
                todo.append(needed)
    return found


def licence(package: Distribution) -> str:
    """The licence a package declares: its expression, its classifiers, or how the text begins that it brings."""
    told = package.metadata
    classified = [
        line.split("::")[-1].strip() for line in told.get_all("Classifier", []) if "License ::" in line
    ]
    return str(
        told.get("License-Expression")
        or "; ".join(classified)
        or " ".join((told.get("License") or _text(package)).split()[:200])
    )


def bundled(package: Distribution) -> set[str]:
    """Names of the shared libraries that a package's wheel carries beside its own code, without versions."""
    return {
        re.split(r"[-.]", file.name)[0]
        for file in package.files or []
        if any(part.endswith(".libs") for part in file.parts)
    }


def _text(package: Distribution) -> str:
    return "".join(
        file.read_text() for file in package.files or [] if re.match("licen[cs]e|copying", file.name, re.I)
    )
