#include "runtime/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

enum { NAME_BYTES = 256 };

/* Room in the arena, or only its size while measuring. */
static void *take(sa2_weights *w, size_t bytes)
{
    w->used += sa2_arena_round(bytes);
    if (w->used > w->bytes)
        w->bytes = w->used;
    if (w->arena == NULL)
        return NULL;
    void *block = sa2_arena_take(w->arena, bytes);
    if (block == NULL)
        w->used -= sa2_arena_round(bytes);
    if (block == NULL && w->status == SA2_OK)
        w->status = sa2_fail(w->err, SA2_ERR_NOMEM,
                             "weights: %zu of %zu bytes are taken, %zu more do not fit",
                             w->arena->used, w->arena->bytes, bytes);
    return block;
}

void *sa2_weights_host(sa2_weights *w, size_t bytes)
{
    void *block = take(w, bytes);
    if (block != NULL)
        memset(block, 0, bytes);
    return block;
}

void sa2_weights_release(sa2_weights *w)
{
    if (w->arena == NULL)
        return;
    sa2_status st = sa2_stream_finish(w->stream, w->err);
    if (w->status == SA2_OK)
        w->status = st;
    sa2_tensor_map_release(w->map);
    if (w->progress != NULL)
        w->progress(w->context, w->bytes);
}

sa2_tensor sa2_weights_room(sa2_weights *w, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    sa2_tensor x = sa2_tensor_2d(NULL, dtype, rows, cols);
    x.data = take(w, sa2_tensor_bytes(&x));
    return x;
}

bool sa2_weights_computes(const sa2_weights *w)
{
    return w->arena != NULL && w->status == SA2_OK;
}

size_t sa2_weights_mark(const sa2_weights *w)
{
    return w->used;
}

void sa2_weights_rewind(sa2_weights *w, size_t mark)
{
    if (w->arena != NULL) {
        sa2_weights_release(w);
        sa2_arena_rewind(w->arena, w->arena->used - (w->used - mark));
    }
    w->used = mark;
}

static void put_name(char *name, const sa2_weights *w, const char *format, va_list args)
{
    int n = snprintf(name, NAME_BYTES, "%s", w->prefix != NULL ? w->prefix : "");
    vsnprintf(name + n, (size_t)(NAME_BYTES - n), format, args);
}

/* The tensor with its values; absent while measuring and after a failure. */
static sa2_tensor find(sa2_weights *w, const char *name, int ndim, const int64_t *shape)
{
    sa2_tensor tensor = {0};
    if (w->arena == NULL)
        return tensor;
    sa2_status st = sa2_tensor_map_expect(w->map, name, ndim, shape, &tensor, w->err);
    if (w->status == SA2_OK)
        w->status = st;
    return tensor;
}

static void copy_to(sa2_weights *w, sa2_tensor dst, sa2_tensor src)
{
    if (dst.data == NULL || src.data == NULL)
        return;
    if (dst.dtype == src.dtype)
        sa2_upload(w->stream, dst, src.data);
    else
        sa2_copy(w->stream, dst, src);
}

sa2_tensor sa2_weights_vector(sa2_weights *w, int64_t n, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    sa2_tensor dst = sa2_tensor_1d(take(w, (size_t)n * sizeof(float)), SA2_F32, n);
    copy_to(w, dst, find(w, name, 1, (const int64_t[]){n}));
    return dst;
}

sa2_tensor sa2_weights_table(sa2_weights *w, int64_t rows, int64_t cols, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    size_t bytes = (size_t)(rows * cols) * sa2_dtype_bytes(w->dtype);
    sa2_tensor dst = sa2_tensor_2d(take(w, bytes), w->dtype, rows, cols);
    copy_to(w, dst, find(w, name, 2, (const int64_t[]){rows, cols}));
    return dst;
}

static sa2_matrix take_matrix(sa2_weights *w, int64_t rows, int64_t cols)
{
    size_t bytes = sa2_matrix_bytes(w->stream, w->dtype, rows, cols);
    return (sa2_matrix){.data = take(w, bytes), .dtype = w->dtype, .rows = rows, .cols = cols};
}

/* Rows from `first` on; a failed look-up leaves them unset, the report says so. */
static void fill_rows(sa2_weights *w, sa2_matrix *matrix, int64_t first, int64_t rows,
                      const char *name)
{
    sa2_tensor src = find(w, name, 2, (const int64_t[]){rows, matrix->cols});
    if (matrix->data != NULL && src.data != NULL)
        sa2_matrix_write(w->stream, matrix, first, src);
}

sa2_matrix sa2_weights_matrix(sa2_weights *w, int64_t rows, int64_t cols, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    sa2_matrix matrix = take_matrix(w, rows, cols);
    fill_rows(w, &matrix, 0, rows, name);
    return matrix;
}

sa2_matrix sa2_weights_stack(sa2_weights *w, int64_t cols, const char *prefix, int n,
                             const sa2_weights_part *parts, sa2_tensor *bias)
{
    int64_t rows = 0;
    for (int i = 0; i < n; i++)
        rows += parts[i].rows;
    sa2_matrix matrix = take_matrix(w, rows, cols);
    *bias = sa2_tensor_1d(sa2_weights_host(w, (size_t)rows * sizeof(float)), SA2_F32, rows);
    int64_t first = 0;
    for (int i = 0; i < n; i++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "%s%s%s.weight", w->prefix != NULL ? w->prefix : "", prefix,
                 parts[i].name);
        fill_rows(w, &matrix, first, parts[i].rows, name);
        if (parts[i].has_bias) {
            snprintf(name, sizeof name, "%s%s%s.bias", w->prefix != NULL ? w->prefix : "", prefix,
                     parts[i].name);
            sa2_tensor src = find(w, name, 1, (const int64_t[]){parts[i].rows});
            if (bias->data != NULL)
                copy_to(w, sa2_tensor_rows(*bias, first, parts[i].rows), src);
        }
        first += parts[i].rows;
    }
    return matrix;
}

