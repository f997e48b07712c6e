/* product.cuh - the one product behind sa2_linear and the convolutions: rows found in x, times a weight matrix,
 * through an epilogue into y.
 *
 * A row of the product is `taps` pieces of x, each tap_cols long and tap_step apart: one piece for a linear layer, and
 * for a convolution without dilation too. So rows may overlap, and no patch is ever copied to be contiguous.
 *
 * Columns are cut into SLICES ranges that depend on their number alone. Each kernel sums every range from its first
 * column to its last and then adds the ranges in order, whatever the number of rows: a row alone gives the bits that
 * it gives in a batch.
 */
#ifndef SA2_KERNELS_CUDA_PRODUCT_CUH
#define SA2_KERNELS_CUDA_PRODUCT_CUH

#include "kernels/cuda/values.cuh"

namespace sa2_cuda
{
static constexpr int SLICES = 8;

/* ---- how a matrix lies in memory: matrix.cu ---- */

/* bf16: [rows / 16, columns / 32, 2, 32 lanes, 8], the registers of mma's a, lane by lane. Lane (g, t) has rows g and
 * g + 8 of the 16; of the 32 columns it has 8 t to 8 t + 7, the first four in step 0, the others in step 1: then
 * the lane of x that multiplies them reads 16 neighbouring bytes. */
static constexpr int TILE_ROWS = 16, CHUNK = 32;
/* f32: [rows / 32, columns / 4, 32, 4]: a lane is a row and reads four columns. */
static constexpr int STRIP_ROWS = 32, QUAD = 4;

static __host__ __device__ __forceinline__ int parts_of(long long n, int each)
{
    return (int)((n + each - 1) / each);
}

/* Of a matrix with `cols` columns, the element (row, col) from its beginning. */
static __host__ __device__ __forceinline__ long long place_bf16(long long cols, long long row,
                                                                long long col)
{
    long long tile = row / TILE_ROWS * parts_of(cols, CHUNK) + col / CHUNK;
    int g = (int)(row % 8), low = (int)(row / 8 % 2), k = (int)(col % CHUNK), t = k / 8;
    int step = k % 8 / 4, half = k % 4 / 2;
    return (tile * 2 + step) * 256 + (g * 4 + t) * 8 + (2 * half + low) * 2 + k % 2;
}

static __host__ __device__ __forceinline__ long long place_f32(long long cols, long long row,
                                                               long long col)
{
    long long quad = row / STRIP_ROWS * parts_of(cols, QUAD) + col / QUAD;
    return (quad * STRIP_ROWS + row % STRIP_ROWS) * QUAD + col % QUAD;
}

/* Rows of a gate-and-up matrix lie in turn: half a tile or strip of the gate, half of up. */
static __host__ __device__ __forceinline__ long long swiglu_row(long long row, bool is_up, int unit)
{
    int half = unit / 2;
    return row / half * unit + row % half + (is_up ? half : 0);
}

/* ---- rows ---- */

/* Rows at equal steps in x and y: all rows of a layer, or those of one sequence. */
struct row_span {
    long long first;           /* its first row in the product */
    long long x, y;            /* where that row begins, in elements; y may lie before y_first */
    long long y_first, y_last; /* elements of y in [y_first, y_last) are written, others dropped */
};

/* What happens to a sum on its way to y, in this order. */
struct epilogue {
    const float *bias; /* [n] or NULL; of swiglu: [n / 2] of the gate, then of up */
    int bias_cols;     /* 0: n; else it is repeated after so many */
    bool residual;     /* add y before the activation */
    bool swiglu;
    int activation;
    float slope;
    const float *gate; /* NULL: 1 */
    long long gate_step, n_gates;
    const int32_t *gate_rows; /* NULL: row 0 */
    bool accumulate;
    fault_kind kind; /* of a wrong gate row */
    struct fault *fault;
};

struct product {
    const void *x, *w;
    void *y;
    bool x_is_bf16, y_is_bf16, w_is_bf16;
    const float *steps;     /* of rows of w in i8 or i4, as they lie; else NULL */
    const uint8_t *factors; /* of w in i4, powers of w in e4m3; else NULL */
    bool
        is_aligned; /* every piece of 8 (bf16) or 4 (f32) columns is whole, in one tap, at a multiple of 16 bytes */
    int rows, n, k; /* n: rows of w */
    long long x_step, y_step;
    row_span one;          /* the only one */
    const row_span *spans; /* else, on the device */
    int n_spans;
    int taps, tap_cols;
    long long tap_step;
    struct epilogue epilogue;
};

static __device__ __forceinline__ row_span span_of(const product &p, int row)
{
    if (p.n_spans == 1)
        return p.one;
    int low = 0, high = p.n_spans - 1; /* the last span that begins at or before row */
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (p.spans[middle].first <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return p.spans[low];
}

/* Where row `row` begins in x. */
static __device__ __forceinline__ long long x_start(const product &p, int row)
{
    row_span span = span_of(p, row);
    return span.x + (row - span.first) * p.x_step;
}

/* From a row's beginning to column k. */
static __device__ __forceinline__ long long x_offset(const product &p, int k)
{
    return p.taps == 1 ? k : k / p.tap_cols * p.tap_step + k % p.tap_cols;
}

/* The gate of a row, NULL without one; false when there is no such gate, and its row is left out. */
static __device__ __forceinline__ bool find_gate(const epilogue &e, int row, const float **gate)
{
    *gate = nullptr;
    if (e.gate == nullptr)
        return true;
    int which = e.gate_rows != nullptr ? e.gate_rows[row] : 0;
    if (!in_range(e.fault, e.kind, which, e.n_gates, row))
        return false;
    *gate = e.gate + which * e.gate_step;
    return true;
}

static __device__ __forceinline__ bool adds_y(const epilogue &e)
{
    return e.residual || e.accumulate;
}

/* What becomes of a sum in column col. `up` is the other sum of swiglu, `before` what stood in y. Products are not to
 * melt into sums here or there: finish_eight() gives the same bits. */
static __device__ __forceinline__ float finish(const product &p, const float *gate, int col,
                                               float sum, float up, float before)
{
    const epilogue &e = p.epilogue;
    if (e.bias != nullptr)
        sum += e.bias[e.bias_cols == 0 ? col : col % e.bias_cols];
    if (e.swiglu) {
        if (e.bias != nullptr)
            up += e.bias[p.n / 2 + col];
        sum = __fmul_rn(activate_one(sum, SA2_ACT_SILU, 0.0f), up);
    }
    if (e.residual)
        sum += before;
    if (e.activation != SA2_ACT_NONE)
        sum = activate_one(sum, e.activation, e.slope);
    if (gate != nullptr)
        sum = __fmul_rn(sum, gate[col]);
    return e.accumulate ? sum + before : sum;
}

/* One element of y. */
static __device__ __forceinline__ void put(const product &p, const row_span &span, int row, int col,
                                           float sum, float up)
{
    long long at = span.y + (row - span.first) * p.y_step + col;
    const float *gate;
    if (at < span.y_first || at >= span.y_last || !find_gate(p.epilogue, row, &gate))
        return;
    float before = adds_y(p.epilogue) ? ((const float *)p.y)[at] : 0.0f;
    float value = finish(p, gate, col, sum, up, before);
    if (p.y_is_bf16)
        ((__nv_bfloat16 *)p.y)[at] = __float2bfloat16_rn(value);
    else
        ((float *)p.y)[at] = value;
}

/* ---- the host's side ---- */

/* Up to this many rows of x, weights are read straight into registers, a warp for each slice. */
static constexpr int THIN_ROWS = 16;

sa2_status run_product(sa2_stream *s, const char *op, const product &p, sa2_error *err);
sa2_status run_product_mma(sa2_stream *s, const char *op, const product &p, sa2_error *err);
sa2_status run_product_f32(sa2_stream *s, const char *op, const product &p, sa2_error *err);
sa2_status run_product_rounded(sa2_stream *s, const char *op, const product &p, sa2_error *err);

/* The gate of an op into its epilogue. */
void set_gate(epilogue *e, fault_kind kind, sa2_stream *s, const sa2_tensor &gate,
              const sa2_tensor &gate_rows);
} // namespace sa2_cuda

#endif
