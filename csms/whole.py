"""A step that is brought to its end, though whoever waits for it is cancelled."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def whole(step: Coroutine[Any, Any, Result], timeout_s: float) -> Result:
    """Do a step to its end. Who is cancelled meanwhile ends it first, for `timeout_s` at most: what
    is cut off while it is sent may go twice, or is in doubt."""
    task = asyncio.create_task(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=timeout_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
