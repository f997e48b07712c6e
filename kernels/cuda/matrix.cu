/* matrix.cu - contracts: sa2_matrix_bytes() and sa2_matrix_write*() in kernels/ops.h; layouts in product.cuh, of 8 and 4
 * bits in matrix_rounded.cuh.
 *
 * Values come from the host as they are, in pieces; a kernel puts each one into its place. That is done once, when
 * a model is loaded, at the speed of the bus.
 */
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/matrix_rounded.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;

enum class source : int { ROWS, GATE, UP, TRANSPOSED };

struct piece {
    void *w;
    bool w_is_bf16, src_is_bf16;
    long long rows, cols; /* of w */
    const void *src;
    long long first, count; /* elements of the source that src has */
    source what;
    long long first_row;               /* of w, for element 0 */
    long long in, out, kernel, stride; /* of TRANSPOSED: source [in, out, kernel] */
};

static __device__ __forceinline__ void put_value(const piece &p, long long row, long long col,
                                                 float value)
{
    if (p.w_is_bf16)
        ((__nv_bfloat16 *)p.w)[place_bf16(p.cols, row, col)] = __float2bfloat16_rn(value);
    else
        ((float *)p.w)[place_f32(p.cols, row, col)] = value;
}

static __global__ void __launch_bounds__(THREADS) place_kernel(piece p)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.count)
        return;
    float value = p.src_is_bf16 ? __bfloat162float(((const __nv_bfloat16 *)p.src)[i])
                                : ((const float *)p.src)[i];
    long long element = p.first + i, row = element / p.cols, col = element % p.cols;
    int unit = p.w_is_bf16 ? TILE_ROWS : STRIP_ROWS;
    switch (p.what) {
    case source::ROWS:
        row += p.first_row;
        break;
    case source::GATE:
        row = swiglu_row(row, false, unit);
        break;
    case source::UP:
        row = swiglu_row(row, true, unit);
        break;
    case source::TRANSPOSED: {
        long long tap = element % p.kernel, to = element / p.kernel % p.out;
        long long from = element / p.kernel / p.out, reach = (p.kernel + p.stride - 1) / p.stride;
        row = tap % p.stride * p.out + to;
        col = (reach - 1 - tap / p.stride) * p.in + from;
        break;
    }
    }
    put_value(p, row, col, value);
}

/* Zeros behind the last column of rows [first, end), and in rows that the matrix does not have. */
static __global__ void __launch_bounds__(THREADS)
    clear_kernel(piece p, long long first, long long end, long long padded_cols)
{
    wait_for_earlier();
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    long long row = first + i / padded_cols, col = i % padded_cols;
    if (row < end && (row >= p.rows || col >= p.cols))
        put_value(p, row, col, 0.0f);
}

static long long padded_rows(const piece &p)
{
    int unit = p.w_is_bf16 ? TILE_ROWS : STRIP_ROWS;
    return (long long)parts_of(p.rows, unit) * unit;
}

static long long padded_cols(const piece &p)
{
    int unit = p.w_is_bf16 ? CHUNK : QUAD;
    return (long long)parts_of(p.cols, unit) * unit;
}

static sa2_status clear_padding(sa2_stream *s, const piece &p, long long first, long long end,
                                sa2_error *err)
{
    long long cols = padded_cols(p), last = end == p.rows ? padded_rows(p) : end;
    if (first >= last || (cols == p.cols && last == end))
        return SA2_OK;
    sa2_status st =
        launch(s, "matrix_write", clear_kernel, dim3(blocks_for((last - first) * cols, THREADS)),
               THREADS, 0, err, p, first, last, cols);
    queue_of(s)->wrote_weights = true;
    return st;
}

/* Elements [first, first + count) of the source, which lie together at `host`. */
static sa2_status place(sa2_stream *s, piece p, const void *host, int64_t first, int64_t count,
                        sa2_error *err)
{
    size_t size = p.src_is_bf16 ? 2 : 4;
    const int64_t most = 1 << 18; /* elements: half a slot */
    for (int64_t at = 0; at < count; at += most) {
        p.first = first + at;
        p.count = count - at < most ? count - at : most;
        p.src = to_device(s, "matrix_write", (const char *)host + (size_t)at * size,
                          (size_t)p.count * size, err);
        if (p.src == nullptr)
            return err != nullptr ? err->status : SA2_ERR_DEVICE;
        sa2_status st = launch(s, "matrix_write", place_kernel, dim3(blocks_for(p.count, THREADS)),
                               THREADS, 0, err, p);
        queue_of(s)->wrote_weights = true;
        if (st != SA2_OK)
            return st;
    }
    return SA2_OK;
}

/* A source with its rows apart or not. */
static sa2_status place_rows(sa2_stream *s, const piece &p, const sa2_tensor &src, sa2_error *err)
{
    int64_t row = sa2_tensor_row_count(&src);
    if (sa2_tensor_is_dense(&src))
        return place(s, p, src.data, 0, row * src.shape[0], err);
    sa2_status st = SA2_OK;
    for (int64_t r = 0; r < src.shape[0] && st == SA2_OK; r++)
        st = place(s, p,
                   (const char *)src.data + (size_t)(r * src.stride) * sa2_dtype_bytes(src.dtype),
                   r * row, row, err);
    return st;
}

