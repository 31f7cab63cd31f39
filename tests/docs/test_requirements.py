"""Every requirement is proven by a test, every hazard is controlled by a requirement, and the pages say so."""

import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
sys.path.insert(0, str(HOUSE / "packaging"))
import traceability  # noqa: E402

KNOWN = [requirement["id"] for requirement in traceability.declared()["requirement"]]


@pytest.mark.parametrize("requirement", KNOWN)
def test_every_requirement_has_its_tests(requirement):
    assert traceability.proofs().get(requirement)


def test_marks_and_controls_name_requirements_that_exist():
    hazards = traceability.declared()["hazard"]
    assert set(traceability.proofs()) <= set(KNOWN)
    assert {control for hazard in hazards for control in hazard["controls"]} == set(KNOWN)


def test_the_pages_are_made_from_them():
    remedy = "run `make requirements`"
    assert (HOUSE / "docs/requirements.md").read_text() == traceability.requirements_page(), remedy
    assert (HOUSE / "docs/risks.md").read_text() == traceability.risks_page(), remedy
