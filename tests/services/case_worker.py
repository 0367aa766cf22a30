"""A process that works the inbox, a few notices a transaction, and says so after each: made to be killed.

It works no more batches than it is told to, however late it is killed: those who come after it find work, too.
"""

import asyncio
import sys

from tests.services.case_world import open_world


async def main(url: str, batches: int) -> None:
    """Work until killed."""
    async with open_world(url, inbox_batch=3) as world:
        worker = world.worker()
        for _ in range(batches):
            if await worker.work_batch():
                print("worked", flush=True)  # noqa: T201 - the test listens
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
