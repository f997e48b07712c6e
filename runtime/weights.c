#include "runtime/weights.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/layout.h"
#include "runtime/pack_sink.h"
#include "runtime/weights_native.h"

enum { NAME_BYTES = 512 };

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

/* Room for a weight: with a sink, until it is there. */
static void *take_weight(sa2_weights *w, size_t bytes)
{
    if (w->sink == NULL)
        return take(w, bytes);
    void *room = sa2_pack_sink_room(w->sink, bytes);
    if (room == NULL && w->status == SA2_OK)
        w->status = sa2_fail(w->err, SA2_ERR_NOMEM, "weights: no memory for %zu bytes", bytes);
    return room;
}

void *sa2_weights_host(sa2_weights *w, size_t bytes)
{
    w->host_bytes += sa2_arena_round(bytes);
    if (w->arena == NULL)
        return NULL;
    void *block = w->host != NULL ? sa2_arena_take(w->host, bytes) : take(w, bytes);
    if (block != NULL)
        memset(block, 0, bytes);
    return block;
}

void sa2_weights_release(sa2_weights *w)
{
    if (w->arena == NULL && w->sink == NULL)
        return;
    sa2_status st = sa2_stream_finish(w->stream, w->err);
    if (w->status == SA2_OK)
        w->status = st;
    sa2_tensor_map_release(w->map);
    if (w->progress != NULL)
        w->progress(w->context, w->bytes + w->mapped);
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

/* The tensor with its values, or this rank's part of it; absent while measuring and after a failure. */
static sa2_tensor find(sa2_weights *w, const char *name, int ndim, const int64_t *shape)
{
    sa2_tensor tensor = {0};
    sa2_tensor_slice part;
    int64_t whole[SA2_MAX_DIMS];
    memcpy(whole, shape, (size_t)ndim * sizeof *shape);
    if (w->arena == NULL && w->sink == NULL)
        return tensor;
    if (w->sink != NULL && w->status != SA2_OK && w->status != SA2_ERR_FORMAT)
        return tensor; /* given up, or no room on the disk: what else is wrong can wait */
    bool shared = w->shard != NULL && sa2_shard_find(w->shard, name, &part);
    if (shared) {
        assert(shape[part.axis] == part.slice.n);
        whole[part.axis] = part.slice.whole;
    }
    sa2_status st = sa2_tensor_map_expect(w->map, name, ndim, whole, &tensor, w->err);
    if (w->status == SA2_OK)
        w->status = st;
    return shared ? sa2_shard_view(w->shard, name, tensor) : tensor;
}

enum { PIECE = 1024 }; /* elements that are converted at a time */

/* Elements [at, at + n) of src in the other of f32 and bf16. */
static void convert(void *to, sa2_tensor src, int64_t at, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (src.dtype == SA2_BF16)
            ((float *)to)[i] = sa2_bf16_to_f32(((const uint16_t *)src.data)[at + i]);
        else
            ((uint16_t *)to)[i] = sa2_f32_to_bf16(((const float *)src.data)[at + i]);
}

/* From the map, which is the host's, to the device, both dense. The device cannot read the map: what changes its
 * dtype does so here. */
static void copy_to(sa2_weights *w, sa2_tensor dst, sa2_tensor src)
{
    if (dst.data == NULL || src.data == NULL)
        return;
    if (dst.dtype == src.dtype) {
        sa2_upload(w->stream, dst, src.data);
        return;
    }
    float piece[PIECE];
    int64_t count = sa2_tensor_count(&dst);
    sa2_tensor flat = sa2_tensor_1d(dst.data, dst.dtype, count);
    for (int64_t at = 0; at < count; at += PIECE) {
        int64_t n = count - at < PIECE ? count - at : PIECE;
        convert(piece, src, at, n);
        sa2_upload(w->stream, sa2_tensor_rows(flat, at, n), piece);
    }
}

static void set_to_zero(sa2_weights *w, sa2_tensor dst)
{
    static const float zeros[PIECE];
    for (int64_t at = 0; at < dst.shape[0]; at += PIECE) {
        int64_t n = dst.shape[0] - at < PIECE ? dst.shape[0] - at : PIECE;
        sa2_upload(w->stream, sa2_tensor_rows(dst, at, n), zeros);
    }
}

/* Gives a weight that is complete to the sink; without one, it stays where it is. */
static void give(sa2_weights *w, const char *name, const char *layout, const sa2_tensor *x,
                 size_t bytes, int n, const sa2_pack_piece *pieces)
{
    if (w->sink == NULL)
        return;
    sa2_status st = sa2_stream_finish(w->stream, w->err);
    if (w->status == SA2_OK)
        w->status = st;
    if (w->status == SA2_OK)
        w->status = sa2_pack_sink_put(w->sink, name, layout, x, bytes, n, pieces, w->err);
}

static void give_tensor(sa2_weights *w, const char *name, const sa2_tensor *x, int n,
                        const sa2_pack_piece *pieces)
{
    give(w, name, SA2_PACK_ROWS, x, sa2_tensor_bytes(x), n, pieces);
}

static void give_matrix(sa2_weights *w, const char *name, const sa2_matrix *m, int n,
                        const sa2_pack_piece *pieces)
{
    const sa2_tensor x = sa2_tensor_2d(m->data, m->dtype, m->rows, m->cols);
    give(w, name, sa2_stream_layout(w->stream, m->dtype)->name, &x,
         sa2_matrix_bytes(w->stream, m->dtype, m->rows, m->cols), n, pieces);
}

/* What a native file holds as the ops want it, from where it is mapped to a device that cannot read there. */
static void *settle(sa2_weights *w, const void *mapped, sa2_tensor bytes)
{
    bytes.data = take(w, sa2_tensor_bytes(&bytes));
    if (bytes.data != NULL && mapped != NULL)
        sa2_upload(w->stream, bytes, mapped);
    return bytes.data;
}

static bool take_native_tensor(sa2_weights *w, const char *name, sa2_tensor *x)
{
    if (!sa2_weights_native_tensor(w, name, x))
        return false;
    if (!sa2_backend_reads_host(sa2_stream_backend(w->stream)))
        x->data = settle(w, x->data, *x);
    return true;
}

static bool take_native_matrix(sa2_weights *w, const char *name, sa2_quant quant,
                               sa2_matrix *matrix)
{
    if (!sa2_weights_native_matrix(w, name, quant, matrix))
        return false;
    if (sa2_backend_reads_host(sa2_stream_backend(w->stream)))
        return true;
    size_t bytes = sa2_matrix_bytes(w->stream, matrix->dtype, matrix->rows, matrix->cols);
    matrix->data =
        settle(w, matrix->data, sa2_tensor_1d(NULL, SA2_I32, (int64_t)(bytes / sizeof(int32_t))));
    return true;
}

/* A dense tensor of f32 or `dtype` out of one of the map's with as many elements. */
static sa2_tensor take_tensor(sa2_weights *w, const char *name, sa2_tensor dst, int ndim,
                              const int64_t *shape)
{
    if (take_native_tensor(w, name, &dst))
        return dst;
    dst.data = take_weight(w, sa2_tensor_bytes(&dst));
    sa2_tensor src = find(w, name, ndim, shape), flat = dst;
    flat.data = src.data;
    flat.dtype = src.dtype;
    copy_to(w, dst, flat);
    give_tensor(w, name, &dst, 1, &(sa2_pack_piece){.name = name});
    return dst;
}

sa2_tensor sa2_weights_vector(sa2_weights *w, int64_t n, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    return take_tensor(w, name, sa2_tensor_1d(NULL, SA2_F32, n), 1, (const int64_t[]){n});
}

sa2_tensor sa2_weights_table(sa2_weights *w, int64_t rows, int64_t cols, const char *format, ...)
{
    char name[NAME_BYTES];
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    return take_tensor(w, name, sa2_tensor_2d(NULL, w->dtype, rows, cols), 2,
                       (const int64_t[]){rows, cols});
}

/* Room for a matrix that is still to be filled, or the matrix itself, which is then *there. */
static sa2_matrix take_matrix(sa2_weights *w, const char *name, sa2_quant quant, int64_t rows,
                              int64_t cols, bool *there)
{
    sa2_matrix matrix = {.dtype = sa2_quant_dtype(quant, w->dtype), .rows = rows, .cols = cols};
    *there = take_native_matrix(w, name, quant, &matrix);
    if (!*there) {
        matrix.data = take_weight(w, sa2_matrix_bytes(w->stream, matrix.dtype, rows, cols));
        *there = sa2_weights_native_cut(w, name, &matrix);
    }
    return matrix;
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
    bool there;
    va_list args;
    va_start(args, format);
    put_name(name, w, format, args);
    va_end(args);
    sa2_matrix matrix = take_matrix(w, name, w->quant, rows, cols, &there);
    if (!there) {
        fill_rows(w, &matrix, 0, rows, name);
        give_matrix(w, name, &matrix, 1, &(sa2_pack_piece){.name = name});
    }
    return matrix;
}

/* "layers.0.self_attn.q_proj+self_attn.k_proj+self_attn.v_proj<end>": one block of several tensors. */
static void put_stack_name(char name[NAME_BYTES], const sa2_weights *w, const char *prefix, int n,
                           const sa2_weights_part *parts, const char *end)
{
    int used = snprintf(name, NAME_BYTES, "%s%s", w->prefix != NULL ? w->prefix : "", prefix);
    for (int i = 0; i < n && used < NAME_BYTES; i++)
        used += snprintf(name + used, (size_t)(NAME_BYTES - used), "%s%s", i > 0 ? "+" : "",
                         parts[i].name);
    assert(used + (int)strlen(end) < NAME_BYTES);
    strcpy(name + used, end);
}

enum { MAX_STACK = 4 };

/* The parts' tensors, as pieces of the stack. A part without bias is none of the bias. */
static int stack_pieces(sa2_pack_piece *pieces, char names[MAX_STACK][NAME_BYTES],
                        const sa2_weights *w, const char *prefix, int n,
                        const sa2_weights_part *parts, bool bias)
{
    int n_pieces = 0;
    int64_t first = 0;
    assert(n <= MAX_STACK);
    for (int i = 0; i < n; i++) {
        if (!bias || parts[i].has_bias) {
            put_stack_name(names[i], w, prefix, 1, &parts[i], bias ? ".bias" : ".weight");
            pieces[n_pieces++] =
                (sa2_pack_piece){.name = names[i], .first = first, .rows = parts[i].rows};
        }
        first += parts[i].rows;
    }
    return n_pieces;
}

static sa2_tensor stack_bias(sa2_weights *w, int64_t rows, const char *prefix, int n,
                             const sa2_weights_part *parts)
{
    char name[NAME_BYTES], names[MAX_STACK][NAME_BYTES];
    sa2_pack_piece pieces[MAX_STACK];
    sa2_tensor bias = sa2_tensor_1d(NULL, SA2_F32, rows);
    put_stack_name(name, w, prefix, n, parts, ".bias");
    if (take_native_tensor(w, name, &bias))
        return bias;
    bias.data = take_weight(w, sa2_tensor_bytes(&bias));
    if (bias.data != NULL)
        set_to_zero(w, bias);
    int n_pieces = stack_pieces(pieces, names, w, prefix, n, parts, true);
    for (int i = 0; i < n_pieces; i++) {
        sa2_tensor src = find(w, pieces[i].name, 1, &pieces[i].rows);
        if (bias.data != NULL)
            copy_to(w, sa2_tensor_rows(bias, pieces[i].first, pieces[i].rows), src);
    }
    give_tensor(w, name, &bias, n_pieces, pieces);
    return bias;
}

sa2_matrix sa2_weights_stack(sa2_weights *w, int64_t cols, const char *prefix, int n,
                             const sa2_weights_part *parts, sa2_tensor *bias)
{
    char name[NAME_BYTES], names[MAX_STACK][NAME_BYTES];
    sa2_pack_piece pieces[MAX_STACK];
    bool there;
    int64_t rows = 0;
    for (int i = 0; i < n; i++)
        rows += parts[i].rows;
    put_stack_name(name, w, prefix, n, parts, ".weight");
    sa2_matrix matrix = take_matrix(w, name, w->quant, rows, cols, &there);
    if (!there) {
        stack_pieces(pieces, names, w, prefix, n, parts, false);
        for (int i = 0; i < n; i++)
            fill_rows(w, &matrix, pieces[i].first, pieces[i].rows, pieces[i].name);
        give_matrix(w, name, &matrix, n, pieces);
    }
    *bias = stack_bias(w, rows, prefix, n, parts);
    return matrix;
}

sa2_matrix sa2_weights_swiglu(sa2_weights *w, int64_t n, int64_t cols, const char *prefix,
                              const char *gate, const char *up)
{
    const sa2_weights_part parts[] = {{gate, n, false}, {up, n, false}};
    const int64_t shape[] = {n, cols};
    char name[NAME_BYTES], names[2][NAME_BYTES];
    bool there;
    put_stack_name(name, w, prefix, 2, parts, ".weight");
    sa2_matrix matrix = take_matrix(w, name, w->quant, 2 * n, cols, &there);
    if (there)
        return matrix;
    put_stack_name(names[0], w, prefix, 1, &parts[0], ".weight");
    put_stack_name(names[1], w, prefix, 1, &parts[1], ".weight");
    sa2_tensor gate_src = find(w, names[0], 2, shape), up_src = find(w, names[1], 2, shape);
    if (matrix.data != NULL && gate_src.data != NULL && up_src.data != NULL)
        sa2_matrix_write_swiglu(w->stream, &matrix, gate_src, up_src);
    const sa2_pack_piece pieces[] = {{.name = names[0], .form = SA2_PACK_FORM_GATE},
                                     {.name = names[1], .form = SA2_PACK_FORM_UP}};
    give_matrix(w, name, &matrix, 2, pieces);
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

/* Writes src, that is [out, in, bins, kernel], in the order of taps_first(). */
static void fill_taps(sa2_weights *w, const char *name, sa2_matrix *matrix, sa2_tensor src,
                      int64_t in, int64_t bins, int64_t kernel)
{
    size_t width = sa2_dtype_bytes(src.dtype);
    void *ordered = malloc((size_t)sa2_tensor_count(&src) * width);
    if (ordered == NULL) {
        w->status = sa2_fail_also(w->err, SA2_ERR_NOMEM, "%s: no memory to reorder it", name);
        return;
    }
    taps_first(ordered, src.data, matrix->rows, in, bins, kernel, width);
    sa2_matrix_write(w->stream, matrix, 0,
                     sa2_tensor_2d(ordered, src.dtype, matrix->rows, matrix->cols));
    sa2_status st = sa2_stream_finish(w->stream, w->err);
    if (w->status == SA2_OK)
        w->status = st;
    free(ordered);
}

static sa2_matrix take_taps(sa2_weights *w, const char *name, int ndim, const int64_t *shape,
                            int64_t in, int64_t bins, int64_t kernel)
{
    bool there;
    sa2_matrix matrix = take_matrix(w, name, SA2_QUANT_NONE, shape[0], kernel * bins * in, &there);
    if (there)
        return matrix;
    sa2_tensor src = find(w, name, ndim, shape);
    if (matrix.data != NULL && src.data != NULL)
        fill_taps(w, name, &matrix, src, in, bins, kernel);
    give_matrix(w, name, &matrix, 1,
                &(sa2_pack_piece){.name = name, .form = SA2_PACK_FORM_TAPS, .first = bins});
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
    return take_tensor(w, name, sa2_tensor_2d(NULL, SA2_F32, channels, kernel), 3,
                       (const int64_t[]){channels, 1, kernel});
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
    bool there;
    sa2_matrix matrix = take_matrix(w, name, SA2_QUANT_NONE, stride * out,
                                    (kernel + stride - 1) / stride * in, &there);
    if (there)
        return matrix;
    sa2_tensor src = find(w, name, 3, (const int64_t[]){in, out, kernel});
    if (matrix.data != NULL && src.data != NULL)
        sa2_matrix_write_transpose(w->stream, &matrix, src, stride);
    give_matrix(w, name, &matrix, 0, NULL);
    return matrix;
}
