"""Nodes on a disk that can be told to hang and to fail (faulty_disk.c), and the fixtures for them."""
import os
import subprocess

import pytest

from moonlib.server import start_moon

HERE = os.path.dirname(os.path.abspath(__file__))


class Faulty:
    """A node on a disk that obeys: tell("hang"), tell("stall", log=1), tell("fail"), heal()."""

    def __init__(self, library, folder, monkeypatch, shards, fsync, args=()):
        self.folder, self.shards, self.args = folder / "data", shards, ["--appendfsync", fsync, *args]
        self.order = folder / "order"
        self.folder.mkdir(exist_ok=True)
        monkeypatch.setenv("MOON_FAULT", str(self.order))
        with monkeypatch.context() as m:
            m.setenv("LD_PRELOAD", str(library))
            m.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0")
            self.node = self.start()

    def start(self):
        # io_uring asks the kernel itself: nobody can stand between.
        return start_moon(shards=self.shards, io="epoll", appendonly="yes", folder=str(self.folder), args=self.args)

    def tell(self, what, log=None):
        words = "log-" if log is None else f"log-00000001-{log:02d}-"
        temp = self.order.with_suffix(".new")
        temp.write_text(f"{what} {words}\n")
        os.replace(temp, self.order)

    def heal(self):
        self.order.unlink(missing_ok=True)


@pytest.fixture(scope="module", name="library")
def fixture_library(tmp_path_factory):
    built = tmp_path_factory.mktemp("faulty") / "faulty_disk.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(built), os.path.join(HERE, "faulty_disk.c")], check=True)
    return built


@pytest.fixture(name="faulty")
def fixture_faulty(library, tmp_path, monkeypatch):
    made = []

    def make(shards, fsync, args=()):
        made.append(Faulty(library, tmp_path, monkeypatch, shards, fsync, args))
        return made[-1]

    yield make
    for one in made:
        one.heal()
        one.node.kill()
