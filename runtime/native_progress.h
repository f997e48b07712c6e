/* native_progress.h - one count of bytes for all that a conversion does. Inside native_*.c only.
 */
#ifndef SA2_RUNTIME_NATIVE_PROGRESS_H
#define SA2_RUNTIME_NATIVE_PROGRESS_H

#include "runtime/native_file.h"

typedef struct sa2_native_progress {
    const sa2_native_options *options;
    int64_t done, total;
} sa2_native_progress;

/* As the writers ask: the context is a sa2_native_progress. The total is an estimate until the end. */
static inline bool sa2_native_go_on(void *context, int64_t bytes)
{
    sa2_native_progress *p = context;
    p->done += bytes;
    if (p->done >= p->total)
        p->done = p->total - 1;
    return p->options->go_on == NULL || p->options->go_on(p->options->context, p->done, p->total);
}

static inline void sa2_native_end(const sa2_native_progress *p)
{
    if (p->options->go_on != NULL)
        p->options->go_on(p->options->context, p->total, p->total);
}

#endif
