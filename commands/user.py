"""Who uses the command line."""

from __future__ import annotations

import getpass


def user_name() -> str:
    """The name of this user; `unknown` on a machine that does not know it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
