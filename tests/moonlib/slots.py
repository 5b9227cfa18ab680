"""Which shard of a node owns a key."""


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
            crc &= 0xFFFF
    return crc


def shard_of(key, shards):
    """Of a key without a {tag}."""
    return crc16(key.encode()) % 16384 // 32 % shards


def shards_of(node):
    return int(node.argv[node.argv.index("--shards") + 1])


def tags(node):
    """One {tag} on each shard."""
    return ["{%s}" % key_on(s, shards_of(node)) for s in range(shards_of(node))]


def key_on(shard, shards, prefix="k"):
    return next(key for key in (f"{prefix}{i}" for i in range(100000)) if shard_of(key, shards) == shard)
