"""``opticaldr board find|info|monitor|shell``: the microcontroller of bench and camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from opticaldr.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Callable

    from opticaldr.firmware_interface import Board

board = typer.Typer(no_args_is_help=True, help="Find, ask, watch and operate the board of bench and camera.")

Port = Annotated[
    str | None,
    typer.Option(
        envvar="OPTICALDR_BOARD",
        help="A pyserial URL (/dev/ttyACM0, socket://host:port), or sim:// for a simulated board. "
        "Default: the only one that is plugged in.",
        show_default=False,
    ),
]


def at(port: str | None) -> Board:
    """The board that ``--port`` names, not yet opened."""
    from opticaldr.firmware_interface import Board, SimulatedBoard
    from opticaldr.firmware_interface.finding import the_only_board
    from opticaldr.hardware.world import World

    if port == SimulatedBoard.name:
        return Board(SimulatedBoard(World(paced=True)))
    return Board(port or the_only_board())


@board.command()
def find(
    every_port: Annotated[
        bool, typer.Option("--all", help="Greet every serial port, not only Picos.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the boards that are plugged in.

    Exit code 1 when there is none.
    """
    from dataclasses import asdict

    from opticaldr.cli.console import tell
    from opticaldr.firmware_interface.finding import find as find_boards

    found = find_boards(every_port=every_port)
    if as_json:
        tell({"boards": [asdict(each) for each in found]}, as_json=True)
    for each in [] if as_json else found:
        typer.echo(f"{each.port}  " + (f"board {each.info.serial}" if each.info else each.problem))
    if not any(each.info for each in found):
        if not as_json:
            typer.echo(
                "no board found; plug it in (flashing one: hardware/board/README.md), or try --port sim://",
                err=True,
            )
        raise typer.Exit(1)


@board.command()
def info(port: Port = None, as_json: Json = False) -> None:
    """Say what the board is, and in which state the bench is."""
    from dataclasses import asdict

    from opticaldr.cli.console import tell

    with at(port) as there:
        capable = there.info()
        said: dict[str, Any] = {"port": there.port.name, **asdict(capable), "state": asdict(there.state())}
        said["temperature"] = there.temperature() if "temperature" in capable.capabilities else None
        said["retries"] = there.retries
    tell(said, as_json=as_json)


@board.command()
def monitor(
    port: Port = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long. Default: at Ctrl-C.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what the board says unasked, as it comes.

    Survives an unplug of a few seconds.
    """
    from opticaldr.cli.console import tell

    events: list[dict[str, Any]] = []
    with at(port) as there:
        started = there.port.now()
        try:
            while seconds is None or there.port.now() - started < seconds:
                for event in there.events(timeout=0.2):
                    said = {
                        "time": round(event.time - started, 4),
                        "kind": event.kind,
                        "values": event.values,
                    }
                    if as_json:
                        events.append(said)
                    else:
                        typer.echo(
                            f"{said['time']:10.3f}  {event.kind:<9}  {' '.join(map(str, event.values))}"
                        )
                    if seconds is not None and there.port.now() - started >= seconds:
                        break
        except KeyboardInterrupt:
            pass
    if as_json:
        tell({"events": events}, as_json=True)


@board.command()
def shell(port: Port = None, as_json: Json = False) -> None:
    """Operate the board by hand: one command a line, SI units.

    `help` lists them.
    """
    import sys

    from opticaldr.cli.console import tell
    from opticaldr.errors import Refusal

    answers: list[dict[str, Any]] = []
    with at(port) as there:
        if sys.stdin.isatty():
            typer.echo("metres, seconds, kelvin, power 0 … 1; `help`, `quit`", err=True)
        for line in sys.stdin:
            words = line.split()
            if not words:
                continue
            if words[0] in ("quit", "exit"):
                break
            try:
                answer = _obey(there, words[0], words[1:])
            except Refusal as refusal:
                answer = {"error": str(refusal)}
            answers.append({"command": " ".join(words), **answer})
            if not as_json:
                typer.echo(" ".join(f"{name} {value}" for name, value in answer.items()))
    if as_json:
        tell({"answers": answers}, as_json=True)
    if not sys.stdin.isatty() and any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _obey(there: Board, name: str, words: list[str]) -> dict[str, Any]:
    """Carry out one line of the shell."""
    from dataclasses import asdict

    from opticaldr.errors import Refusal

    commands: dict[str, tuple[str, Callable[..., Any]]] = {
        "source": ("POWER", lambda power: there.source(float(power))),
        "shutter": ("open|closed", lambda way: there.shutter({"open": True, "closed": False}[way])),
        "home": ("", there.home),
        "move": ("METRES", lambda metres: there.move_to(float(metres))),
        "where": ("", there.where),
        "stop": ("", there.stop),
        "trigger": ("SECONDS", lambda seconds: there.trigger(float(seconds))),
        "light": ("RED GREEN BLUE", lambda *colour: there.light(*map(float, colour))),
        "temperature": ("", there.temperature),
        "tamper": ("", there.tamper),
        "watchdog": ("SECONDS", lambda seconds: there.watchdog(float(seconds))),
        "state": ("", lambda: asdict(there.state())),
        "info": ("", lambda: asdict(there.info())),
        "help": ("", lambda: ", ".join(f"{each} {what}".strip() for each, (what, _) in commands.items())),
    }
    if name not in commands:
        raise Refusal(f"there is no command {name!r}", "`help` lists them")
    usage, act = commands[name]
    if len(words) != len(usage.split()):
        raise Refusal(f"{name} takes {usage or 'nothing'}", "`help` lists the commands")
    try:
        result = act(*words)
    except (ValueError, KeyError) as error:
        raise Refusal(f"{name} {' '.join(words)}: {error}", f"write {name} {usage}") from None
    if isinstance(result, dict):
        return result
    return {name: "done" if result is None else result}