static piece piece_of(const sa2_matrix *w, const sa2_tensor &src, source what)
{
    piece p = {};
    p.w = w->data;
    p.w_is_bf16 = w->dtype == SA2_BF16;
    p.src_is_bf16 = src.dtype == SA2_BF16;
    p.rows = w->rows;
    p.cols = w->cols;
    p.what = what;
    return p;
}

size_t matrix_bytes(sa2_dtype dtype, int64_t rows, int64_t cols)
{
    if (sa2_dtype_is_rounded(dtype))
        return rounded_bytes(dtype, rows, cols);
    piece p = {};
    p.w_is_bf16 = dtype == SA2_BF16;
    p.rows = rows;
    p.cols = cols;
    return (size_t)padded_rows(p) * (size_t)padded_cols(p) * sa2_dtype_bytes(dtype);
}

/* ---- for files that hold matrices in this order ---- */

static size_t bytes_f32(int64_t rows, int64_t cols)
{
    return matrix_bytes(SA2_F32, rows, cols);
}

static size_t bytes_bf16(int64_t rows, int64_t cols)
{
    return matrix_bytes(SA2_BF16, rows, cols);
}

static int64_t row_of_half(sa2_matrix_half half, int64_t row, int unit)
{
    return half == SA2_MATRIX_ALL ? row : swiglu_row(row, half == SA2_MATRIX_UP, unit);
}

static void read_row_f32(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    row = row_of_half(half, row, STRIP_ROWS);
    for (int64_t col = 0; col < w->cols; col++)
        ((float *)out)[col] = ((const float *)w->data)[place_f32(w->cols, row, col)];
}

static void read_row_bf16(void *out, const sa2_matrix *w, sa2_matrix_half half, int64_t row)
{
    row = row_of_half(half, row, TILE_ROWS);
    for (int64_t col = 0; col < w->cols; col++)
        ((uint16_t *)out)[col] = ((const uint16_t *)w->data)[place_bf16(w->cols, row, col)];
}

const sa2_layout layout_f32 = {.name = "cuda-f32-32x4-1",
                               .dtype = SA2_F32,
                               .row_dtype = SA2_F32,
                               .bytes = bytes_f32,
                               .read_row = read_row_f32,
                               .cut = nullptr,
                               .rows_together = 0};
const sa2_layout layout_bf16 = {.name = "cuda-bf16-16x32-1",
                                .dtype = SA2_BF16,
                                .row_dtype = SA2_BF16,
                                .bytes = bytes_bf16,
                                .read_row = read_row_bf16,
                                .cut = nullptr,
                                .rows_together = 0};

/* ---- writing ---- */

static sa2_status set_to_zero(sa2_stream *s, const sa2_matrix *w, sa2_error *err)
{
    sa2_status st = let_go(s, err);
    if (st != SA2_OK)
        return st;
    cudaError_t error =
        cudaMemsetAsync(w->data, 0, matrix_bytes(w->dtype, w->rows, w->cols), queue_of(s)->stream);
    return error == cudaSuccess ? SA2_OK : failed("matrix_write", error, err);
}

sa2_status matrix_write(sa2_stream *s, sa2_matrix *w, int64_t first, sa2_tensor src, sa2_error *err)
{
    if (sa2_dtype_is_rounded(w->dtype))
        return rounded_write(s, w, first, src, err);
    piece p = piece_of(w, src, source::ROWS);
    p.first_row = first;
    sa2_status st = clear_padding(s, p, first, first + src.shape[0], err);
    return st == SA2_OK ? place_rows(s, p, src, err) : st;
}

sa2_status matrix_write_swiglu(sa2_stream *s, sa2_matrix *w, sa2_tensor gate, sa2_tensor up,
                               sa2_error *err)
{
    if (sa2_dtype_is_rounded(w->dtype))
        return rounded_write_swiglu(s, w, gate, up, err);
    sa2_status st = set_to_zero(s, w, err);
    if (st == SA2_OK)
        st = place_rows(s, piece_of(w, gate, source::GATE), gate, err);
    if (st == SA2_OK)
        st = place_rows(s, piece_of(w, up, source::UP), up, err);
    return st;
}

sa2_status matrix_write_transpose(sa2_stream *s, sa2_matrix *w, sa2_tensor src, int stride,
                                  sa2_error *err)
{
    piece p = piece_of(w, src, source::TRANSPOSED);
    p.in = src.shape[0];
    p.out = src.shape[1];
    p.kernel = src.shape[2];
    p.stride = stride;
    sa2_status st = set_to_zero(s, w, err);
    return st == SA2_OK ? place_rows(s, p, src, err) : st;
}
} // namespace sa2_cuda
