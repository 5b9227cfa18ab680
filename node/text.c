#include "node/text.h"

void reply_text_lines(struct reply *r, const char *const *lines, size_t count)
{
    reply_array(r, (int64_t)count);
    for (size_t i = 0; i < count; i++)
        reply_status(r, lines[i]);
}
