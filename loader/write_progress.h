/* write_progress.h - how the writers of large files tell how far they are.
 */
#ifndef SA2_LOADER_WRITE_PROGRESS_H
#define SA2_LOADER_WRITE_PROGRESS_H

#include <stdint.h>

/* Called from the writing thread with the bytes of values written since the last call. */
typedef struct sa2_write_progress {
    void (*call)(void *context, int64_t bytes); /* or NULL */
    void *context;
} sa2_write_progress;

#endif
