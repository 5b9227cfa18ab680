/* node/session.h: what a client said about itself and chose: lives in its connection. */
#ifndef MOON_NODE_SESSION_H
#define MOON_NODE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

enum reply_mode { REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIP_THIS };

struct session {
    uint8_t db;
    uint8_t proto; /* 2 or 3 */
    bool authenticated;
    bool no_touch, no_evict;
    bool readonly;      /* READONLY: may be answered by a replica */
    uint8_t reply_mode; /* enum reply_mode */
    char *name;         /* NULL: none. CLIENT SETNAME; owned (MEM_CONN, strlen + 1 bytes) */
    char *lib_name, *lib_ver;
};

#endif
