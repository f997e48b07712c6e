#include "loader/safetensors_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "loader/output_file.h"

struct sa2_safetensors_writer {
    sa2_output_file *file;
    uint64_t left; /* bytes of values that are still to come */
};

static const char *dtype_name(sa2_dtype dtype)
{
    static const char *const names[] = {
        [SA2_F32] = "F32", [SA2_BF16] = "BF16", [SA2_I32] = "I32", [SA2_U8] = "U8"};
    return names[dtype];
}

static json_t *describe(const sa2_tensor *tensor, uint64_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < tensor->ndim; i++)
        json_array_append_new(shape, json_integer(tensor->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_name(tensor->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + sa2_tensor_bytes(tensor)));
}

/* The header's text, or NULL when memory ran out or two names are equal. */
static char *header_of(const sa2_tensor_list *list, const sa2_metadata *metadata, int n_metadata)
{
    json_t *header = json_object();
    if (n_metadata > 0) {
        json_t *strings = json_object();
        for (int i = 0; i < n_metadata; i++)
            json_object_set_new(strings, metadata[i].key, json_string(metadata[i].value));
        json_object_set_new(header, "__metadata__", strings);
    }
    uint64_t begin = 0;
    for (int i = 0; i < list->n; i++) {
        const sa2_tensor_list_item *item = &list->items[i];
        json_object_set_new(header, item->name, describe(&item->shape, begin));
        begin += sa2_tensor_bytes(&item->shape);
    }
    size_t expected = (size_t)list->n + (n_metadata > 0 ? 1 : 0);
    char *text = json_object_size(header) == expected
                     ? json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER)
                     : NULL;
    json_decref(header);
    return text;
}

/* The values then start at a multiple of 8, as the format's own writers have it. */
static sa2_status write_header(sa2_output_file *file, const char *text, sa2_error *err)
{
    unsigned char length[8];
    size_t n = strlen(text), padding = (8 - n % 8) % 8;
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((n + padding) >> 8 * i);
    sa2_status st = sa2_output_file_write(file, length, sizeof length, err);
    if (st == SA2_OK)
        st = sa2_output_file_write(file, text, n, err);
    if (st == SA2_OK)
        st = sa2_output_file_write(file, "       ", padding, err);
    return st;
}

sa2_status sa2_safetensors_writer_create(sa2_safetensors_writer **writer, const char *path,
                                         const sa2_tensor_list *list, const sa2_metadata *metadata,
                                         int n_metadata, sa2_error *err)
{
    sa2_status st = SA2_OK;
    sa2_safetensors_writer *fresh = calloc(1, sizeof *fresh);
    char *header = header_of(list, metadata, n_metadata);
    if (fresh == NULL || header == NULL) {
        st = sa2_fail(err, SA2_ERR_ARG, "%s: no header: no memory, or one name twice", path);
        goto cleanup;
    }
    fresh->left = sa2_tensor_list_bytes(list);
    st = sa2_output_file_create(&fresh->file, path, err);
    if (st == SA2_OK)
        st = write_header(fresh->file, header, err);
    if (st == SA2_OK) {
        *writer = fresh;
        fresh = NULL;
    }

cleanup:
    free(header);
    sa2_safetensors_writer_destroy(fresh);
    return st;
}

sa2_status sa2_safetensors_writer_append(sa2_safetensors_writer *writer, const void *data,
                                         size_t bytes, sa2_error *err)
{
    assert(bytes <= writer->left);
    writer->left -= bytes;
    return sa2_output_file_write(writer->file, data, bytes, err);
}

sa2_status sa2_safetensors_writer_finish(sa2_safetensors_writer *writer, sa2_error *err)
{
    assert(writer->left == 0);
    return sa2_output_file_commit(writer->file, err);
}

void sa2_safetensors_writer_destroy(sa2_safetensors_writer *writer)
{
    if (writer == NULL)
        return;
    sa2_output_file_destroy(writer->file);
    free(writer);
}
