/* native_sources.h - the files that a native file is made of, and their checksums. Inside native_write.c only.
 *
 * A thread of its own reads them once from front to back, a little ahead of the conversion, which then finds them in
 * memory: the disk gives every byte once.
 */
#ifndef SA2_RUNTIME_NATIVE_SOURCES_H
#define SA2_RUNTIME_NATIVE_SOURCES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "loader/pack_writer.h"
#include "loader/tensor_map.h"

typedef struct sa2_native_sources {
    const char *folder; /* the caller's */
    char **paths;
    sa2_pack_source *found; /* of each path, once the thread is done */
    int n;
    int64_t bytes; /* of all */
    bool speaks;   /* the folder has token2wav/ */

    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    sa2_status status; /* the thread's */
    sa2_error error;
} sa2_native_sources;

/* Finds the files of a release folder whose language model is `map`. Zeroed again after a failure.
 * Errors: SA2_ERR_IO; SA2_ERR_LIMIT; SA2_ERR_NOMEM. */
sa2_status sa2_native_sources_find(sa2_native_sources *sources, const char *folder,
                                   const sa2_tensor_map *map, sa2_error *err);

/* Begins to read. Errors: SA2_ERR_NOMEM no thread. */
sa2_status sa2_native_sources_start(sa2_native_sources *sources, sa2_error *err);

/* Waits for the end and records all. Errors: SA2_ERR_IO; those of the writer. */
sa2_status sa2_native_sources_finish(sa2_native_sources *sources, sa2_pack_writer *writer,
                                     sa2_error *err);

/* Ends the thread, wherever it is. Zeroed is fine. */
void sa2_native_sources_close(sa2_native_sources *sources);

#endif
