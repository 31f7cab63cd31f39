"""The family tree of an artefact, youngest first."""

from collections.abc import Iterator

from opticaldr.artefacts.manifest import Ancestor, Manifest


def ancestry_lines(manifest: Manifest) -> Iterator[str]:
    """Draw the chain of parents as text, one line an artefact: ``└─ design 1a2b3c4d  2026-…``.

    A forebear that is reached by two ways is drawn in full once and marked "(above)" afterwards.
    """
    known = {ancestor.id: ancestor for ancestor in manifest.ancestors}
    drawn: set[str] = set()

    def lines(node: Ancestor, indent: str) -> Iterator[str]:
        for position, parent_id in enumerate(node.parents):
            last = position == len(node.parents) - 1
            parent = known[parent_id]
            seen = parent_id in drawn
            drawn.add(parent_id)
            yield f"{indent}{'└─' if last else '├─'} {_label(parent)}{'  (above)' if seen else ''}"
            if not seen:
                yield from lines(parent, indent + ("   " if last else "│  "))

    root = manifest.as_ancestor()
    yield _label(root)
    yield from lines(root, "")


def _label(node: Ancestor) -> str:
    return f"{node.kind} {node.id[:8]}  {node.created:%Y-%m-%d %H:%M:%S} UTC  {node.software}"
