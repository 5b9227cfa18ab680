/* The log in memory that tests of commands use, with its checks. */
#include "tests/unit/shard/cmd/journal_memory.c"
