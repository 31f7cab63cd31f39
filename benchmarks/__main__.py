"""``python -m benchmarks [room …]``: measure rooms, each in its own process, and write benchmarks/RESULTS.md.

What slow tests measured is told in ``benchmarks/proofs.md``, which ends the page.

What was measured of a room stays in ``benchmarks/results/<room>.json`` until it is measured again, so that the page can
be brought up to date room by room.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure

HERE = Path(__file__).parent
ROOMS = ("demo", "twin", "fabricate", "board", "calibrate", "learn", "adapt", "evaluate", "head", "device")


def measure(room: str) -> None:
    """Run one room's benchmark and keep its figures; one that fails leaves the old ones.

    Raises:
        SystemExit: it failed.
    """
    print(f"{room} …", file=sys.stderr)
    command = [sys.executable, "-m", f"benchmarks.{room}", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"benchmarks.{room} failed")
    result = json.loads(done.stdout) | {"date": f"{datetime.now(UTC):%Y-%m-%d}"}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{room}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def page(results: list[dict[str, Any]]) -> str:
    """RESULTS.md: a table for every room, and what was missed with the reason."""
    lines = [
        "# Figures",
        "",
        "Made by `make bench`. Ratios against a peer or floor of the same run; other figures depend on the machine.",
        "",
    ]
    for result in results:
        figures = [Figure(**figure) for figure in result["figures"]]
        lines += [f"## {result['name']}", "", f"{result['date']}, {result['machine']}", ""]
        lines += ["| what | value | goal | | peer or floor |", "|---|---|---|---|---|"]
        for figure in figures:
            sign = "≥" if figure.better == "higher" else "≤"
            goal = "" if figure.goal is None else f"{sign} {figure.goal:g}"
            verdict = {True: "met", False: "**missed**", None: ""}[figure.met]
            value = f"{figure.value:.4g} {figure.unit}".strip()
            lines.append(f"| {figure.what} | {value} | {goal} | {verdict} | {figure.peer} |")
        missed = [figure for figure in figures if figure.met is False]
        lines += [
            "",
            *(f"* {figure.what}, missed: {figure.why_missed or 'not understood'}." for figure in missed),
        ]
        lines += [""] if missed else []
    return "\n".join(lines)


def run(rooms: list[str]) -> None:
    """Measure `rooms`, and write the page of all rooms that were ever measured."""
    unknown = set(rooms) - set(ROOMS)
    if unknown:
        sys.exit(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(ROOMS)}")
    for room in rooms:
        measure(room)
    kept = [HERE / "results" / f"{room}.json" for room in ROOMS]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in kept if path.exists()]
    proofs = (HERE / "proofs.md").read_text(encoding="utf-8")
    (HERE / "RESULTS.md").write_text(page(results) + "\n" + proofs, encoding="utf-8")


if __name__ == "__main__":
    run(sys.argv[1:] or list(ROOMS))
