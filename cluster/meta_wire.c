/* The tables between meta.proto and the structs of ctl_priv.h. */
#include "cluster/ctl_priv.h"

#include "cluster/meta.pb-c.h"
#include "cluster/wire_tables.h"

#define TABLE(struct_, message, ...) WIRE_TABLE(meta__, struct_, message, __VA_ARGS__)

// clang-format off
TABLE(meta_propose, propose,
      U64(meta_propose, incarnation),
      U64(meta_propose, counter),
      U64(meta_propose, done_below),
      BYTES(meta_propose, entry));
TABLE(meta_result, result,
      U64(meta_result, incarnation),
      U64(meta_result, counter),
      U32(meta_result, outcome),
      U64(meta_result, index),
      U32(meta_result, verdict),
      U64(meta_result, value),
      BYTES(meta_result, text));
// clang-format on
