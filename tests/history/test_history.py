"""Random concurrent clients against real nodes, their histories judged; and against redis-server, which must raise no alarm.

MOON_HISTORY_SECONDS: how long (short; `full` runs 1800). MOON_SEED replays the draws: the interleaving is the machine's.
MOON_HISTORY_PLACES="tuple=many versions=many" tries what workload.PLACES does not allow yet, "all=off tuple=many" nothing else.
"""
import os
import time

import pytest

import workload
from campaign import Campaign, Settings
from moonlib.server import start_oracle

SECONDS = float(os.environ.get("MOON_HISTORY_SECONDS", "8"))
IS_LONG = SECONDS > 60
SEED = int(os.environ.get("MOON_SEED") or (time.time() if IS_LONG else 1))
ORACLE_SECONDS = float(os.environ.get("MOON_HISTORY_ORACLE_SECONDS", "3"))


def places():
    chosen = dict(workload.PLACES)
    for word in os.environ.get("MOON_HISTORY_PLACES", "").split():
        kind, place = word.split("=")
        place = {"many": "many", "multi": "multi", "one": "one", "off": None}[place]
        chosen.update(dict.fromkeys(chosen, place) if kind == "all" else {kind: place})
    assert set(chosen) == set(workload.PLACES), "a kind that does not exist"
    return chosen


def run(campaign, seconds):
    try:
        campaign.run(seconds)
    finally:
        print(campaign.summary())
    assert sum(campaign.operations.values()) > 200 * seconds, "hardly anything was asked: the test says nothing"


@pytest.mark.timeout(SECONDS + 120)
def test_histories_of_moon(tmp_path):
    run(Campaign(SEED, tmp_path / "data", places()), SECONDS)


def start_reference(settings, folder):
    return start_oracle(folder=folder, args=["--appendonly", "yes", "--appendfsync", settings.fsync])


@pytest.mark.timeout(ORACLE_SECONDS + 120)
def test_the_reference_raises_no_alarm(tmp_path):
    settings = lambda rng: Settings(1, None, rng.choice(["always", "everysec"]))
    run(Campaign(SEED, tmp_path / "data", workload.EVERYTHING, start_reference, settings), ORACLE_SECONDS)
