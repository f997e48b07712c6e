#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "kernels/backend.h"
#include "kernels/layout.h"
#include "loader/little_endian.h"
#include "loader/pack_format.h"
#include "loader/pack_writer.h"
#include "tests/support/native_bytes.h"

enum { ROWS = 4, COLS = 6, KERNEL = 3 };

typedef struct native_maker {
    sa2_pack_writer *writer;
    sa2_stream *stream;
    float values[2 * ROWS * COLS * KERNEL]; /* 1, 2, 3, ... */
    void *matrix;                           /* memory of the last one */
} native_maker;

static sa2_status put_block(native_maker *m, const char *name, const char *layout, sa2_tensor x,
                            size_t bytes, int *index)
{
    sa2_pack_block block = {.name = name,
                            .layout = layout,
                            .dtype = x.dtype,
                            .ndim = x.ndim,
                            .data = x.data,
                            .bytes = bytes};
    memcpy(block.shape, x.shape, sizeof block.shape);
    return sa2_pack_writer_block(m->writer, &block, index, NULL);
}

static sa2_status put_tensor(native_maker *m, const char *name, sa2_dtype dtype, sa2_tensor shape,
                             int block, sa2_pack_form form, int64_t first)
{
    sa2_pack_tensor tensor = {.name = name,
                              .dtype = dtype,
                              .ndim = shape.ndim,
                              .block = block,
                              .form = form,
                              .first = first};
    memcpy(tensor.shape, shape.shape, sizeof tensor.shape);
    return sa2_pack_writer_tensor(m->writer, &tensor, NULL);
}

/* A matrix of bf16 in the stream's order; swiglu: of gate and up, each of half the rows. */
static sa2_status put_matrix(native_maker *m, const char *name, int64_t rows, int64_t cols,
                             bool swiglu, int *index)
{
    size_t bytes = sa2_matrix_bytes(m->stream, SA2_BF16, rows, cols);
    free(m->matrix);
    m->matrix = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (m->matrix == NULL)
        return SA2_ERR_NOMEM;
    sa2_matrix w = {.data = m->matrix, .dtype = SA2_BF16, .rows = rows, .cols = cols};
    sa2_tensor half = sa2_tensor_2d(m->values, SA2_F32, rows / 2, cols), other = half;
    other.data = m->values + rows / 2 * cols;
    if (swiglu)
        sa2_matrix_write_swiglu(m->stream, &w, half, other);
    else
        sa2_matrix_write(m->stream, &w, 0, sa2_tensor_2d(m->values, SA2_F32, rows, cols));
    sa2_status st = sa2_stream_finish(m->stream, NULL);
    if (st != SA2_OK)
        return st;
    return put_block(m, name, sa2_stream_layout(m->stream, SA2_BF16)->name,
                     sa2_tensor_2d(m->matrix, SA2_BF16, rows, cols), bytes, index);
}

static sa2_status put_all(native_maker *m)
{
    static char text[] = "text";
    int b = 0;
    sa2_tensor vector = sa2_tensor_1d(m->values, SA2_F32, ROWS);
    sa2_tensor table = sa2_tensor_2d(m->values, SA2_F32, ROWS, COLS);
    sa2_status st = put_block(m, "file/a.txt", SA2_PACK_ROWS,
                              sa2_tensor_1d(text, SA2_U8, sizeof text - 1), sizeof text - 1, &b);
    if (st == SA2_OK)
        st = put_block(m, "model/vector", SA2_PACK_ROWS, vector, sizeof(float) * ROWS, &b);
    if (st == SA2_OK)
        st = put_tensor(m, "model/vector", SA2_BF16, vector, b, SA2_PACK_FORM_ROWS, 0);
    if (st == SA2_OK)
        st = put_matrix(m, "model/matrix", ROWS, COLS, false, &b);
    if (st == SA2_OK) /* the last two rows of it */
        st = put_tensor(m, "model/matrix", SA2_BF16, sa2_tensor_2d(NULL, SA2_BF16, 2, COLS), b,
                        SA2_PACK_FORM_ROWS, ROWS - 2);
    if (st == SA2_OK)
        st = put_matrix(m, "model/gate+up", 2 * ROWS, COLS, true, &b);
    if (st == SA2_OK)
        st = put_tensor(m, "model/gate", SA2_BF16, table, b, SA2_PACK_FORM_GATE, 0);
    if (st == SA2_OK)
        st = put_tensor(m, "model/up", SA2_BF16, table, b, SA2_PACK_FORM_UP, 0);
    if (st == SA2_OK)
        st = put_matrix(m, "model/taps", ROWS, KERNEL * COLS, false, &b);
    if (st == SA2_OK) /* two bins */
        st =
            put_tensor(m, "model/taps", SA2_BF16, sa2_tensor_3d(NULL, SA2_BF16, ROWS, COLS, KERNEL),
                       b, SA2_PACK_FORM_TAPS, 2);
    if (st == SA2_OK)
        st = put_block(m, "flow/table", SA2_PACK_ROWS, table, sizeof(float) * ROWS * COLS, &b);
    if (st == SA2_OK)
        st = put_tensor(m, "flow/table", SA2_F32, table, b, SA2_PACK_FORM_ROWS, 0);
    if (st == SA2_OK)
        st = sa2_pack_writer_source(
            m->writer, &(sa2_pack_source){.name = "a.txt", .bytes = 4, .hash = 5}, NULL);
    return st == SA2_OK ? sa2_pack_writer_finish(m->writer, 1, NULL) : st;
}

bool test_native_write(const char *path)
{
    native_maker m = {0};
    sa2_backend *backend = NULL;
    for (size_t i = 0; i < sizeof m.values / sizeof m.values[0]; i++)
        m.values[i] = (float)(i + 1);
    sa2_status st = sa2_backend_open(&backend, &(sa2_backend_options){.n_threads = 1}, NULL);
    if (st == SA2_OK)
        st = sa2_stream_create(&m.stream, backend, 0, NULL);
    if (st == SA2_OK)
        st = sa2_pack_writer_create(&m.writer, path, NULL, NULL);
    if (st == SA2_OK)
        st = put_all(&m);
    sa2_pack_writer_destroy(m.writer);
    sa2_stream_destroy(m.stream);
    sa2_backend_close(backend);
    free(m.matrix);
    return st == SA2_OK;
}

void test_native_seal(unsigned char *bytes, size_t n)
{
    if (n < SA2_PACK_HEADER_BYTES)
        return;
    uint64_t at = sa2_le64(bytes + 24), index = sa2_le64(bytes + 32);
    if (at <= n && index <= n - at)
        sa2_put_le64(bytes + 40, XXH3_64bits(bytes + at, (size_t)index));
    sa2_put_le64(bytes + 56, XXH3_64bits(bytes, 56));
}
