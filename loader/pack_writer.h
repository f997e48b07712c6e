/* pack_writer.h - writes a native file (pack.h) front to back, block by block.
 *
 * It grows as `path`.partial, which only one process writes at a time. The header comes last: what is left of a
 * writer that was killed is no native file under any name.
 */
#ifndef SA2_LOADER_PACK_WRITER_H
#define SA2_LOADER_PACK_WRITER_H

#include "loader/pack.h"

typedef struct sa2_pack_writer sa2_pack_writer;

/* Errors of all: SA2_ERR_IO with the path (disk full, no permission); SA2_ERR_NOMEM; SA2_ERR_CANCELLED.
 * progress may be NULL. */
sa2_status sa2_pack_writer_create(sa2_pack_writer **writer, const char *path,
                                  const sa2_pack_progress *progress, sa2_error *err);

/* Writes a block: of `block` everything but hash. *index is its number, for tensors; may be NULL.
 * Errors: SA2_ERR_FORMAT a name that is there already. */
sa2_status sa2_pack_writer_block(sa2_pack_writer *writer, const sa2_pack_block *block, int *index,
                                 sa2_error *err);

sa2_status sa2_pack_writer_tensor(sa2_pack_writer *writer, const sa2_pack_tensor *tensor,
                                  sa2_error *err);
sa2_status sa2_pack_writer_source(sa2_pack_writer *writer, const sa2_pack_source *source,
                                  sa2_error *err);

/* Writes the index and the header, sees that all is on the disk, reads it back and compares it with the checksums
 * in up to n_threads threads; then the file gets its name. Errors: SA2_ERR_FORMAT something else was read. */
sa2_status sa2_pack_writer_finish(sa2_pack_writer *writer, int n_threads, sa2_error *err);

/* Removes an unfinished file. NULL is fine. */
void sa2_pack_writer_destroy(sa2_pack_writer *writer);

#endif
