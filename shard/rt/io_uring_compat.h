/* shard/rt/io_uring_compat.h: names of the kernel's interface that the packaged liburing (2.3) lacks.
 * Each is used only after the running kernel has shown that it knows it. */
#ifndef MOON_RT_IO_URING_COMPAT_H
#define MOON_RT_IO_URING_COMPAT_H

/* io_uring_params.features, Linux 6.14. We need no attributes; the bit tells that resources are released
 * one by one (since 6.13, which has no bit of its own). */
#define COMPAT_FEAT_RW_ATTR (1u << 16)

#endif
