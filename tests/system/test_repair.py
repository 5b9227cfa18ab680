"""A damaged log: the start refuses, moonctl data says what a repair loses and cuts, the node serves the rest."""
import glob
import os
import re
import subprocess

import pytest

from moonlib.server import ROOT, StartFailed, moon_binary, start_moon

MOONCTL = os.environ.get("MOONCTL_BIN") or os.path.join(ROOT, "build", "release", "moonctl")
KEYS = 400
VALUE = b"value" * 100


def run(*argv, **env):
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL, env={**os.environ, **env})
    return done.returncode, done.stdout, done.stderr


def state(folder):
    """Every byte of the log."""
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "log", "*"))):
        with open(path, "rb") as f:
            found[os.path.basename(path)] = f.read()
    return found


def segment_with(folder, text):
    for path in sorted(glob.glob(os.path.join(folder, "log", "log-*"))):
        with open(path, "rb") as f:
            at = f.read().find(text)
        if at >= 0:
            return path, at
    raise AssertionError(f"{text!r} is in no segment")


def damage(folder, text):
    path, at = segment_with(folder, text)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))
    return os.path.basename(path), at


def write_keys(folder, shards):
    """One frame for each key: a pass takes one request of a client that waits for each reply."""
    with start_moon(shards=shards, folder=folder, appendonly="yes") as moon, moon.client() as c:
        for i in range(KEYS):
            assert c.call("SET", f"key:{i:04}", VALUE) == b"OK"


@pytest.fixture(name="stopped")
def fixture_stopped(tmp_path):
    """A stopped node of one shard, damaged in the middle of its log: folder, file, offset."""
    folder = str(tmp_path)
    write_keys(folder, 1)
    name, at = damage(folder, b"key:0200")
    return folder, name, at


def refusal(folder, shards=1):
    with pytest.raises(StartFailed) as caught:
        start_moon(shards=shards, folder=folder, appendonly="yes")
    return str(caught.value)


def place_in(text, name):
    """The offset that a message names in this file."""
    found = re.search(re.escape(name) + r"\D+(\d+)", text)
    assert found, text
    return int(found.group(1))


def test_start_and_check_name_the_same_place(stopped):
    folder, name, at = stopped
    text = refusal(folder)
    named = place_in(text, name)
    assert at - 4096 < named <= at, (named, at)  # the frame begins shortly before its damaged byte
    assert f"moonctl data repair {folder}" in text
    before = state(folder)
    code, out, _ = run(moon_binary(), "--check-log", folder)
    assert code == 10
    assert place_in(out, name) == named
    assert run(MOONCTL, "data", "check", folder)[0] == 10
    assert state(folder) == before


def test_repair_needs_consent(stopped):
    folder, name, _ = stopped
    before = state(folder)
    code, out, err = run(MOONCTL, "data", "repair", folder)
    assert (code, out) == (5, "") and "--yes" in err
    code, out, _ = run(MOONCTL, "data", "repair", folder, "--dry-run", MOON_LOG_REPAIR="yes")
    assert code == 0 and name in out and re.search(r"\d+ bytes cut off", out), out
    assert state(folder) == before


def check_prefix(moon):
    """What was before the damage is there, what follows it is not."""
    with moon.client() as c:
        assert c.call("DBSIZE") == 200
        assert c.call("GET", "key:0000") == VALUE
        assert c.call("GET", "key:0199") == VALUE
        assert c.call("GET", "key:0200") is None


def test_repair_cuts_and_the_node_serves_what_was_before(stopped):
    folder, _, _ = stopped
    code, out, err = run(MOONCTL, "data", "repair", "--yes", folder)
    assert code == 0 and "repaired" in out, (out, err)
    assert run(MOONCTL, "data", "check", folder)[0] == 0
    assert run(MOONCTL, "data", "repair", folder, "--yes")[0] == 0  # nothing left to do
    with start_moon(folder=folder, appendonly="yes") as moon:
        check_prefix(moon)
        assert run(MOONCTL, "data", "repair", folder, "--yes")[0] == 5  # in use
        with moon.client() as c:
            c.call("SET", "after", "repair")
    with start_moon(folder=folder, appendonly="yes") as moon, moon.client() as c:
        assert c.call("GET", "after") == b"repair"
        assert c.call("DBSIZE") == 201


def test_directive_cuts_at_the_start(stopped):
    folder, name, _ = stopped
    with start_moon(folder=folder, appendonly="yes", args=["--log-repair", "yes"]) as moon:
        check_prefix(moon)
        assert name in moon.log_tail()
        assert moon.client().call("CONFIG", "GET", "log-repair") == [b"log-repair", b"yes"]


def test_later_generations_are_set_aside(tmp_path):
    """Damage in an ended generation: what was written after it goes too, as files that can still be looked at."""
    folder = str(tmp_path)
    write_keys(folder, 1)
    with start_moon(shards=2, folder=folder, appendonly="yes") as moon, moon.client() as c:
        assert c.call("SET", "later", "1") == b"OK"
    damage(folder, b"key:0200")
    assert "is damaged" in refusal(folder, shards=2)
    code, out, _ = run(MOONCTL, "data", "repair", folder, "--dry-run")
    assert code == 0 and "is given up" in out, out
    assert run(MOONCTL, "data", "repair", folder, "--yes")[0] == 0
    assert glob.glob(os.path.join(folder, "log", "dropped-log-*"))
    with start_moon(shards=2, folder=folder, appendonly="yes") as moon:
        check_prefix(moon)
        assert moon.client().call("EXISTS", "later") == 0


def test_other_ends(tmp_path):
    folder = str(tmp_path / "none")
    assert run(MOONCTL, "data", "check", folder)[0] == 3
    assert not os.path.exists(folder)
    assert run(MOONCTL, "data", "repair")[0] == 2
    assert run(MOONCTL, "data", "mend", folder)[0] == 2
    write_keys(str(tmp_path), 1)
    code, out, _ = run(MOONCTL, "data", "check", str(tmp_path))
    assert code == 0 and "is whole" in out
