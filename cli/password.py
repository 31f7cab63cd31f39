"""``opticaldr password``: the password of the local page."""

from pathlib import Path
from typing import Annotated

import typer


def password(
    file: Annotated[Path, typer.Argument(help="Where to keep its hash: password_file in the settings.")],
) -> None:
    """Choose the password that the local page asks for.

    Only its scrypt hash is kept.
    """
    import os

    from opticaldr.device.page.login import hash_password
    from opticaldr.errors import Refusal

    line = hash_password(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refusal(f"{file} exists already", "remove it, or name another file") from None
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{line}\n")
