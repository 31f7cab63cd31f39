"""``python -m benchmarks``: every room's figures, each in its own process, into benchmarks/RESULTS.md."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOMS = ("demo", "twin", "fabricate", "board", "calibrate", "learn", "adapt", "evaluate", "head", "device")


def run() -> None:
    """Run the rooms whose benchmark exists and write the table; a room that fails is named in it."""
    here = Path(__file__).parent
    lines = ["# Figures", "", "Made by `make bench`; ratios against a peer or floor of the same run.", ""]
    for room in ROOMS:
        if not (here / f"{room}.py").exists():
            continue
        print(f"{room} …", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{room}", "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        lines += [f"## {room}", ""]
        if done.returncode:
            lines += [f"Failed: `{(done.stderr.strip().splitlines() or ['no message'])[-1]}`", ""]
            continue
        result = json.loads(done.stdout)
        lines += [f"{datetime.now(UTC):%Y-%m-%d}, {result['machine']}", ""]
        lines += ["| what | value | goal | peer |", "|---|---|---|---|"]
        for figure in result["figures"]:
            sign = "≥" if figure["better"] == "higher" else "≤"
            goal = "" if figure["goal"] is None else f"{sign} {figure['goal']:g}"
            lines.append(
                f"| {figure['what']} | {figure['value']:.4g} {figure['unit']} | {goal} | {figure['peer']} |"
            )
        lines.append("")
    (here / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    run()
