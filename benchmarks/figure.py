"""One measured figure, and how a list of them is printed."""

import argparse
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """What was measured, in which unit, against which goal and which peer or floor of the same run.

    ``goal`` is None where a figure is only reported; ``peer`` is empty where there is none. ``why_missed``: for the
    reader of a goal that was missed, the reason and the next idea.
    """

    what: str
    value: float
    unit: str
    goal: float | None = None
    better: Literal["higher", "lower"] = "lower"
    peer: str = ""
    why_missed: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal


def machine() -> str:
    """Processor, cores and Python, as far as a figure's reader needs them."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            model = next(line.split(":", 1)[1].strip() for line in stream if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main(name: str, figures: Callable[[], list[Figure]]) -> None:
    """Measure and print: aligned lines for people, or with ``--json`` one JSON object."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    measured = figures()
    if as_json:
        print(json.dumps({"name": name, "machine": machine(), "figures": [asdict(f) for f in measured]}))
        return
    print(f"{name} on {machine()}")
    for figure in measured:
        goal = (
            "" if figure.goal is None else f"goal {'≥' if figure.better == 'higher' else '≤'} {figure.goal:g}"
        )
        verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
        peer = f"[{figure.peer}]" if figure.peer else ""
        print(f"  {figure.what:<64} {figure.value:>10.4g} {figure.unit:<8} {goal:<14} {verdict:<7}{peer}")
