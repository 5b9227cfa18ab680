/* shard/rt/timer.c: a wheel of eleven levels with 64 slots: six bits of the time per level, so every
 * 64-bit time has its place and there is no "too far".
 *
 * A timer lies on the level of the highest six-bit digit in which its time differs from the wheel's, in
 * the slot of its own digit. Hence all timers of a level come before those of the levels above, slots
 * of a level in order of their number, and the first used slot of the lowest used level holds the
 * earliest ones. Arming and cancelling are O(1); a timer sinks at most ten times. Advancing goes from
 * used slot to used slot, never tick by tick: a clock that jumps ahead by years costs what is due.
 *
 * Order inside a slot is order of arming, and sinking keeps it: equal times fire first in, first out. */
#include "shard/rt/timer.h"

#include <stddef.h>

#include "shard/base/assert.h"
#include "shard/base/mem.h"

#define DIGIT_BITS 6u
#define SLOTS (1u << DIGIT_BITS)
#define LEVELS ((64 + DIGIT_BITS - 1) / DIGIT_BITS)

struct list {
    struct timer *head, **tail;
};
struct timer_wheel {
    uint64_t now_ms;
    struct list due;       /* armed for a time that had passed: the next advance fires them */
    struct list firing;    /* taken out by the advance that runs */
    uint64_t used[LEVELS]; /* a bit per slot that is not empty */
    struct list slot[LEVELS][SLOTS];
};

static void list_init(struct list *l)
{
    l->head = NULL;
    l->tail = &l->head;
}

static void list_push(struct list *l, struct timer *t)
{
    t->next = NULL;
    t->prev_link = l->tail;
    *l->tail = t;
    l->tail = &t->next;
}

static void list_remove(struct list *l, struct timer *t)
{
    *t->prev_link = t->next;
    if (t->next != NULL)
        t->next->prev_link = t->prev_link;
    else
        l->tail = t->prev_link;
    t->next = NULL;
    t->prev_link = NULL;
}

/* Everything of `from` behind everything of `to`. */
static void list_append(struct list *to, struct list *from)
{
    if (from->head == NULL) return;
    *to->tail = from->head;
    from->head->prev_link = to->tail;
    to->tail = from->tail;
    list_init(from);
}

struct timer_wheel *timer_wheel_new(uint64_t now_ms)
{
    struct timer_wheel *w = mem_zalloc(MEM_RT, sizeof *w);
    w->now_ms = now_ms;
    list_init(&w->due);
    list_init(&w->firing);
    for (uint32_t level = 0; level < LEVELS; level++)
        for (uint32_t i = 0; i < SLOTS; i++)
            list_init(&w->slot[level][i]);
    return w;
}

void timer_wheel_free(struct timer_wheel *w)
{
    mem_free(MEM_RT, w, sizeof *w);
}

static uint32_t level_of(const struct timer_wheel *w, uint64_t at_ms)
{
    assert(at_ms > w->now_ms);
    return (63u - (uint32_t)__builtin_clzll(at_ms ^ w->now_ms)) / DIGIT_BITS;
}

static uint32_t digit(uint64_t time_ms, uint32_t level)
{
    return (uint32_t)(time_ms >> (level * DIGIT_BITS)) & (SLOTS - 1);
}

static void wheel_push(struct timer_wheel *w, struct timer *t)
{
    uint32_t level = level_of(w, t->at_ms);
    uint32_t i = digit(t->at_ms, level);
    list_push(&w->slot[level][i], t);
    w->used[level] |= 1ull << i;
}

void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t at_ms)
{
    if (timer_armed(t)) timer_cancel(w, t);
    t->at_ms = at_ms;
    if (at_ms <= w->now_ms)
        list_push(&w->due, t);
    else
        wheel_push(w, t);
}

void timer_cancel(struct timer_wheel *w, struct timer *t)
{
    if (!timer_armed(t)) return;
    if (t->at_ms <= w->now_ms) {
        /* The list matters only for the last of it: who points to our link? */
        list_remove(w->due.tail == &t->next ? &w->due : &w->firing, t);
        return;
    }
    uint32_t level = level_of(w, t->at_ms);
    uint32_t i = digit(t->at_ms, level);
    struct list *l = &w->slot[level][i];
    list_remove(l, t);
    if (l->head == NULL) w->used[level] &= ~(1ull << i);
}

/* First used slot of the lowest used level and the time it begins at; false if the wheel is empty. */
static bool first_slot(const struct timer_wheel *w, uint32_t *level_out, uint32_t *slot_out,
                       uint64_t *at_out)
{
    uint32_t level = 0;
    while (level < LEVELS && w->used[level] == 0)
        level++;
    if (level == LEVELS) return false;
    uint32_t i = (uint32_t)__builtin_ctzll(w->used[level]);
    uint32_t shift = level * DIGIT_BITS;
    uint64_t above =
        shift + DIGIT_BITS < 64 ? w->now_ms >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS) : 0;
    *level_out = level;
    *slot_out = i;
    *at_out = above | (uint64_t)i << shift;
    return true;
}

/* Moves the wheel to the slot's beginning: what is due then goes to `firing`, the rest sinks. */
static void take_slot(struct timer_wheel *w, uint32_t level, uint32_t i, uint64_t at_ms)
{
    struct list taken;
    list_init(&taken);
    list_append(&taken, &w->slot[level][i]);
    w->used[level] &= ~(1ull << i);
    w->now_ms = at_ms;
    while (taken.head != NULL) {
        struct timer *t = taken.head;
        list_remove(&taken, t);
        if (t->at_ms <= at_ms)
            list_push(&w->firing, t);
        else
            wheel_push(w, t);
    }
}

void timer_advance(struct timer_wheel *w, uint64_t now_ms)
{
    assert(w->firing.head == NULL); /* not from a callback */
    list_append(&w->firing, &w->due);
    uint32_t level = 0, i = 0;
    uint64_t at_ms = 0;
    while (first_slot(w, &level, &i, &at_ms) && at_ms <= now_ms)
        take_slot(w, level, i, at_ms);
    if (now_ms > w->now_ms) w->now_ms = now_ms;
    while (w->firing.head != NULL) {
        struct timer *t = w->firing.head;
        list_remove(&w->firing, t);
        t->fire(t);
    }
}

uint64_t timer_wait_ms(const struct timer_wheel *w, uint64_t now_ms)
{
    if (w->due.head != NULL) return 0;
    uint32_t level = 0, i = 0;
    uint64_t at_ms = 0;
    if (!first_slot(w, &level, &i, &at_ms)) return UINT64_MAX;
    return at_ms > now_ms ? at_ms - now_ms : 0;
}
