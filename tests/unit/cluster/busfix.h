/* Buses in one process over real sockets of the loopback interface, on one io, with a clock of our own; and
 * raw connections that say what no bus would say. */
#ifndef MOON_TESTS_BUSFIX_H
#define MOON_TESTS_BUSFIX_H

#include "cluster/bus_hello.h"
#include "shard/rt/io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define BUSFIX_NODES 4u

struct busnode {
    struct bus *bus;
    struct topo_id id;
    char address[64];
    uint32_t ups, downs, messages;
    bool refuse_all; /* admit() says no */
    bool with_admit;
    uint64_t got_bytes, got_sum;
    uint64_t last_number; /* of numbered messages: they come in order */
    uint64_t out_of_order;
    struct buf last; /* body of the last message */
    uint16_t last_channel;
    uint8_t last_type;
    struct bus_node from;
};
struct busfix {
    struct io *io;
    uint64_t now_ms;
    uint32_t silence_ms; /* of busfix_opts() from now on; 0: the default */
    struct busnode at[BUSFIX_NODES];
    char log_path[64];
};

/* False: the kernel refuses that backend. */
bool busfix_open(struct busfix *f, enum io_kind kind);
void busfix_open_or_skip(struct busfix *f, enum io_kind kind);
/* Nodes 0 and 1 with a link, which `dialler` dialled. */
void busfix_open_linked(struct busfix *f, enum io_kind kind, uint32_t dialler, uint32_t other);
void busfix_close(struct busfix *f); /* and no memory is left */
/* Opts of node n of cluster 1, on 127.0.0.1 and a free port; the caller changes what it wants. */
struct bus_opts busfix_opts(struct busfix *f, uint32_t n);
void busfix_start(struct busfix *f, uint32_t n, const struct bus_opts *opts);
void busfix_stop(struct busfix *f, uint32_t n);
void busfix_plain(struct busfix *f, uint32_t count); /* starts nodes 0 … with those opts */
void busfix_peer(struct busfix *f, uint32_t n, uint32_t of);
void busfix_step(struct busfix *f); /* a turn and a tick, 5 ms of our clock */
void busfix_steps(struct busfix *f, uint32_t count);
bool busfix_linked(const struct busfix *f, uint32_t a, uint32_t b);
/* Steps until both ends have a link; fails after 5 s of our clock. */
void busfix_link(struct busfix *f, uint32_t a, uint32_t b);
uint64_t busfix_refused(const struct busfix *f, uint32_t n, enum bus_refusal r);
struct bus_stats busfix_stats(const struct busfix *f, uint32_t n);
/* Steps until `refused` of n has reached `count`. */
void busfix_await_refused(struct busfix *f, uint32_t n, enum bus_refusal r, uint64_t count);

/* ---- raw connections */
int raw_open(const struct busfix *f, uint32_t n);
void raw_send(int fd, const void *bytes, size_t len);
void raw_send_buf(int fd, struct buf *b); /* and frees it */
/* Steps until the other end has closed it, or a frame of that type is there, whose body goes to `body`
 * (NULL: dropped). False: closed, what came before is dropped. */
bool raw_await(struct busfix *f, int fd, uint8_t type, struct buf *body);
void raw_close(int fd);
/* A hello as node `n` would say it, for the challenge that comes on fd. */
struct bus_hello raw_hello(struct busfix *f, int fd, uint32_t n);
void raw_put_hello(struct buf *out, const struct bus_hello *h);

/* ---- the log, while it is caught */
void log_catch(struct busfix *f);
/* Lines that hold `text` since then; the log goes to where it went. */
uint32_t log_caught(struct busfix *f, const char *text);

#endif
