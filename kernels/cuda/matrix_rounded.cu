/* matrix_rounded.cu - contracts: sa2_matrix_bytes() and sa2_matrix_write*() in kernels/ops.h, of I8, I4 and E4M3; layouts in
 * matrix_rounded.cuh.
 *
 * Rows come from the host as they are, several at a time; a block rounds one of them. The operations and their order
 * are those of kernels/cpu/matrix_i8.c, matrix_i4.c and matrix_e4m3.c: both backends hold the same numbers.
 */
#include "kernels/cuda/matrix_rounded.cuh"

#include "kernels/base/e4m3.h"
#include "kernels/cuda/cuda_ops.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;
static constexpr int64_t MOST_COLS = 1 << 18; /* a row of them in f32 is half a slot */

/* ---- rounding ---- */

/* Rows of a source that go to a matrix. Block b rounds row first + b; without `src` all are 0. */
struct rows_piece {
    void *w;
    long long w_rows, cols;
    const void *src; /* the first row */
    bool src_is_bf16;
    long long first;
    sa2_matrix_half half;
    long long first_row; /* of w, for row 0; 0 with a half */
};

static __device__ __forceinline__ long long row_of_block(const rows_piece &p)
{
    return place_of_row(p.half, p.first_row + p.first + blockIdx.x);
}

static __device__ __forceinline__ float value_at(const rows_piece &p, long long col)
{
    long long at = blockIdx.x * p.cols + col;
    return p.src_is_bf16 ? __bfloat162float(((const __nv_bfloat16 *)p.src)[at])
                         : ((const float *)p.src)[at];
}

/* Of n columns. */
static __device__ __forceinline__ float largest_of(const rows_piece &p, long long first, int n)
{
    float largest = 0.0f;
    for (int i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(value_at(p, first + i)));
    return largest;
}

/* The largest magnitude in the block's row, or 0 of one so small that the inverse of its step overflows; for all
 * threads. */
static __device__ __forceinline__ float largest_of_row(const rows_piece &p)
{
    float *room = (float *)shared_bytes(), most = 0.0f;
    if (p.src == nullptr)
        return 0.0f;
    for (long long col = threadIdx.x; col < p.cols; col += THREADS)
        most = fmaxf(most, fabsf(value_at(p, col)));
#pragma unroll
    for (int n = WARP / 2; n > 0; n /= 2)
        most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, n));
    if (threadIdx.x % WARP == 0)
        room[threadIdx.x / WARP] = most;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < THREADS / WARP; i++)
        most = fmaxf(most, room[i]);
    return most <= 1e-30f ? 0.0f : most;
}

static __device__ __forceinline__ float steps_of(float value, float inverse, float least,
                                                 float most)
{
    return fminf(fmaxf(rintf(__fmul_rn(value, inverse)), least), most);
}

/* grid: rows. A thread writes words of four columns. */
static __global__ void __launch_bounds__(THREADS) round_i8_kernel(rows_piece p)
{
    wait_for_earlier();
    constexpr int EACH = 4;
    float most = largest_of_row(p), inverse = most > 0.0f ? 127.0f / most : 0.0f;
    long long row = row_of_block(p), padded = (long long)parts_of(p.cols, CHUNK) * CHUNK;
    if (threadIdx.x == 0)
        *step_at(p.w, steps_i8(p.w_rows, p.cols), row) = most / 127.0f;
    for (long long col = (long long)threadIdx.x * EACH; col < padded; col += THREADS * EACH) {
        uint32_t word = 0;
#pragma unroll
        for (int i = 0; i < EACH; i++)
            if (most > 0.0f && col + i < p.cols) {
                int q = (int)steps_of(value_at(p, col + i), inverse, -127.0f, 127.0f);
                word |= (uint32_t)(q & 255) << shift_i8(i);
            }
        ((uint32_t *)p.w)[word_i8(p.cols, row, col)] = word;
    }
}

static constexpr int MOST_FACTOR = 16, TRIED = 3;

