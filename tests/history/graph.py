"""Is a history strictly serializable? By its dependency graph, for kinds of groups whose keys tell the order of their versions.

Adya's edges (Adya, Liskov, O'Neil: Generalized isolation level definitions, ICDE 2000) inferred from values as Elle
does (Kingsbury, Alvaro: Elle, VLDB 14(3), 2020): ww writer to next writer, wr writer to reader, rw reader to the
writer of the next version; beside them real time (answered before the other was sent) and, on one connection, the order of what shares
a key. The history is strictly serializable only if this graph has no cycle. Real time costs two edges per
operation: a chain of moments, where an operation leads to the moment of its reply and is led to by the last moment before it was sent.

The cost grows with the number of operations, not with how many overlap: these groups may be large.
"""
import bisect
import collections

import model
from linear import show, tell

Edge = collections.namedtuple("Edge", "target why key version")


class Anomaly(Exception):
    """What no order of any operations explains; its text tells."""


class History:
    """Operations by index, and per key its versions in order, the first being what was there before all."""

    def __init__(self, keys, initial, ops, final):
        self.keys = frozenset(keys)
        self.ops = [op for op in ops if op.done is not None or not model.is_read(op.command)]
        last = max((op.done or op.sent for op in self.ops), default=0) + 1
        readers = tuple(self.reader(key) for key in keys)
        replies = [model.run(dict(final), reader) for reader in readers]
        self.ops.append(model_op(last, model.Exec((), readers), replies))
        self.origin = min(op.sent for op in self.ops)
        self.writer, self.order, self.place = {}, {}, {}
        self.writes = [list(self.writes_of(op)) for op in self.ops]
        self.collect(initial, final)

    def writes_of(self, op):
        for one, _ in parts(op):
            if one[0] == "MSET":
                yield from zip(one[1::2], one[2::2])
            elif one[0] == "RPUSH":
                yield one[1], one[2]

    def collect(self, initial, final):
        for i, writes in enumerate(self.writes):
            for key, version in writes:
                self.writer[key, version] = i
        for key in self.keys:
            self.order[key] = self.order_of(key, initial.get(key), final.get(key))
            self.place[key] = {version: i for i, version in enumerate(self.order[key])}
            if len(self.place[key]) < len(self.order[key]):
                raise Anomaly(f"{show(key)} holds an element twice: {show(self.order[key])}")
        for i, op in enumerate(self.ops):
            if isinstance(op.reply, model.Err) or (isinstance(op.reply, list)
                                                   and any(isinstance(x, model.Err) for x in op.reply)):
                raise Anomaly(f"refused: {tell(op, self.origin)}")
            for key, version in self.writes[i]:
                if op.done is not None and version not in self.place[key]:
                    raise Anomaly(f"acknowledged and lost, {show(key)} lacks {show(version)}: {tell(op, self.origin)}")

    def reads_of(self, op):
        """(key, version) of what it saw."""
        for one, reply in parts(op):
            if one[0] == "MGET":
                yield from zip(one[1:], reply)
            elif one[0] == "GET":
                yield one[1], reply
            elif one[0] == "LRANGE":
                yield one[1], self.version_of(one[1], reply)


class Registers(History):
    """Each key has one connection that writes it, in its own order."""

    @staticmethod
    def reader(key):
        return ("GET", key)

    def order_of(self, key, first, _last):
        mine = [(i, version) for i, writes in enumerate(self.writes) for name, version in writes if name == key]
        # By connection the history holds operations as they were sent; a stable order by time keeps pipelines.
        mine.sort(key=lambda entry: self.ops[entry[0]].sent)
        return [first] + [version for _, version in mine]


class Lists(History):
    """A list names its versions itself: each read must be a beginning of what the list was at the end."""

    @staticmethod
    def reader(key):
        return ("LRANGE", key, b"0", b"-1")

    def order_of(self, key, first, last):
        first, last = first or (), last or ()
        if last[:len(first)] != first:
            raise Anomaly(f"{show(key)} was {show(first)} and is {show(last)}, though nothing takes elements out")
        self.begin = getattr(self, "begin", {})
        self.begin[key], self.whole = first, {**getattr(self, "whole", {}), key: last}
        return [None] + list(last[len(first):])

    def version_of(self, key, items):
        whole = self.whole[key]
        if tuple(items) != whole[:len(items)] or len(items) < len(self.begin[key]):
            at = next((i for i, (a, b) in enumerate(zip(items, whole)) if a != b), min(len(items), len(whole)))
            raise Anomaly(f"{show(key)} was read as {show(items)} and is at the end {show(whole)}: they part at {at}, "
                          f"{show(items[at:at + 5])} and {show(whole[at:at + 5])}")
        return None if len(items) == len(self.begin[key]) else items[-1]


def model_op(at, command, reply):
    from linear import Op
    return Op(-1, at, at + 1, command, reply)


def parts(op):
    """(command, reply) of what it consists of; without a reply: commands only."""
    if isinstance(op.command, model.Exec):
        replies = op.reply if op.done is not None else [None] * len(op.command.commands)
        return zip(op.command.commands, replies)
    return [(op.command, op.reply)]


