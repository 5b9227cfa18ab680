/* The scripts of the node, by their SHA-1. A shard looks here only for what it has not compiled yet, so the mutex is
 * met once per script and shard. What came by EVAL is kept as long as it is one of the last EVAL_SCRIPTS_MAX (as Redis since 7.4):
 * clients that write values into their scripts would fill the memory otherwise. */
#include <pthread.h>

#include "shard/base/limits.h"
#include "shard/script/script_priv.h"

#define BUCKETS 4096u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under the lock. */
static struct source *buckets[BUCKETS];
static struct source *oldest, *newest; /* of those that are not kept */
static uint32_t loose;
static size_t bytes;
static _Atomic uint64_t generation;

static size_t size_of(size_t len)
{
    return sizeof(struct source) + len;
}

void script__source_drop(struct source *s)
{
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1) return;
    mem_free(MEM_SCRIPT, s, size_of(s->len));
}

static struct source *share(struct source *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

static struct source **link_of(const char sha[static SHA1_TEXT])
{
    uint32_t h = 0;
    for (uint32_t i = 0; i < 8; i++)
        h = h << 4 ^ (uint32_t)(sha[i] & 31);
    struct source **link = &buckets[h % BUCKETS];
    while (*link != NULL && memcmp((*link)->sha, sha, SHA1_TEXT) != 0)
        link = &(*link)->next;
    return link;
}

/* ---- the order of those that are not kept */

static void order_add(struct source *s)
{
    s->older = newest;
    s->newer = NULL;
    *(newest == NULL ? &oldest : &newest->newer) = s;
    newest = s;
    loose++;
}

static void order_remove(struct source *s)
{
    *(s->older == NULL ? &oldest : &s->older->newer) = s->newer;
    *(s->newer == NULL ? &newest : &s->newer->older) = s->older;
    loose--;
}

static void forget_oldest(void)
{
    struct source *s = oldest, **link = link_of(s->sha);
    assert(*link == s);
    *link = s->next;
    order_remove(s);
    bytes -= size_of(s->len);
    script__source_drop(s);
}

/* ---- use */

struct source *script__cache_find(const char sha[static SHA1_TEXT])
{
    pthread_mutex_lock(&lock);
    struct source *s = *link_of(sha);
    if (s != NULL) share(s);
    pthread_mutex_unlock(&lock);
    return s;
}

static struct source *add(const struct source *like, struct bytes text, bool keep)
{
    size_t size = size_of(text.len);
    while (oldest != NULL && (loose >= EVAL_SCRIPTS_MAX || bytes + size > SCRIPTS_BYTES_MAX))
        forget_oldest();
    if (bytes + size > SCRIPTS_BYTES_MAX) return NULL;
    struct source *s = mem_try_alloc(MEM_SCRIPT, size);
    if (s == NULL) return NULL;
    *s = (struct source){
        .refs = 1, .flags = like->flags, .kept = keep, .skip = like->skip, .len = text.len};
    memcpy(s->sha, like->sha, SHA1_TEXT);
    if (text.len > 0) memcpy(s->text, text.data, text.len);
    *link_of(s->sha) = s; /* the end of its bucket */
    if (!keep) order_add(s);
    bytes += size;
    return s;
}

struct source *script__cache_add(const struct source *like, struct bytes text, bool keep)
{
    pthread_mutex_lock(&lock);
    struct source *s = *link_of(like->sha);
    if (s == NULL) {
        s = add(like, text, keep);
    } else if (keep && !s->kept) {
        order_remove(s);
        s->kept = true;
    }
    if (s != NULL) share(s);
    pthread_mutex_unlock(&lock);
    return s;
}

uint64_t script__cache_generation(void)
{
    return atomic_load_explicit(&generation, memory_order_acquire);
}

void script__cache_flush(void)
{
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < BUCKETS; i++)
        while (buckets[i] != NULL) {
            struct source *s = buckets[i];
            buckets[i] = s->next;
            script__source_drop(s);
        }
    oldest = newest = NULL;
    loose = 0;
    bytes = 0;
    atomic_fetch_add_explicit(&generation, 1, memory_order_release);
    pthread_mutex_unlock(&lock);
}

void script_flush(void)
{
    script__cache_flush();
}
