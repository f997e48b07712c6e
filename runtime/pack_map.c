#include "runtime/pack_map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/layout.h"

/* ---- values ---- */

/* Where a tensor of the map lies: the context of its maker. */
typedef struct place {
    const sa2_pack_tensor *tensor;
    const sa2_pack_block *block;
    const sa2_layout *layout; /* NULL: plain rows */
    int64_t cols;             /* of a row of the block */
} place;

/* [kernel, bins, in] to [in, bins, kernel]; elements of `width` bytes. */
static void taps_last(char *to, const char *from, int64_t in, int64_t bins, int64_t kernel,
                      size_t width)
{
    for (int64_t i = 0; i < in; i++)
        for (int64_t b = 0; b < bins; b++)
            for (int64_t k = 0; k < kernel; k++) {
                memcpy(to, from + (size_t)((k * bins + b) * in + i) * width, width);
                to += width;
            }
}

static sa2_dtype row_dtype(const place *p)
{
    return p->layout != NULL ? p->layout->row_dtype : p->block->dtype;
}

/* Row i of those that the tensor has in the block, in the tensor's order. rows [2, cols] of row_dtype(). */
static const char *read_row(const place *p, int64_t i, char *rows)
{
    const sa2_pack_tensor *t = p->tensor;
    const sa2_pack_block *b = p->block;
    size_t width = sa2_dtype_bytes(row_dtype(p));
    int64_t row = t->form == SA2_PACK_FORM_ROWS ? t->first + i : i;
    if (p->layout == NULL)
        return (const char *)b->data + (size_t)(row * p->cols) * width;
    const sa2_matrix matrix = {.data = (void *)(uintptr_t)b->data,
                               .dtype = b->dtype,
                               .rows = b->shape[0],
                               .cols = b->shape[1]};
    sa2_matrix_half half = t->form == SA2_PACK_FORM_GATE ? SA2_MATRIX_GATE
                           : t->form == SA2_PACK_FORM_UP ? SA2_MATRIX_UP
                                                         : SA2_MATRIX_ALL;
    p->layout->read_row(rows, &matrix, half, row);
    if (t->form != SA2_PACK_FORM_TAPS)
        return rows;
    int64_t kernel = t->shape[t->ndim - 1];
    char *ordered = rows + (size_t)p->cols * width;
    taps_last(ordered, rows, p->cols / kernel / t->first, t->first, kernel, width);
    return ordered;
}

/* f32 becomes the bf16 that it was, or for weights that were rounded to steps the nearest to what they are now. */
static void put(char *to, sa2_dtype to_dtype, const char *from, sa2_dtype from_dtype, int64_t n)
{
    if (to_dtype == from_dtype) {
        memcpy(to, from, (size_t)n * sa2_dtype_bytes(to_dtype));
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        float value;
        memcpy(&value, from + (size_t)i * sizeof value, sizeof value);
        uint16_t half = sa2_f32_to_bf16(value);
        memcpy(to + (size_t)i * sizeof half, &half, sizeof half);
    }
}

