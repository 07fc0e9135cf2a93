"""What can go wrong in a harvest, sorted by what the caller should do about it."""

from __future__ import annotations

import errno
import sqlite3


class HarvestError(RuntimeError):
    """Base of the harvest's errors: the run stops with this message (what, expected, got, next step)."""


class SettingError(HarvestError, ValueError):
    """An option has a value that cannot work; nothing was requested."""


class ItemError(HarvestError):
    """This item cannot be had (404, wrong content, too large, not readable); the others can."""


class TransientError(HarvestError):
    """Asking again later may work; ``retry_after`` is what the service asked for, in seconds."""

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class BlockedError(HarvestError):
    """A host refuses us or is down: nothing more is asked of it in this run."""


class DiskFullError(HarvestError):
    """No space left: what is complete is kept, the run can be repeated when there is room."""

    def __init__(self, where: object) -> None:
        super().__init__(
            f"{where}: no space left on the disk; what is complete is kept. Free some space (or name another "
            f"--cache/--out) and run the same command again: it goes on where it stopped"
        )


def is_disk_full(error: BaseException) -> bool:
    """True for ENOSPC and EDQUOT, and for SQLite's word for them."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
