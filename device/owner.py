"""Whose a place is: where root writes into a service's folder, the service cannot go on."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from opticaldr.errors import Refusal


def require_owner(path: Path) -> None:
    """Refuse root where somebody else is at home: at ``path``, or where it would be made.

    Raises:
        Refusal: root was about to leave files that the owner may not write.
    """
    if os.geteuid() != 0:
        return
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    owner = nearest.stat().st_uid
    if owner != 0:
        raise Refusal(
            f"{nearest} belongs to {_name(owner)}", f"put sudo -u {_name(owner)} before the command"
        )


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"