sa2_matrix sa2_weights_swiglu(sa2_weights *w, int64_t n, int64_t cols, const char *prefix,
                              const char *gate, const char *up)
{
    sa2_matrix matrix = take_matrix(w, 2 * n, cols);
    const char *before = w->prefix != NULL ? w->prefix : "";
    const int64_t shape[] = {n, cols};
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s%s%s.weight", before, prefix, gate);
    sa2_tensor gate_src = find(w, name, 2, shape);
    snprintf(name, sizeof name, "%s%s%s.weight", before, prefix, up);
    sa2_tensor up_src = find(w, name, 2, shape);
    if (matrix.data != NULL && gate_src.data != NULL && up_src.data != NULL)
        sa2_matrix_write_swiglu(w->stream, &matrix, gate_src, up_src);
    return matrix;
}

/* [out, in, bins, kernel] to [out, kernel, bins, in]; elements of `width` bytes. */
static void taps_first(void *dst, const void *src, int64_t out, int64_t in, int64_t bins,
                       int64_t kernel, size_t width)
{
    char *to = dst;
    const char *from = src;
    for (int64_t o = 0; o < out; o++, from += (size_t)(in * bins * kernel) * width)
        for (int64_t k = 0; k < kernel; k++)
            for (int64_t b = 0; b < bins; b++)
                for (int64_t i = 0; i < in; i++) {
                    memcpy(to, from + (size_t)((i * bins + b) * kernel + k) * width, width);
                    to += width;
                }
}

/* A tensor of `shape` that is [out, in, bins, kernel], in the order of taps_first(). */
static sa2_matrix take_taps(sa2_weights *w, const char *name, int ndim, const int64_t *shape,
                            int64_t in, int64_t bins, int64_t kernel)
{
    int64_t out = shape[0];
    sa2_matrix matrix = take_matrix(w, out, kernel * bins * in);
    sa2_tensor src = find(w, name, ndim, shape);
    if (matrix.data == NULL || src.data == NULL)
        return matrix;
    size_t width = sa2_dtype_bytes(src.dtype);
    void *ordered = malloc((size_t)sa2_tensor_count(&src) * width);
    if (ordered == NULL) {
        w->status = sa2_fail_also(w->err, SA2_ERR_NOMEM, "%s: no memory to reorder it", name);
        return matrix;
    }
    taps_first(ordered, src.data, out, in, bins, kernel, width);
    sa2_matrix_write(w->stream, &matrix, 0, sa2_tensor_2d(ordered, src.dtype, out, matrix.cols));
    sa2_status st = sa2_stream_finish(w->stream, w->err);
    if (w->status == SA2_OK)
        w->status = st;
    free(ordered);
    return matrix;
}

sa2_matrix sa2_weights_conv1d(sa2_weights *w, int64_t out, int64_t in, int64_t kernel,
                              const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    return take_taps(w, name, 3, (const int64_t[]){out, in, kernel}, in, 1, kernel);
}

sa2_matrix sa2_weights_conv2d(sa2_weights *w, int64_t out, int64_t in, int64_t kernel,
                              const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    return take_taps(w, name, 4, (const int64_t[]){out, in, kernel, kernel}, in, kernel, kernel);
}

sa2_matrix sa2_weights_conv1d_of_maps(sa2_weights *w, int64_t out, int64_t maps, int64_t bins,
                                      int64_t kernel, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    return take_taps(w, name, 3, (const int64_t[]){out, maps * bins, kernel}, maps, bins, kernel);
}

sa2_tensor sa2_weights_depthwise(sa2_weights *w, int64_t channels, int64_t kernel,
                                 const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    sa2_tensor dst = sa2_weights_room(w, SA2_F32, channels, kernel);
    sa2_tensor src = find(w, name, 3, (const int64_t[]){channels, 1, kernel});
    if (src.data != NULL)
        copy_to(w, dst, sa2_tensor_2d(src.data, src.dtype, channels, kernel));
    return dst;
}

sa2_tensor sa2_weights_index(sa2_weights *w, int64_t n, int64_t repeat)
{
    sa2_tensor dst = sa2_tensor_1d(take(w, (size_t)n * sizeof(int32_t)), SA2_I32, n);
    int32_t piece[256];
    const int64_t most = sizeof piece / sizeof piece[0];
    for (int64_t at = 0; dst.data != NULL && at < n; at += most) {
        int64_t count = n - at < most ? n - at : most;
        for (int64_t i = 0; i < count; i++)
            piece[i] = (int32_t)((at + i) / repeat);
        sa2_upload(w->stream, sa2_tensor_rows(dst, at, count), piece);
    }
    return dst;
}

sa2_matrix sa2_weights_conv_transpose1d(sa2_weights *w, int64_t in, int64_t out, int64_t kernel,
                                        int stride, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    sa2_matrix matrix = take_matrix(w, stride * out, (kernel + stride - 1) / stride * in);
    sa2_tensor src = find(w, name, 3, (const int64_t[]){in, out, kernel});
    if (matrix.data != NULL && src.data != NULL)
        sa2_matrix_write_transpose(w->stream, &matrix, src, stride);
    return matrix;
}
