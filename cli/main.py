"""The ``opticaldr`` command: the verbs, and what happens when one of them refuses."""

import errno
import os
import sys
from typing import Annotated, Any

import typer

from opticaldr.cli import (
    ablate,
    audit,
    board,
    bundle,
    calibrate,
    camera,
    demo,
    design,
    doctor,
    evaluate,
    export,
    fabricate,
    finetune,
    inspect,
    password,
    rearm,
    run,
    show,
    slm,
    update,
)
from opticaldr.errors import Refusal

app = typer.Typer(
    name="opticaldr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="A camera with a learned lens, that keeps no faces: design the lens, have it made, calibrate it, adapt the "
    "network to it, run it. Start with: opticaldr demo",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"opticaldr {version('opticaldr')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None: ...


# Typer may bring its own copy of click, so the class of usage errors is reached through its public subclass.
UsageError: Any = typer.BadParameter.__bases__[0]

for verb in (
    demo.demo,
    design.design,
    fabricate.fabricate,
    inspect.inspect,
    calibrate.calibrate,
    finetune.finetune,
    export.export,
    evaluate.evaluate,
    ablate.ablate,
    run.run,
    rearm.rearm,
    update.update,
    show.show,
    password.password,
    doctor.doctor,
):
    app.command()(verb)
for name, instrument in (
    ("board", board.board),
    ("camera", camera.camera),
    ("slm", slm.slm),
    ("audit", audit.app),
    ("bundle", bundle.app),
):
    app.add_typer(instrument, name=name)


_INTERRUPTED = 130


def main() -> None:
    """Run the command line.

    Exit codes: 0 well, 1 a failed gate or a refused input (one line on stderr says why and what to do),
    2 wrong usage, 130 stopped with Ctrl-C.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime would report to its makers by default
    try:
        code = app(prog_name="opticaldr", standalone_mode=False) or 0
        if code == _INTERRUPTED:  # typer turns Ctrl-C into this code, without a word
            raise KeyboardInterrupt
        sys.exit(code)
    except UsageError as usage:
        usage.show()
        sys.exit(2)
    except Refusal as refusal:
        _fail(str(refusal))
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped; nothing half-made was left behind", code=_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("opticaldr"):
            raise
        _fail(f"this verb needs {missing.name}, which is not installed; opticaldr doctor says what has it")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free space, or name another --out" if full else "let this user in, or name another place"
        place = error.filename or ("the disk" if full else "a file")
        _fail(f"{place}: {error.strerror}; {remedy}")


def _fail(line: str, code: int = 1) -> None:
    sys.stderr.write(f"opticaldr: {' '.join(line.split())}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