/* Columns [first, first + n) of the block's row in such steps: the sum of the squares of what is left. */
static __device__ __forceinline__ float squares(const rows_piece &p, long long first, int n,
                                                float step)
{
    float sum = 0.0f, inverse = 1.0f / step;
#pragma unroll 4
    for (int i = 0; i < n; i++) {
        float value = value_at(p, first + i);
        float off = value - __fmul_rn(step, steps_of(value, inverse, I4_LEAST, I4_MOST));
        sum += __fmul_rn(off, off);
    }
    return sum;
}

/* As choose_factor() in matrix_i4.c. */
static __device__ __forceinline__ int choose_factor(const rows_piece &p, long long first, int n,
                                                    float step)
{
    float largest = largest_of(p, first, n), least = INFINITY;
    int most = min(max((int)ceilf(largest / (I4_MOST * step)), 1), MOST_FACTOR), best = 1;
    for (int factor = most; factor >= 1 && factor > most - TRIED; factor--) {
        float sum = squares(p, first, n, __fmul_rn(step, (float)factor));
        if (sum < least) {
            least = sum;
            best = factor;
        }
    }
    return best;
}

/* grid: rows. A thread rounds groups of 64 columns. */
static __global__ void __launch_bounds__(THREADS) round_i4_kernel(rows_piece p)
{
    wait_for_earlier();
    constexpr int EACH = 8; /* columns of a word */
    float most = largest_of_row(p), step = most / (I4_MOST * MOST_FACTOR);
    long long row = row_of_block(p);
    uint8_t *factors = (uint8_t *)p.w + factors_i4(p.w_rows, p.cols);
    if (threadIdx.x == 0)
        *step_at(p.w, steps_i4(p.w_rows, p.cols), row) = step;
    for (int group = (int)threadIdx.x; group < parts_of(p.cols, I4_GROUP); group += THREADS) {
        long long first = (long long)group * I4_GROUP;
        int n = most > 0.0f ? (int)min((long long)I4_GROUP, p.cols - first) : 0;
        int factor = n > 0 ? choose_factor(p, first, n, step) : 1;
        float inverse = n > 0 ? 1.0f / __fmul_rn(step, (float)factor) : 0.0f;
        factors[factor_place(parts_of(p.cols, I4_GROUP), row, group)] = (uint8_t)factor;
        for (int at = 0; at < I4_GROUP; at += EACH) {
            uint32_t word = 0;
#pragma unroll
            for (int i = 0; i < EACH; i++) {
                float q = at + i < n
                              ? steps_of(value_at(p, first + at + i), inverse, I4_LEAST, I4_MOST)
                              : 0.0f;
                word |= (uint32_t)(int)(q - I4_LEAST) << shift_i4(i);
            }
            ((uint32_t *)p.w)[word_i4(p.cols, row, first + at)] = word;
        }
    }
}

static constexpr int LEAST_POWER = 10, MOST_POWER = 134;

/* As choose_power() in matrix_e4m3.c. */
static __device__ __forceinline__ int choose_power(float most)
{
    uint32_t bits = __float_as_uint(most);
    int power = (int)(bits >> 23) - 8 + ((bits & 0x7fffff) > 0x600000);
    return min(max(power, LEAST_POWER), MOST_POWER);
}

/* As sa2_f32_to_e4m3(). */
static __device__ __forceinline__ uint32_t e4m3_of(float value)
{
    uint32_t bits = __float_as_uint(value), sign = bits >> 24 & 0x80;
    float size = fabsf(value);
    if (isnan(value))
        return sign | SA2_E4M3_NAN;
    if (size < 0x1p-6f)
        return sign | (uint32_t)rintf(size * 0x1p9f);
    bits &= 0x7fffffff;
    uint32_t code = ((bits + 0x7ffff + (bits >> 20 & 1)) >> 20) - ((127 - 7) << 3);
    return sign | min(code, (uint32_t)SA2_E4M3_MOST);
}

