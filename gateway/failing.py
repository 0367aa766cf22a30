"""What ended a gateway, said as one error, whichever of its tasks it came from."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from devices.errors import CareloopError, Retryable
from gateway.store.ownership import OwnershipLostError


@contextmanager
def told_alone() -> Generator[None]:
    """Let the one error that a person can do something about out of the group of tasks that it ended."""
    try:
        yield
    except BaseExceptionGroup as group:
        lost = group.subgroup(OwnershipLostError)
        if lost is not None:
            raise Retryable("ownership_lost", "another gateway has taken this database over; start again") from lost
        for error in _each(group):
            if isinstance(error, CareloopError):
                raise error from group
        raise


def _each(group: BaseExceptionGroup[BaseException]) -> Generator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _each(cast("BaseExceptionGroup[BaseException]", error))
        else:
            yield error
