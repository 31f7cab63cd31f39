"""What every step returned, where TensorBoard can read it."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_events(
    folder: Path, before: Sequence[Mapping[str, float]], writing: bool
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Log one stage: yields ``log(step, record)``.

    Args:
        folder: of the stage; what lies there is replaced, so that a stage that was continued is one curve.
        before: records of the steps that were done earlier.
        writing: otherwise nothing is written: this is not the first process.
    """
    if not writing:
        yield lambda step, record: None
        return
    from tensorboardX import SummaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:

        def log(step: int, record: Mapping[str, float]) -> None:
            for name, value in record.items():
                writer.add_scalar(name, value, step)

        for step, record in enumerate(before):
            log(step, record)
        yield log