/* grid: rows. A thread rounds groups of 32 columns. */
static __global__ void __launch_bounds__(THREADS) round_e4m3_kernel(rows_piece p)
{
    wait_for_earlier();
    constexpr int EACH = 4; /* columns of a word */
    float most = largest_of_row(p);
    long long row = row_of_block(p);
    uint8_t *powers = (uint8_t *)p.w + powers_e4m3(p.w_rows, p.cols);
    int groups = parts_of(p.cols, CHUNK);
    for (int group = (int)threadIdx.x; group < groups; group += THREADS) {
        long long first = (long long)group * CHUNK;
        int n = most > 0.0f ? (int)min((long long)CHUNK, p.cols - first) : 0;
        int power = choose_power(largest_of(p, first, n));
        float inverse = __uint_as_float((uint32_t)(254 - power) << 23); /* 2^(127 - power) */
        powers[factor_place(groups, row, group)] = (uint8_t)power;
        for (int at = 0; at < CHUNK; at += EACH) {
            uint32_t word = 0;
#pragma unroll
            for (int i = 0; i < EACH; i++)
                if (at + i < n)
                    word |= e4m3_of(__fmul_rn(value_at(p, first + at + i), inverse)) << shift_i8(i);
            ((uint32_t *)p.w)[word_i8(p.cols, row, first + at)] = word;
        }
    }
}

/* ---- writing ---- */

static sa2_status round_rows(sa2_stream *s, const sa2_matrix *w, rows_piece p, int64_t n,
                             sa2_error *err)
{
    void (*kernel)(rows_piece) = w->dtype == SA2_I8   ? round_i8_kernel
                                 : w->dtype == SA2_I4 ? round_i4_kernel
                                                      : round_e4m3_kernel;
    sa2_status st = launch(s, "matrix_write", kernel, dim3((unsigned)n), THREADS,
                           THREADS / WARP * sizeof(float), err, p);
    queue_of(s)->wrote_weights = true;
    return st;
}

/* All rows of src, and behind them zeros up to row `end` of the source. */
static sa2_status write_rows(sa2_stream *s, const sa2_matrix *w, sa2_matrix_half half,
                             int64_t first_row, const sa2_tensor &src, int64_t end, sa2_error *err)
{
    rows_piece p = {};
    p.w = w->data;
    p.w_rows = w->rows;
    p.cols = w->cols;
    p.src_is_bf16 = src.dtype == SA2_BF16;
    p.half = half;
    p.first_row = first_row;
    int64_t rows = src.shape[0], most = sa2_tensor_is_dense(&src) ? MOST_COLS / w->cols : 1;
    size_t size = sa2_dtype_bytes(src.dtype);
    sa2_status st = SA2_OK;
    for (; p.first < rows && st == SA2_OK; p.first += most) {
        int64_t n = rows - p.first < most ? rows - p.first : most;
        p.src = to_device(s, "matrix_write",
                          (const char *)src.data + (size_t)(p.first * src.stride) * size,
                          (size_t)(n * w->cols) * size, err);
        st = p.src == nullptr ? failure_of(err) : round_rows(s, w, p, n, err);
    }
    p.src = nullptr;
    p.first = rows;
    return st == SA2_OK && rows < end ? round_rows(s, w, p, end - rows, err) : st;
}

static sa2_status judge(const sa2_matrix *w, sa2_error *err)
{
    if (w->cols <= MOST_COLS)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_LIMIT, "matrix_write: %lld columns, one of %s has up to %lld",
                    (long long)w->cols, sa2_dtype_name(w->dtype), (long long)MOST_COLS);
}

sa2_status rounded_write(sa2_stream *s, const sa2_matrix *w, int64_t first, const sa2_tensor &src,
                         sa2_error *err)
{
    int64_t end = first + src.shape[0] == w->rows ? padded_rows_of(w->rows) - first : 0;
    sa2_status st = judge(w, err);
    return st == SA2_OK ? write_rows(s, w, SA2_MATRIX_ALL, first, src, end, err) : st;
}

sa2_status rounded_write_swiglu(sa2_stream *s, const sa2_matrix *w, const sa2_tensor &gate,
                                const sa2_tensor &up, sa2_error *err)
{
    int64_t end = padded_rows_of(w->rows) / 2;
    sa2_status st = judge(w, err);
    if (st == SA2_OK)
        st = write_rows(s, w, SA2_MATRIX_GATE, 0, gate, end, err);
    return st == SA2_OK ? write_rows(s, w, SA2_MATRIX_UP, 0, up, end, err) : st;
}
} // namespace sa2_cuda