/* A sa2_tensor_maker. */
static sa2_status make_values(const void *context, const sa2_tensor_entry *entry, int64_t first,
                              int64_t count, void *out, sa2_error *err)
{
    const place *p = context;
    sa2_dtype from = row_dtype(p);
    size_t from_width = sa2_dtype_bytes(from), width = sa2_dtype_bytes(p->tensor->dtype);
    char *rows = p->layout != NULL ? malloc(2 * (size_t)p->cols * from_width) : NULL;
    if (p->layout != NULL && rows == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for a row of it", entry->name);
    char *to = out;
    while (count > 0) {
        int64_t col = first % p->cols, n = p->cols - col < count ? p->cols - col : count;
        const char *row = read_row(p, first / p->cols, rows);
        put(to, p->tensor->dtype, row + (size_t)col * from_width, from, n);
        to += (size_t)n * width;
        first += n;
        count -= n;
    }
    free(rows);
    return SA2_OK;
}

/* ---- a map ---- */

const char *sa2_pack_token2wav_part(sa2_token2wav_file file)
{
    static const char *const parts[SA2_TOKEN2WAV_FILES] = {
        [SA2_FLOW_FILE] = SA2_PACK_FLOW,
        [SA2_VOCODER_FILE] = SA2_PACK_VOCODER,
        [SA2_SPEAKER_FILE] = SA2_PACK_SPEAKER,
        [SA2_SPEECH_TOKENIZER_FILE] = SA2_PACK_SPEECH_TOKENIZER,
    };
    return parts[file];
}

/* What follows "part/" in a name of the part, or NULL. */
static const char *name_in(const char *part, const char *name)
{
    size_t n = strlen(part);
    return strncmp(name, part, n) == 0 && name[n] == '/' ? name + n + 1 : NULL;
}

static sa2_status judge_block(const sa2_pack *pack, const sa2_pack_block *block, sa2_error *err)
{
    if (strcmp(block->layout, SA2_PACK_ROWS) == 0)
        return SA2_OK;
    const sa2_layout *layout = sa2_layout_find(block->layout);
    if (layout == NULL)
        return sa2_fail_also(err, SA2_ERR_UNSUPPORTED,
                             "%s: %s is in the order %.60s, which this build does not know; make "
                             "the file again: sa2 convert FOLDER %s",
                             sa2_pack_path(pack), block->name, block->layout, sa2_pack_path(pack));
    size_t bytes = layout->bytes(block->shape[0], block->shape[1]);
    if (layout->dtype != block->dtype || bytes != block->bytes)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s: %s: %zu bytes expected, %" PRIu64 " found",
                             sa2_pack_path(pack), block->name, bytes, block->bytes);
    return SA2_OK;
}

static sa2_status judge_blocks(const sa2_pack *pack, const char *part, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (int i = 0; i < sa2_pack_n_blocks(pack); i++) {
        const sa2_pack_block *block = sa2_pack_get_block(pack, i);
        if (name_in(part, block->name) == NULL)
            continue;
        sa2_status judged = judge_block(pack, block, err);
        st = st == SA2_OK ? judged : st;
    }
    return st;
}

static sa2_status add_tensor(sa2_tensor_map *map, const sa2_pack *pack, const char *name,
                             const sa2_pack_tensor *t, place *p, sa2_error *err)
{
    sa2_tensor shape = {.dtype = t->dtype, .ndim = t->ndim, .stride = 1};
    memcpy(shape.shape, t->shape, sizeof shape.shape);
    shape.stride = sa2_tensor_row_count(&shape);
    const sa2_pack_block *block = sa2_pack_get_block(pack, t->block);
    *p = (place){.tensor = t, .block = block, .layout = sa2_layout_find(block->layout)};
    const sa2_tensor rows = {
        .ndim = block->ndim,
        .shape = {block->shape[0], block->shape[1], block->shape[2], block->shape[3]}};
    p->cols = sa2_tensor_row_count(&rows);
    return sa2_tensor_map_add_made(map, name, sa2_pack_path(pack), shape, make_values, p, err);
}

sa2_status sa2_pack_map_open(sa2_tensor_map **map, sa2_pack *pack, const char *part, sa2_error *err)
{
    sa2_tensor_map *fresh = NULL;
    sa2_error report = {0};
    int n = sa2_pack_n_tensors(pack);
    place *places = NULL;
    *map = NULL;
    sa2_status st = judge_blocks(pack, part, &report);
    if (st == SA2_OK)
        st = sa2_tensor_map_create(&fresh, &report);
    if (st == SA2_OK && (places = calloc((size_t)n + 1, sizeof *places)) == NULL)
        st = sa2_fail(&report, SA2_ERR_NOMEM, "%s: no memory for %d tensors", sa2_pack_path(pack),
                      n);
    if (st == SA2_OK)
        st = sa2_tensor_map_keep(fresh, places, free, &report);
    if (st == SA2_OK)
        sa2_tensor_map_set_pack(fresh, pack, part);
    for (int i = 0; st == SA2_OK && i < n; i++) {
        const sa2_pack_tensor *t = sa2_pack_get_tensor(pack, i);
        const char *name = name_in(part, t->name);
        if (name != NULL)
            st = add_tensor(fresh, pack, name, t, &places[i], &report);
    }
    if (st == SA2_OK) {
        *map = fresh;
        return SA2_OK;
    }
    sa2_tensor_map_destroy(fresh);
    if (err != NULL)
        *err = report;
    return st;
}
