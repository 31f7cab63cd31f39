"""What a verb says: progress on stderr while it works, one result on stdout when it is done."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Progress = Callable[[str, int, int], None]


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Draw one bar a stage on stderr; yields ``progress(stage, done, total)`` to give to the rooms."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bars,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            elif done < bars.tasks[tasks[stage]].completed:
                bars.reset(tasks[stage])  # the stage again: its time starts again
            bars.update(tasks[stage], completed=done, total=total)

        yield progress


def tell(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a verb's result: one JSON object, or aligned ``name  value`` lines for people."""
    if as_json:
        json.dump(result, sys.stdout, default=str, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    width = max(map(len, result), default=0)
    for name, value in result.items():
        sys.stdout.write(f"{name.replace('_', ' '):<{width}}  {_readable(value)}\n")


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_readable(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_readable, value))
    return str(value)
