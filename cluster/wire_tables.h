/* cluster/wire_tables.h: how tables of cluster/wire.h are written. Included by the files that hold some, and
 * by no others: the names are short. */
#ifndef MOON_CLUSTER_WIRE_TABLES_H
#define MOON_CLUSTER_WIRE_TABLES_H

#include "cluster/wire.h"

/* Whether a member has the width that a table says is checked where it is named. */
#define SIZED(type, member, bytes)                                                                 \
    ((uint16_t)(offsetof(struct type, member) +                                                    \
                0 * sizeof(char[sizeof(((struct type *)0)->member) == (bytes) ? 1 : -1])))
#define POINTS(type, member, target)                                                               \
    ((uint16_t)(offsetof(struct type, member) +                                                    \
                0 * sizeof(                                                                        \
                        char[sizeof(*((struct type *)0)->member) == sizeof(struct target) ? 1      \
                                                                                          : -1])))
#define AT(type, field, member, kind_, bytes)                                                      \
    {                                                                                              \
        .name = (field), .kind = (kind_), .offset = SIZED(type, member, bytes)                     \
    }
#define U8(type, m) AT(type, #m, m, WIRE_U8, 1)
#define U16(type, m) AT(type, #m, m, WIRE_U16, 2)
#define U32(type, m) AT(type, #m, m, WIRE_U32, 4)
#define U64(type, m) AT(type, #m, m, WIRE_U64, 8)
#define BOOL(type, m) AT(type, #m, m, WIRE_BOOL, sizeof(bool))
#define BYTES(type, m) AT(type, #m, m, WIRE_BYTES, sizeof(struct bytes))
#define FIXED_AT(type, field, member)                                                              \
    {                                                                                              \
        .name = (field), .kind = WIRE_FIXED, .offset = offsetof(struct type, member),              \
        .size = sizeof(((struct type *)0)->member)                                                 \
    }
#define FIXED(type, m) FIXED_AT(type, #m, m)
#define ONE(type, m, sub_)                                                                         \
    {                                                                                              \
        .name = #m, .kind = WIRE_ONE, .offset = SIZED(type, m, sizeof(struct sub_)),               \
        .sub = &sub_##_wire                                                                        \
    }
#define MANY_AT(type, field, member, sub_, max_)                                                   \
    {                                                                                              \
        .name = (field), .kind = WIRE_MANY, .offset = POINTS(type, member, sub_),                  \
        .count_offset = SIZED(type, member##_count, 4), .max = (max_), .sub = &sub_##_wire         \
    }
#define MANY(type, m, sub_, max_) MANY_AT(type, #m, m, sub_, max_)
#define WIRE_TABLE(package, struct_, message, ...)                                                 \
    static const struct wire_field struct_##_fields[] = {__VA_ARGS__};                             \
    const struct wire_type struct_##_wire = {.descriptor = &package##message##__descriptor,        \
                                             .fields = struct_##_fields,                           \
                                             .fields_count = COUNT_OF(struct_##_fields),           \
                                             .struct_bytes = sizeof(struct struct_)}

#endif
