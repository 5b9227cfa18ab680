"""deploy/setup as a person uses it: a node in the foreground, Ctrl-C, a taken port, missing packages."""
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest

import redis

from moonlib.server import free_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def setup(*words, **env):
    return subprocess.run(["sh", "deploy/setup", *words], cwd=ROOT, capture_output=True, text=True, check=False,
                          timeout=60, env={**os.environ, **env})


class Run:
    """`sh deploy/setup run` in a process group of its own, as a terminal starts it."""

    def __init__(self, port, **more):
        # The build it finds is the one under test: MOON_… of the runner are not for the node.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MOON", "MAKE"))}
        self.process = subprocess.Popen(["sh", "deploy/setup", "run"], cwd=ROOT, start_new_session=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        env={**env, "MOON_PORT": str(port), **more})
        self.output = ""
        self.wait_for("Ctrl-C")
        self.port = int(re.search(r"Moon answers on 127\.0\.0\.1:(\d+)\.", self.output).group(1))
        self.folder = os.path.join(ROOT, re.search(r"Data: +(\S+)", self.output).group(1))
        self.client = redis.Redis(port=self.port)
        self.node_pid = int(self.client.info("server")["process_id"])

    def wait_for(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.output:
            left = end - time.monotonic()
            ready = left > 0 and select.select([self.process.stdout], [], [], left)[0]
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert chunk, f"{text!r} did not come in {seconds} s:\n{self.output}"
            self.output += chunk.decode(errors="replace")

    def interrupt(self):
        """Ctrl-C: the terminal signals the whole group. The exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.output += self.process.communicate(timeout=30)[0].decode(errors="replace")
        return self.process.returncode

    def end(self):
        for pid in (self.process.pid, self.node_pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(name="start")
def fixture_start():
    """Starts runs; ends them, and removes their data, whatever happens."""
    runs = []

    def start(port, **more):
        runs.append(Run(port, **more))
        return runs[-1]

    yield start
    for run in runs:
        run.end()
        shutil.rmtree(run.folder, ignore_errors=True)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid, seconds=15):
    end = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_alive(pid)


def test_ctrl_c_stops_the_node_and_the_data_is_there_again(start):
    run = start(free_port())
    run.client.set("greeting", "hello")
    assert run.interrupt() == 0, run.output
    assert not is_alive(run.node_pid)
    with pytest.raises(redis.exceptions.ConnectionError):
        redis.Redis(port=run.port).ping()
    again = start(run.port)
    assert again.port == run.port
    assert again.client.get("greeting") == b"hello"


def without(program, folder):
    """A PATH on which that program is missing."""
    for where in os.environ["PATH"].split(":"):
        for name in os.listdir(where) if os.path.isdir(where) else ():
            if name != program and not os.path.lexists(folder / name):
                os.symlink(os.path.join(where, name), folder / name)
    return str(folder)


@pytest.mark.parametrize("cli", (True, False), ids=("redis-cli", "perl"))
def test_it_waits_until_the_data_is_loaded(start, tmp_path, cli):
    path = os.environ["PATH"] if cli else without("redis-cli", tmp_path)
    run = start(free_port())
    with run.client.pipeline(transaction=False) as pipe:
        for i in range(2000):
            pipe.set(f"k{i}", i)
        pipe.execute()
    assert run.interrupt() == 0, run.output
    begin = time.monotonic()
    again = start(run.port, MOON_KEY_LOAD_DELAY="1000", PATH=path)
    assert time.monotonic() - begin > 2 and again.client.dbsize() == 2000


def test_a_taken_port_is_said_and_the_next_one_used(start):
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        taken = other.getsockname()[1]
        run = start(taken)
        assert f"port {taken} is taken, using {run.port}" in run.output
        assert run.port > taken


def test_the_node_ends_with_a_killed_script(start):
    run = start(free_port())
    os.kill(run.process.pid, signal.SIGKILL)
    assert wait_until_gone(run.node_pid)


def test_a_shutdown_by_a_client_ends_the_script(start):
    run = start(free_port())
    run.client.shutdown(nosave=True)
    assert run.process.wait(timeout=30) == 0


@pytest.mark.parametrize("words, env, status, text", [
    (["run", "3"], {}, 2, "cluster"),
    (["run", "many"], {}, 2, "how many"),
    (["run"], {"MOON_PORT": "six"}, 2, "no port"),
    (["deps", "everything"], {}, 2, "run, test or full"),
    (["fly"], {}, 2, "no word fly"),
])
def test_wrong_use(words, env, status, text):
    done = setup(*words, **env)
    assert (done.returncode, text in done.stderr) == (status, True), done.stderr


def test_help_names_the_words():
    done = setup("help")
    assert done.returncode == 0
    for word in ("run", "test", "deps", "MOON_NO_APT"):
        assert word in done.stdout


def fake_tools(folder, **scripts):
    """A PATH on which these commands are scripts of ours."""
    for name, body in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text("#!/bin/sh\n" + body + "\n")
        path.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_nothing_missing_never_calls_apt(tmp_path):
    path = fake_tools(tmp_path, dpkg_query="printf 'ii '", apt_get=f"touch {tmp_path}/called; exit 1")
    assert setup("deps", PATH=path).returncode == 0
    assert not (tmp_path / "called").exists()


def test_forbidden_to_install_names_what_is_missing(tmp_path):
    path = fake_tools(tmp_path, dpkg_query="case $4 in make) exit 1 ;; *) printf 'ii ' ;; esac",
                      apt_get=f"touch {tmp_path}/called")
    done = setup("deps", PATH=path, MOON_NO_APT="1")
    assert done.returncode == 3
    assert done.stderr.rstrip().endswith("to install: make")
    assert not (tmp_path / "called").exists()


def test_without_root_the_line_to_type_is_printed(tmp_path):
    path = fake_tools(tmp_path, dpkg_query="exit 1", id="echo 1000", sudo="exit 1",
                      apt_get=f"touch {tmp_path}/called")
    done = setup("deps", PATH=path)
    assert done.returncode == 3
    assert "apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make" in done.stderr
    assert not (tmp_path / "called").exists()


def test_root_installs_just_what_is_missing(tmp_path):
    path = fake_tools(tmp_path, dpkg_query="case $4 in make) exit 1 ;; *) printf 'ii ' ;; esac", id="echo 0",
                      apt_get=f'echo "$*" >>{tmp_path}/called')
    done = setup("deps", PATH=path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "called").read_text() == "update -q\ninstall -y --no-install-recommends make\n"
