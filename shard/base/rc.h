/* shard/base/rc.h: the error codes of every room, one X-macro list (rc.def), and their texts. */
#ifndef MOON_BASE_RC_H
#define MOON_BASE_RC_H

#define X(name, text) RC_##name,
enum rc {
#include "shard/base/rc.def"
    RC_COUNT
};
#undef X

/* Static text, never NULL. */
const char *rc_text(enum rc rc);
/* The nearest rc of a negative errno (as io_uring and our syscall wrappers return it). */
enum rc rc_from_errno(int negative_errno);

#endif
