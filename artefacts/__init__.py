"""What rooms pass to each other: sealed folders, their ancestry, signatures and reports.

with create("design", out, seed=0) as draft:
    (draft.path / "metrics.json").write_text(...)
design = draft.artefact

design = open_artefact(path, kind="design")     # every file is verified against its SHA-256
design.json("metrics.json")
"""

from opticaldr.artefacts.ancestry import ancestry_lines
from opticaldr.artefacts.manifest import KINDS, SCHEMA_VERSION, Ancestor, Manifest
from opticaldr.artefacts.report import Report
from opticaldr.artefacts.signing import create_key, load_key, load_public_key, sign, verify
from opticaldr.artefacts.store import Artefact, Draft, create, open_artefact, require_new

__all__ = [
    "KINDS",
    "SCHEMA_VERSION",
    "Ancestor",
    "Artefact",
    "Draft",
    "Manifest",
    "Report",
    "ancestry_lines",
    "create",
    "create_key",
    "load_key",
    "load_public_key",
    "open_artefact",
    "require_new",
    "sign",
    "verify",
]
