/* shard/types/types_priv.h: what the files of this room share and nobody else sees. */
#ifndef MOON_TYPES_TYPES_PRIV_H
#define MOON_TYPES_TYPES_PRIV_H

#include "shard/types/record.h"

/* What record.c must know of a type's full encodings. */
struct value_ops {
    /* Frees the structure at record_out.ptr, whatever its size; not the record. NULL: no full encoding. */
    void (*free_full)(struct record *r);
};
/* By enum value_type; defined in value.c. */
extern const struct value_ops value_ops_by_type[VALUE_STREAM + 1] __attribute__((weak));

#endif
