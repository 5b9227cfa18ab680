/* raftlog/members.c: configurations. libraft decodes its own with assertions that are compiled out, so
 * whatever comes from a disk or a peer is decoded here first. */
#include "raftlog/raftlog_priv.h"

#include "shard/base/assert.h"

static_assert(RL_STANDBY + RAFT_VOTER + RL_SPARE < 8, "roles are mapped below");

static enum rl_role role_from(int role)
{
    if (role == RAFT_VOTER) return RL_VOTER;
    return role == RAFT_STANDBY ? RL_STANDBY : RL_SPARE;
}

static int role_to(enum rl_role role)
{
    if (role == RL_VOTER) return RAFT_VOTER;
    return role == RL_STANDBY ? RAFT_STANDBY : RAFT_SPARE;
}

/* Format of libraft 0.15: u8 1, u64 count, then each {u64 id, address, NUL, u8 role}, padded to 8. */
bool members_decode(struct bytes in, struct rl_members *out)
{
    uint64_t count;
    if (in.len < 9 || in.data[0] != 1) return false;
    memcpy(&count, in.data + 1, sizeof count);
    if (count == 0 || count > RAFT_MEMBERS_MAX) return false;
    size_t at = 9;
    *out = (struct rl_members){.count = (uint32_t)count};
    for (uint32_t i = 0; i < out->count; i++) {
        struct rl_member *m = &out->at[i];
        if (in.len - at < sizeof m->id) return false;
        memcpy(&m->id, in.data + at, sizeof m->id);
        at += sizeof m->id;
        const uint8_t *end = memchr(in.data + at, 0, in.len - at);
        if (m->id == 0 || end == NULL) return false;
        size_t n = (size_t)(end - (in.data + at)) + 1;
        if (n > sizeof m->address || in.len - at - n < 1) return false;
        memcpy(m->address, in.data + at, n);
        at += n;
        uint8_t role = in.data[at++];
        if (role != RAFT_VOTER && role != RAFT_STANDBY && role != RAFT_SPARE) return false;
        m->role = role_from(role);
        for (uint32_t j = 0; j < i; j++)
            if (out->at[j].id == m->id || strcmp(out->at[j].address, m->address) == 0) return false;
    }
    return in.len - at < 8;
}

void members_encode(const struct rl_members *m, struct buf *out)
{
    size_t start = out->len;
    uint64_t count = m->count;
    buf_add_byte(out, 1);
    buf_add(out, &count, sizeof count);
    for (uint32_t i = 0; i < m->count; i++) {
        buf_add(out, &m->at[i].id, sizeof m->at[i].id);
        buf_add(out, m->at[i].address, strlen(m->at[i].address) + 1);
        buf_add_byte(out, (uint8_t)role_to(m->at[i].role));
    }
    while ((out->len - start) % 8 != 0)
        buf_add_byte(out, 0);
}

void members_from_raft(const struct raft_configuration *c, struct rl_members *out)
{
    assert(c->n <= RAFT_MEMBERS_MAX);
    *out = (struct rl_members){.count = c->n};
    for (uint32_t i = 0; i < c->n; i++) {
        size_t n = strlen(c->servers[i].address) + 1;
        assert(n <= sizeof out->at[i].address);
        out->at[i].id = c->servers[i].id;
        out->at[i].role = role_from(c->servers[i].role);
        memcpy(out->at[i].address, c->servers[i].address, n);
    }
}

int members_to_raft(const struct rl_members *m, struct raft_configuration *out)
{
    raft_configuration_init(out);
    for (uint32_t i = 0; i < m->count; i++) {
        int rv = raft_configuration_add(out, m->at[i].id, m->at[i].address, role_to(m->at[i].role));
        if (rv != 0) return rv;
    }
    return 0;
}
