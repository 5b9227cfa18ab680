/* shard/rt/mailbox.h: bounded byte ring from one core to another: one producer, one consumer, no
 * locks. Messages are variable-length, contiguous, 8-byte aligned, and own their bytes. The producer
 * collects and publishes once per pass; the consumer gives room back once per drain. */
#ifndef MOON_RT_MAILBOX_H
#define MOON_RT_MAILBOX_H

#include "shard/base/attr.h"
#include "shard/base/bytes.h"

struct mailbox;

struct mailbox *mailbox_new(size_t bytes); /* power of two */
void mailbox_free(struct mailbox *m);

/* Producer. Room for one message of `bytes` (≤ a quarter of the ring), NULL if full. Filled in place,
 * then mailbox_push() with the bytes really used (≤ reserved). Invisible until mailbox_publish(). */
MUST_CHECK void *mailbox_reserve(struct mailbox *m, size_t bytes);
void mailbox_push(struct mailbox *m, size_t bytes);
/* True if something new became visible (so the peer may need a wake). */
bool mailbox_publish(struct mailbox *m);
size_t
mailbox_room(const struct mailbox *m); /* largest message that surely fits now, producer side */
/* With a message of `bytes` more, at least 5/8 of the ring would be free: for messages without which nobody would
 * wait, in a ring of which half is promised to others. */
bool mailbox_has_spare(struct mailbox *m, size_t bytes);

/* Consumer. Next message or false; valid until mailbox_release(). */
MUST_CHECK bool mailbox_next(struct mailbox *m, void **message_out, size_t *bytes_out);
/* True: the ring was so full that the producer may be asleep waiting for this room: wake it. Holds for
 * producers that wait for no more than a sixteenth of the ring and look again when they are about to sleep. */
bool mailbox_release(struct mailbox *m);
/* Consumer: anything published and not yet taken? Safe before sleeping (acquire). */
bool mailbox_pending(const struct mailbox *m);

#endif
