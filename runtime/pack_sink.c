#include "runtime/pack_sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"

enum { FULL_NAME_BYTES = SA2_LIMIT_TENSOR_NAME_BYTES + 1 };

static sa2_status put_full_name(char full[FULL_NAME_BYTES], const sa2_pack_sink *sink,
                                const char *name, sa2_error *err)
{
    int n = snprintf(full, FULL_NAME_BYTES, "%s/%s", sink->part, name);
    if (n > 0 && n < FULL_NAME_BYTES)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_LIMIT, "%s: a name of %d bytes, a native file has up to %d", name,
                    n, SA2_LIMIT_TENSOR_NAME_BYTES);
}

sa2_status sa2_pack_sink_open(sa2_pack_sink *sink, sa2_pack_writer *writer, const char *part,
                              sa2_tensor_map *map, sa2_backend *backend, sa2_error *err)
{
    int n = sa2_tensor_map_count(map);
    *sink = (sa2_pack_sink){
        .writer = writer, .part = part, .map = map, .n_originals = n, .backend = backend};
    sink->placed = calloc((size_t)n + 1, sizeof *sink->placed);
    bool made = sink->placed != NULL;
    for (int i = 0; made && i < n; i++)
        made = sa2_name_table_put(&sink->originals, sa2_tensor_map_entry(map, i)->name, i);
    if (made)
        return SA2_OK;
    sa2_pack_sink_close(sink);
    return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %d tensors", part, n);
}

void *sa2_pack_sink_room(sa2_pack_sink *sink, size_t bytes)
{
    if (bytes > sink->room.bytes || sink->room.base == NULL) {
        sa2_backend_arena_destroy(sink->backend, &sink->room);
        if (sa2_backend_arena_create_shared(sink->backend, &sink->room, bytes, NULL) != SA2_OK)
            sink->room = (sa2_arena){0};
    }
    return sink->room.base;
}

/* Values of f32 that were rounded are the release's no longer: they come back as what they are now. */
static sa2_dtype comes_back_as(sa2_dtype release, sa2_dtype block)
{
    return block == SA2_BF16 ? SA2_BF16 : release;
}

static sa2_status record(const sa2_pack_sink *sink, const sa2_pack_piece *piece, sa2_dtype dtype,
                         int block, sa2_error *err)
{
    char full[FULL_NAME_BYTES];
    int32_t place = sa2_name_table_find(&sink->originals, piece->name);
    if (place < 0)
        return SA2_OK;
    const sa2_tensor *x = &sa2_tensor_map_entry(sink->map, place)->tensor;
    sa2_pack_tensor tensor = {.name = full,
                              .dtype = comes_back_as(x->dtype, dtype),
                              .ndim = x->ndim,
                              .block = block,
                              .form = piece->form,
                              .first = piece->first};
    memcpy(tensor.shape, x->shape, sizeof tensor.shape);
    sink->placed[place] = true;
    sa2_status st = put_full_name(full, sink, piece->name, err);
    return st == SA2_OK ? sa2_pack_writer_tensor(sink->writer, &tensor, err) : st;
}

sa2_status sa2_pack_sink_put(sa2_pack_sink *sink, const char *name, const char *layout,
                             const sa2_tensor *x, size_t bytes, int n, const sa2_pack_piece *pieces,
                             sa2_error *err)
{
    char full[FULL_NAME_BYTES];
    int index = 0;
    sa2_pack_block block = {.name = full,
                            .layout = layout,
                            .dtype = x->dtype,
                            .ndim = x->ndim,
                            .data = x->data,
                            .bytes = bytes};
    memcpy(block.shape, x->shape, sizeof block.shape);
    sa2_status st = put_full_name(full, sink, name, err);
    if (st == SA2_OK)
        st = sa2_pack_writer_block(sink->writer, &block, &index, err);
    for (int i = 0; st == SA2_OK && i < n; i++)
        st = record(sink, &pieces[i], x->dtype, index, err);
    return st;
}

sa2_status sa2_pack_sink_finish(sa2_pack_sink *sink, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (int i = 0; st == SA2_OK && i < sink->n_originals; i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(sink->map, i);
        sa2_tensor x;
        if (sink->placed[i])
            continue;
        st = sa2_tensor_map_expect(sink->map, entry->name, entry->tensor.ndim, entry->tensor.shape,
                                   &x, err);
        if (st == SA2_OK)
            st = sa2_pack_sink_put(sink, entry->name, SA2_PACK_ROWS, &x, sa2_tensor_bytes(&x), 1,
                                   &(sa2_pack_piece){.name = entry->name}, err);
        sa2_tensor_map_release(sink->map);
    }
    return st;
}

void sa2_pack_sink_close(sa2_pack_sink *sink)
{
    sa2_name_table_destroy(&sink->originals);
    free(sink->placed);
    if (sink->backend != NULL)
        sa2_backend_arena_destroy(sink->backend, &sink->room);
    *sink = (sa2_pack_sink){0};
}
