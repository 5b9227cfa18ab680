/* shard/base/rc.c: texts of the result codes, and errno brought to them. */
#include "shard/base/rc.h"

#include <errno.h>

#include "shard/base/assert.h"
#include "shard/base/attr.h"

#define X(name, text) [RC_##name] = (text),
static const char *const texts[] = {
#include "shard/base/rc.def"
};
#undef X

static_assert(COUNT_OF(texts) == RC_COUNT, "one text per code");

const char *rc_text(enum rc rc)
{
    if ((unsigned)rc >= COUNT_OF(texts)) return "unknown result";
    return texts[rc];
}

enum rc rc_from_errno(int negative_errno)
{
    switch (-negative_errno) {
    case 0:
        return RC_OK;
    case ENOMEM:
        return RC_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return RC_NOSPACE;
    case EFBIG:
    case EMSGSIZE:
    case E2BIG:
    case EOVERFLOW:
    case ENAMETOOLONG:
        return RC_TOOBIG;
    case ENOBUFS:
    case EMFILE:
    case ENFILE:
        return RC_FULL;
    case EAGAIN:
    case EINTR:
    case EBUSY:
    case EINPROGRESS:
    case EALREADY:
        return RC_AGAIN;
    case ENOENT:
    case ENOTDIR:
    case ENXIO:
    case ENODEV:
        return RC_NOTFOUND;
    case EEXIST:
    case EADDRINUSE:
        return RC_EXISTS;
    case EINVAL:
    case EBADF:
    case EDOM:
    case ERANGE:
    case EISDIR:
        return RC_INVALID;
    case EILSEQ:
    case EBADMSG:
        return RC_CORRUPT;
    case EACCES:
    case EPERM:
    case ENOLCK:
        return RC_LOCKED;
    case ENOSYS:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
        return RC_UNSUPPORTED;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ECONNREFUSED:
    case ENOTCONN:
    case ESHUTDOWN:
    case ETIMEDOUT:
    case ECANCELED:
        return RC_CLOSED;
    default:
        return RC_IO;
    }
}
