/* The tables between bus.proto and the structs of bus_hello.h; a unit test holds each against its
 * descriptor. */
#include "cluster/bus_hello.h"

#include "cluster/bus.pb-c.h"
#include "cluster/wire_tables.h"

#define TABLE(struct_, message, ...) WIRE_TABLE(bus__, struct_, message, __VA_ARGS__)

// clang-format off
TABLE(bus_challenge, challenge,
      FIXED(bus_challenge, nonce),
      U32(bus_challenge, version_min),
      U32(bus_challenge, version_max));
TABLE(bus_hello, hello,
      FIXED(bus_hello, answer),
      FIXED(bus_hello, nonce),
      U32(bus_hello, version_min),
      U32(bus_hello, version_max),
      U32(bus_hello, kind),
      FIXED(bus_hello, cluster),
      FIXED(bus_hello, node),
      U64(bus_hello, incarnation),
      U64(bus_hello, meta_version),
      BYTES(bus_hello, address),
      BOOL(bus_hello, meet));
TABLE(bus_hello_ok, hello_ok,
      FIXED(bus_hello_ok, answer),
      U32(bus_hello_ok, version),
      FIXED(bus_hello_ok, cluster),
      FIXED(bus_hello_ok, node),
      U64(bus_hello_ok, incarnation),
      U64(bus_hello_ok, meta_version),
      BYTES(bus_hello_ok, address));
TABLE(bus_hello_reject, hello_reject,
      U32(bus_hello_reject, reason),
      BYTES(bus_hello_reject, text));
// clang-format on
