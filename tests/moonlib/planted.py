"""Nodes with one mistake planted (shard/base/planted.h): build/asan/moon, or MOON_PLANTED_BIN. A release knows nothing
of it."""
import os

import pytest

from moonlib.server import ROOT

NODE = os.environ.get("MOON_PLANTED_BIN") or os.path.join(ROOT, "build", "asan", "moon")


@pytest.fixture(name="plant")
def fixture_plant(monkeypatch):
    """plant(word): nodes started from here on have that mistake. None: they have none."""
    if not os.path.exists(NODE):
        pytest.fail(f"{NODE} is missing: make MODE=asan {os.path.relpath(NODE, ROOT)}")

    def plant(word):
        monkeypatch.setenv("MOON_BIN", NODE)
        monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")
        if word is not None:
            monkeypatch.setenv("MOON_PLANT", word)

    return plant
