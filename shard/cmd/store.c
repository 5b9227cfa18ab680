#include "shard/cmd/store.h"

void store_nothing(struct exec *x, struct bytes key)
{
    struct change to;
    exec_open(x, key, &to);
    if (to.e.record != NULL) {
        exec_log(x, &to, OP_DEL, &to.key.name, 1);
        exec_delete(x, &to, NOTIFY_GENERIC, "del");
    }
    reply_i64(x->reply, 0);
}

static void replace(struct exec *x, struct bytes key, struct record *fresh, enum notify_class cls,
                    const char *event)
{
    int64_t len = (int64_t)value_len(fresh);
    /* Beside the value: the destination's DEL, perhaps one more because it has expired. */
    if (!exec_reserve(x, exec_value_log_bytes(fresh) + 2 * key.len + 64)) {
        exec_free_record(x, fresh);
        return;
    }
    struct change to;
    exec_open(x, key,
              &to); /* from here on a source may be gone: it may be what the destination holds */
    struct record *old = to.e.record;
    to.e.record = fresh;
    if (!exec_commit(x, &to, cls, event)) return;
    db_move_bytes(x->ks, &to.key, (int64_t)value_bytes(fresh)); /* made before the slot was open */
    if (old != NULL) exec_free_replaced(x, &to, old);
    exec_log_group_begin(x);
    if (old != NULL) exec_log(x, &to, OP_DEL, &to.key.name, 1);
    exec_log_value(x, &to);
    exec_log_group_end(x);
    reply_i64(x->reply, len);
}

void store_result(struct exec *x, struct bytes key, struct record *fresh, enum notify_class cls,
                  const char *event)
{
    if (fresh == NULL) {
        exec_reply_nomem(x);
    } else if (value_len(fresh) == 0) {
        record_free(fresh);
        store_nothing(x, key);
    } else {
        replace(x, key, fresh, cls, event);
    }
}
