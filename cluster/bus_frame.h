/* cluster/bus_frame.h: frames and fragments of the bus, pure: bytes in, messages out. Bytes on the wire:
 * docs/formats/bus.md. */
#ifndef MOON_CLUSTER_BUS_FRAME_H
#define MOON_CLUSTER_BUS_FRAME_H

#include "cluster/bus.h"

#define BUS_MAGIC 0x4d62u     /* "bM" on the wire */
#define BUS_VERSION_HELLO 1u  /* of all frames until the hello is done, for ever */
#define BUS_FLAG_MORE 1u      /* another fragment of this message follows */
#define BUS_FLAG_CONTINUED 2u /* not its first one */

struct bus_head {
    uint8_t version, type;
    uint16_t flags, channel;
    uint32_t length; /* of the body */
};
/* Appends one frame. The body fits one (≤ BUS_BODY_BYTES_MAX). */
void bus_frame_put(struct buf *out, const struct bus_head *head, struct bytes body);
/* Appends the next fragment of a message, from `*done` on, which moves. True: that was the last. */
bool bus_fragment_put(struct buf *out, uint8_t version, uint16_t channel, uint8_t type,
                      struct bytes message, size_t *done);

/* One direction of a link, receiving. Holds at most one frame. */
struct bus_reader {
    struct buf held;        /* a frame that has begun */
    uint32_t body_max;      /* grows when the hello is done */
    uint8_t version;        /* that frames have to have */
    uint64_t assembled;     /* bytes held by half received messages of this link */
    struct buf parts[2];    /* of RAFT and META */
    uint8_t parts_type[2];  /* 0: none has begun */
    uint64_t frames, bytes; /* whole ones, until now */
};
struct bus_reader_events {
    /* A message, whole. Borrowed for the call. False: stop, whoever reads has closed the reader. */
    bool (*message)(void *ctx, uint16_t channel, uint8_t type, struct bytes body);
    /* May `more` bytes be held for half received messages? (The sum over all links is the caller's.) */
    bool (*hold)(void *ctx, size_t more);
    /* A fragment of a channel that is not known: ignored. */
    void (*ignored)(void *ctx);
    void *ctx;
};
void bus_reader_init(struct bus_reader *r);
void bus_reader_free(struct bus_reader *r);
/* The hello is done: frames of `version`, up to their full length. */
void bus_reader_grow(struct bus_reader *r, uint8_t version);
/* BUS_REFUSALS: all is well, or a callback said stop. Else why the link is to be closed, *why_out in words
 * (static). */
enum bus_refusal bus_reader_feed(struct bus_reader *r, struct bytes in,
                                 const struct bus_reader_events *events, const char **why_out);

#endif
