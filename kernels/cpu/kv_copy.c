/* kv_copy.c - contract: sa2_kv_copy() in kernels/ops.h. */
#include <string.h>

#include "kernels/cpu/cpu_ops.h"

sa2_status sa2_cpu_kv_copy(sa2_stream *s, const sa2_kv_cache_view *cache,
                           const sa2_page_copy *copies, int n, sa2_error *err)
{
    (void)s;
    (void)err;
    size_t bytes = sa2_kv_page_bytes(cache);
    unsigned char *pages = cache->pages;
    for (int i = 0; i < n; i++) {
        if (copies[i].from != copies[i].to)
            memcpy(pages + (size_t)copies[i].to * bytes, pages + (size_t)copies[i].from * bytes,
                   bytes);
    }
    return SA2_OK;
}