# ---- the graph: nodes 0 … n-1 are operations, from n on moments

def build(history):
    ops = history.ops
    edges = [[] for _ in ops]
    for key, order in history.order.items():
        for one, other in zip(order[1:], order[2:]):
            link(edges, history.writer.get((key, one)), history.writer.get((key, other)), "ww", key, other)
    for i, op in enumerate(ops):
        if op.done is None:
            continue
        for key, version in history.reads_of(op):
            if version not in history.place[key]:
                raise Anomaly(f"read {show(key)}={show(version)}, which nobody wrote: {tell(op, history.origin)}")
            place = history.place[key][version]
            if place:
                link(edges, history.writer.get((key, version)), i, "wr", key, version)
            if place + 1 < len(history.order[key]):
                later = history.order[key][place + 1]
                link(edges, i, history.writer.get((key, later)), "rw", key, later)
    link_connections(history, edges)
    link_moments(ops, edges)
    return edges


def link(edges, source, target, why, key, version=None):
    if source is not None and target is not None and source != target:
        edges[source].append(Edge(target, why, key, version))


def link_connections(history, edges):
    last = {}
    for i, op in enumerate(history.ops):
        for key in model.keys_of(op.command, history.keys):
            link(edges, last.get((op.conn, key)), i, "connection", key)
            last[op.conn, key] = i


def link_moments(ops, edges):
    count = len(ops)
    moments = sorted({op.done for op in ops if op.done is not None})
    edges += [[Edge(count + k + 1, "time", None, None)] for k in range(len(moments) - 1)] + [[]]
    place = {moment: count + k for k, moment in enumerate(moments)}
    for i, op in enumerate(ops):
        if op.done is not None:
            edges[i].append(Edge(place[op.done], "time", None, None))
        k = bisect.bisect_left(moments, op.sent)
        if k:
            edges[count + k - 1].append(Edge(i, "time", None, None))


def components(edges):
    """Tarjan's strongly connected components of more than one node (SIAM J. Comput. 1(2), 1972), without recursion."""
    index, low, on_stack, stack, found = {}, {}, set(), [], []
    for root in range(len(edges)):
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, left = work[-1]
            for edge in left:
                target = edge.target
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    members = set()
                    while not members or member != node:
                        member = stack.pop()
                        on_stack.discard(member)
                        members.add(member)
                    if len(members) > 1:
                        found.append(members)
    return found


STARTS_MAX = 400


def smallest_cycle(edges, count):
    """A cycle with fewest operations, as a list of (node, Edge out of it), moments left out; None: there is none."""
    best = None
    for members in components(edges):
        for start in sorted(node for node in members if node < count)[:STARTS_MAX]:
            cycle = cycle_from(start, edges, members, count)
            if cycle and (best is None or len(cycle) < len(best)):
                best = cycle
    return best


def cycle_from(start, edges, members, count):
    """Breadth first, where moments cost nothing."""
    came, queue, cost = {}, collections.deque([start]), {start: 0}
    while queue:
        node = queue.popleft()
        for edge in edges[node]:
            target = edge.target
            if target == start:
                return walk_back(start, node, edge, came, count)
            if target in members:
                price = cost[node] + (target < count)
                if price < cost.get(target, 1 << 60):
                    cost[target], came[target] = price, (node, edge)
                    queue.append(target) if target < count else queue.appendleft(target)
    return None


def walk_back(start, node, edge, came, count):
    trail = [(node, edge)]
    while node != start:
        node, edge = came[node]
        trail.append((node, edge))
    return [(node, edge) for node, edge in reversed(trail) if node < count]


def check(kind, keys, initial, ops, final):
    """None, or what to tell."""
    try:
        history = (Lists if kind == "append" else Registers)(keys, initial, ops, final)
        edges = build(history)
    except Anomaly as anomaly:
        return str(anomaly)
    cycle = smallest_cycle(edges, len(history.ops))
    return None if cycle is None else explain(history, cycle)


WHY = {"ww": "overwrote {version} into {key} behind it", "wr": "read {key}={version}, which it wrote",
       "rw": "wrote {key}={version}, which it did not see yet", "connection": "came behind it on its connection, with {key}",
       "time": "was sent after it had been answered"}


def explain(history, cycle):
    lines = [f"not strictly serializable, a cycle of {len(cycle)}:"]
    number = {node: f"T{i + 1}" for i, (node, _) in enumerate(cycle)}
    for node, _ in cycle:
        lines.append(f"  {number[node]} {tell(history.ops[node], history.origin)}")
    for i, (node, edge) in enumerate(cycle):
        after = number[cycle[(i + 1) % len(cycle)][0]]
        if edge.why == "ww":
            why = f"wrote {show(edge.key)}={show(edge.version)} over what it wrote"
        else:
            why = WHY[edge.why].format(key=show(edge.key), version=show(edge.version))
        lines.append(f"  {number[node]} before {after}: {after} {why}")
    return "\n".join(lines)
