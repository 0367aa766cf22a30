"""What keeps readings from being stored, in words that say what to do."""

import errno
from typing import Final

import psycopg
from psycopg import errors

from gateway.database.session import has_no_room

_FULL: Final = "the database's disk is full: nothing can be stored until there is space, then it goes on by itself"
_NO_ROOM: Final = "the database has no connection left for us: raise max_connections, or end others'"
_NO_SPACE: Final = "No space left on device"
"""ENOSPC in a server's words, where libpq tells no more than words: those of a connection that was refused."""

WORDS: Final = (
    (errors.DiskFull, _FULL),
    (errors.TooManyConnections, _NO_ROOM),
    (errors.OutOfMemory, "the database server is out of memory"),
    (errors.ReadOnlySqlTransaction, "the database is read-only: it is a replica, or was made so"),
    (errors.InsufficientPrivilege, "our database user may not write"),
    (errors.CannotConnectNow, "the database is starting up, shutting down or recovering"),
    (errors.AdminShutdown, "the database is being shut down"),
    (errors.CrashShutdown, "the database server has crashed and recovers"),
    (errors.QueryCanceled, "the database gave a statement up: statement_timeout, or somebody cancelled it"),
    (errors.DeadlockDetected, "two transactions were in each other's way"),
    (errors.LockNotAvailable, "somebody holds a lock on our tables"),
    (errors.InvalidPassword, "the database refuses our password"),
    (errors.InvalidCatalogName, "the database is not there any more"),
    (TimeoutError, "the database does not answer"),
    (psycopg.OperationalError, "the database cannot be reached"),
    (psycopg.InterfaceError, "the connection to the database broke"),
    (OSError, "the database cannot be reached"),
)


def words_of(error: BaseException) -> str:
    """A sentence about an error of the database; none of its own words, which may hold data."""
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or _NO_SPACE in str(error):
        return _FULL
    if has_no_room(error):
        return _NO_ROOM
    return next((words for kind, words in WORDS if isinstance(error, kind)), f"{type(error).__name__}")
