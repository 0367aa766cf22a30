"""A process that works the inbox, a few notices a transaction, and says so after each: made to be killed."""

import asyncio
import sys

from tests.services.case_world import open_world


async def main(url: str) -> None:
    """Work until killed."""
    async with open_world(url, inbox_batch=3) as world:
        worker = world.worker()
        while True:
            if await worker.work_batch():
                print("worked", flush=True)  # noqa: T201 - the test listens
            else:
                await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
