#include "shard/exec/stamps.h"

#define LOW_MAX (UINT32_MAX / 2) /* a second's reads are far fewer than the other half */

/* Those of before see `all` whenever they see a stamp that was cleared: they look at it last. */
static void clear(struct stamps *s)
{
    s->now = ((s->now >> 32) + 1) << 32;
    stamps_note_all(s);
    s->now++;
    for (uint32_t i = 0; i < STAMPS; i++)
        atomic_store_explicit(&s->of[i], 0, memory_order_release);
}

void stamps_rest(struct stamps *s)
{
    if (s->on && !s->used) {
        stamps_note_all(s);
        s->on = false;
    }
    s->used = false;
    if ((uint32_t)s->now > LOW_MAX) clear(s);
}
