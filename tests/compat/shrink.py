"""Makes a failing sequence of commands short, and prints it so that a person can repeat it."""
import re
import time

from moonlib.resp import encode_one
from pair import Died, name_of

LINES_SHOWN_MAX, LINE_SHOWN_MAX = 60, 400
PLAIN_WORD = re.compile(rb"[A-Za-z0-9_.:{}+\-*?\[\]()]+\Z")


def quote(word):
    """As redis-cli reads it."""
    data = encode_one(word)
    if PLAIN_WORD.match(data):
        return data.decode()
    shown = {0x0a: "\\n", 0x0d: "\\r", 0x09: "\\t", 0x22: '\\"', 0x5c: "\\\\"}
    return '"' + "".join(shown.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in data) + '"'


def as_cli(commands):
    lines = ["  " + " ".join(map(quote, command)) for command in commands[-LINES_SHOWN_MAX:]]
    lines = [line if len(line) <= LINE_SHOWN_MAX else f"{line[:LINE_SHOWN_MAX]} … {len(line)} characters" for line in lines]
    if len(commands) > LINES_SHOWN_MAX:
        lines.insert(0, f"  … {len(commands) - LINES_SHOWN_MAX} more before: it does not fail every time")
    return "\n".join(lines)


class Failure:
    """What went wrong first in a sequence: `kind` tells equal failures from others."""

    def __init__(self, index, kind, text):
        self.index, self.kind, self.text = index, kind, text


def general(raw):
    """A reply without its numbers and names, to tell one fault from another."""
    return re.sub(rb"'[^']*'|\d+", b"#", raw[:60]) if raw[:1] in b"-+" else raw[:1]


def show(raw):
    return repr(raw[:400])[1:] + (f" … {len(raw)} bytes" if len(raw) > 400 else "")


def attempt(pair, commands, check_data=True):
    """Runs on empty servers. The first Failure, or None."""
    pair.reset()
    found = pair.run(commands)
    if found is not None:
        kind = (name_of(found.command), found.why.split(":")[0], general(found.oracle), general(found.moon))
        if found.why.startswith("died"):
            kind = ("died",)
        text = f"{found.why}\n  reference: {show(found.oracle)}\n  Moon:      {show(found.moon)}"
        return Failure(found.index, kind, text)
    if not check_data:
        return None
    why = pair.compare_data()
    return Failure(len(commands) - 1, ("data", why.split(": ")[1].split()[0]), "stored data differ: " + why) if why else None


def shrink(pair, commands, failure, seconds=15.0, runs=300):
    """The shortest sequence found in the time that still ends in the same kind of failure."""
    deadline = time.monotonic() + seconds
    is_data = failure.kind[0] == "data"
    commands = commands[:failure.index + 1]
    last = failure
    size = max(1, len(commands) // 2)
    while time.monotonic() < deadline and runs > 0:
        at, removed = 0, False
        while at < len(commands) and time.monotonic() < deadline and runs > 0:
            shorter = commands[:at] + commands[at + size:]
            runs -= 1
            again = attempt(pair, shorter, is_data) if shorter else None
            if again is not None and again.kind == failure.kind:
                commands, last, removed = shorter[:again.index + 1], again, True
            else:
                at += size
        if size == 1 and not removed:
            break
        size = max(1, min(size // 2, len(commands) // 2))
    return commands, last


def report(pair, commands, failure, seconds=15.0):
    short, last = shrink(pair, commands, failure, seconds)
    text = f"RESP{pair.resp}, {len(short)} of {failure.index + 1} commands:\n{as_cli(short)}\n→ {last.text}"
    if failure.kind == ("died",) and pair.last_words:
        text += f"\nits log ended:\n{pair.last_words}"
    return text


def find_failures(pair, commands, failures_max=6, seconds=45.0):
    """Texts of different failures in one long sequence. After a failure both servers are emptied and
    the rest goes on; a kind that was seen is not shrunk again."""
    deadline = time.monotonic() + seconds
    seen, texts = set(), []
    while commands and len(texts) < failures_max and time.monotonic() < deadline:
        try:
            failure = attempt(pair, commands)
            if failure is None:
                break
            if failure.kind not in seen:
                seen.add(failure.kind)
                texts.append(report(pair, commands, failure, min(15.0, max(1.0, deadline - time.monotonic()))))
        except Died as died:
            texts.append(f"cannot go on: {died}")
            break
        commands = commands[failure.index + 1:]
    return texts
