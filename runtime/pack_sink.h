/* pack_sink.h - where the weights of one part go that are written to a native file (weights.h with a sink).
 *
 * Each block is put together in memory of its own and written at once: no more than one is in memory. Tensors
 * that went into no block as they are (weights that were folded) are kept beside as plain rows, so that the release
 * can be made of the file again, bit for bit.
 */
#ifndef SA2_RUNTIME_PACK_SINK_H
#define SA2_RUNTIME_PACK_SINK_H

#include "kernels/backend.h"
#include "loader/name_table.h"
#include "loader/pack_writer.h"
#include "loader/tensor_map.h"

typedef struct sa2_pack_sink {
    sa2_pack_writer *writer;  /* borrowed */
    const char *part;         /* of pack_map.h */
    sa2_tensor_map *map;      /* borrowed */
    sa2_name_table originals; /* the release's tensors, with their places in the map */
    int n_originals;          /* they come first there */
    bool *placed;             /* by place: a block holds it */
    sa2_backend *backend;     /* borrowed: its ops fill the blocks */
    sa2_arena room;           /* for the block that is being made: of the backend and of the host */
} sa2_pack_sink;

/* A tensor of the map in a block. Only those are recorded that are the release's own. */
typedef struct sa2_pack_piece {
    const char *name;
    sa2_pack_form form;
    int64_t first; /* as in sa2_pack_tensor */
    int64_t rows;
} sa2_pack_piece;

/* The map's tensors are the release's: before anything is folded. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_pack_sink_open(sa2_pack_sink *sink, sa2_pack_writer *writer, const char *part,
                              sa2_tensor_map *map, sa2_backend *backend, sa2_error *err);

/* Memory for the next block, aligned for the ops; its content is undefined. NULL: there is none. */
void *sa2_pack_sink_room(sa2_pack_sink *sink, size_t bytes);

/* Writes block "part/name" of the shape and dtype of x, `bytes` at x->data. Errors: those of the writer. */
sa2_status sa2_pack_sink_put(sa2_pack_sink *sink, const char *name, const char *layout,
                             const sa2_tensor *x, size_t bytes, int n, const sa2_pack_piece *pieces,
                             sa2_error *err);

/* Writes the release's tensors that no block holds. */
sa2_status sa2_pack_sink_finish(sa2_pack_sink *sink, sa2_error *err);
void sa2_pack_sink_close(sa2_pack_sink *sink); /* zeroed is fine */

#endif
