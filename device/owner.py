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
    about = nearest.stat()
    if about.st_uid == 0:
        return
    try:
        name = pwd.getpwuid(about.st_uid).pw_name
        become = f"sudo -u {name}"
    except KeyError:  # sudo knows no user without a name
        name = f"user {about.st_uid}"
        become = f"setpriv --reuid={about.st_uid} --regid={about.st_gid} --clear-groups"
    raise Refusal(f"{nearest} belongs to {name}", f"put {become} before the command")
