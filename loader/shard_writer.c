#include "loader/shard_writer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/output_file.h"
#include "loader/ranges.h"
#include "loader/safetensors_writer.h"

enum {
    PATH_BYTES = 4096,
    PIECE = 1 << 22, /* elements that are made before they are written */
    GRAIN = 1 << 17, /* elements that a thread makes at a time */
};

static const int64_t default_shard_bytes = 5000000000; /* as in the release */

typedef struct shard_job {
    const sa2_tensor_map *map;
    const sa2_shard_options *options;
    void *piece;
} shard_job;

typedef struct piece_of_values {
    const shard_job *job;
    const sa2_tensor_entry *entry;
    int64_t first; /* of the piece in the tensor */
} piece_of_values;

static sa2_status make_range(void *context, int64_t first, int64_t count, sa2_error *err)
{
    const piece_of_values *piece = context;
    size_t size = sa2_dtype_bytes(piece->entry->tensor.dtype);
    return sa2_tensor_map_read(piece->job->map, piece->entry, piece->first + first, count,
                               (char *)piece->job->piece + (size_t)first * size, err);
}

static sa2_status write_tensor(const shard_job *job, sa2_safetensors_writer *writer,
                               const char *name, sa2_error *err)
{
    const sa2_shard_options *o = job->options;
    const sa2_tensor_entry *entry = sa2_tensor_map_find(job->map, name);
    int64_t n = sa2_tensor_count(&entry->tensor);
    for (int64_t first = 0; first < n; first += PIECE) {
        int64_t count = n - first < PIECE ? n - first : PIECE;
        size_t bytes = (size_t)count * sa2_dtype_bytes(entry->tensor.dtype);
        piece_of_values piece = {.job = job, .entry = entry, .first = first};
        sa2_status st = sa2_ranges_run(o->n_threads, count, GRAIN, make_range, &piece, err);
        if (st == SA2_OK)
            st = sa2_safetensors_writer_append(writer, job->piece, bytes, err);
        if (st == SA2_OK && o->go_on != NULL && !o->go_on(o->context, (int64_t)bytes))
            st = sa2_fail(err, SA2_ERR_CANCELLED, "%s: given up", name);
        if (st != SA2_OK)
            return st;
    }
    return SA2_OK;
}

static sa2_status write_file(const shard_job *job, const char *path, const sa2_tensor_list *list,
                             sa2_error *err)
{
    static const sa2_metadata metadata[] = {{"format", "pt"}}; /* transformers insists on it */
    sa2_safetensors_writer *writer = NULL;
    sa2_status st = sa2_safetensors_writer_create(&writer, path, list, metadata, 1, err);
    for (int i = 0; st == SA2_OK && i < list->n; i++)
        st = write_tensor(job, writer, list->items[i].name, err);
    if (st == SA2_OK)
        st = sa2_safetensors_writer_finish(writer, err);
    sa2_safetensors_writer_destroy(writer);
    return st;
}

static sa2_status open_job(shard_job *job, const sa2_tensor_map *map,
                           const sa2_shard_options *options, sa2_error *err)
{
    *job = (shard_job){.map = map, .options = options, .piece = malloc(PIECE * sizeof(float))};
    if (job->piece != NULL)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_NOMEM, "no memory for %zu bytes", PIECE * sizeof(float));
}

sa2_status sa2_shard_write(const char *path, const sa2_tensor_list *list, const sa2_tensor_map *map,
                           const sa2_shard_options *options, sa2_error *err)
{
    shard_job job;
    sa2_status st = open_job(&job, map, options, err);
    if (st == SA2_OK)
        st = write_file(&job, path, list, err);
    free(job.piece);
    return st;
}

/* ---- shards ---- */

/* How many items from `first` on go into one shard: as many as fit, and at least one. */
static int shard_length(const sa2_tensor_list *list, const sa2_shard_options *options, int first)
{
    uint64_t limit =
        (uint64_t)(options->shard_bytes > 0 ? options->shard_bytes : default_shard_bytes);
    uint64_t bytes = 0;
    int n = 0;
    while (first + n < list->n) {
        bytes += sa2_tensor_bytes(&list->items[first + n].shape);
        if (n > 0 && bytes > limit)
            break;
        n++;
    }
    return n;
}

static sa2_status write_index(const char *folder, const sa2_tensor_list *list, json_t *weight_map,
                              sa2_error *err)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    json_t *index = json_pack("{s:{s:I}, s:O}", "metadata", "total_size",
                              (json_int_t)sa2_tensor_list_bytes(list), "weight_map", weight_map);
    char *text = index != NULL ? json_dumps(index, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    sa2_status st = text != NULL ? sa2_write_whole_file(path, text, strlen(text), err)
                                 : sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", path);
    free(text);
    json_decref(index);
    return st;
}

sa2_status sa2_shards_write(const char *folder, const sa2_tensor_list *list,
                            const sa2_tensor_map *map, const sa2_shard_options *options,
                            sa2_error *err)
{
    shard_job job;
    int n_shards = 0;
    for (int first = 0; first < list->n; first += shard_length(list, options, first))
        n_shards++;
    sa2_status st = open_job(&job, map, options, err);
    json_t *weight_map = json_object();
    for (int first = 0, shard = 1; st == SA2_OK && first < list->n; shard++) {
        char name[64], path[PATH_BYTES];
        const sa2_tensor_list part = {.n = shard_length(list, options, first),
                                      .items = list->items + first};
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", shard, n_shards);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        st = write_file(&job, path, &part, err);
        for (int i = 0; i < part.n; i++)
            json_object_set_new(weight_map, part.items[i].name, json_string(name));
        first += part.n;
    }
    if (st == SA2_OK)
        st = write_index(folder, list, weight_map, err);
    json_decref(weight_map);
    free(job.piece);
    return st;
}
