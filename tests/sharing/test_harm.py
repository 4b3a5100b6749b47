"""Whatever is done to leaders and to Redis, everybody is told everything, once and in order."""

from __future__ import annotations

import pytest

from tests.support.redis import SERVER

pytest.importorskip("redis")
if SERVER is None:
    pytest.skip("there is no redis-server here", allow_module_level=True)

from tests.sharing.world import World


@pytest.mark.parametrize(("backend", "streams"), [("native", "v2"), ("electric", "v1")])
def test_nothing_is_lost_or_told_twice(backend, streams):
    """One of each kind of harm, and news after each."""
    world = World(backend=backend, streams=streams, workers=3, runs=2, pause=0.1)
    try:
        world.wait_for_news()
        for event in dict.fromkeys(world.EVENTS):
            world.do(event)
            world.wait_for_news()
        world.finish()
        states, parts = world.check()
        assert states > 0
        assert parts > 0
    finally:
        world.close()
