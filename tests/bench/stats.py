"""The arithmetic of paired measurements. Pure."""
import math


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def geometric_mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def median_interval(values, confidence=0.95):
    """(low, high, coverage) of the median from order statistics: no assumption about the
    distribution but independent draws. With fewer than 6 values even the extremes cover less than
    95 %: then they are returned with the coverage that they have."""
    ordered = sorted(values)
    n = len(ordered)
    best = (ordered[0], ordered[-1], 1 - 2 * 0.5 ** n)
    below = 0.0  # P(fewer than `rank` of n values lie below the median)
    for rank in range(1, n // 2 + 1):
        below += math.comb(n, rank - 1) * 0.5 ** n
        coverage = 1 - 2 * below
        if coverage < confidence:
            break
        best = (ordered[rank - 1], ordered[n - rank], coverage)
    return best


def verdict(values, target, at_least=False):
    """`met` or `missed` when the whole interval of the median is on one side of the target,
    else `open`: more pairs would tell."""
    if target is None:
        return "–"
    low, high, _ = median_interval(values)
    if at_least:
        low, high, target = -high, -low, -target
    if high <= target:
        return "met"
    return "missed" if low > target else "open"
