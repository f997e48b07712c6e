/* probe.cu - contract: probe.h. Each fact is a kernel of one block that writes what it sees, and its expectation computed
 * here from the tables of the PTX ISA: sections 9.7.14.5.8 (mma), 9.7.14.5.15 (ldmatrix), 9.7.9.25 (cp.async),
 * 9.7.9.6 (shuffles), 9.7.15.5 (wgmma), 9.7.9.25.4 and 9.7.13.15 (clusters). Values are small integers where sums are compared, so that every one is exact.
 */
#include "probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cluster_rows.cuh"
#include <kernels/cuda/values.cuh>

using namespace sa2_cuda;

enum { LANES = 32, WORDS = 4096, SHARED = 96 << 10 };
enum { GROUP = 128, STEPS = 28 }; /* threads of a warpgroup; steps of 16 that its products take */

/* What kernels read and write, in memory that both see. */
struct board {
    uint32_t in[WORDS], out[WORDS];
    float x[WORDS], y[WORDS];
};

/* ---- kernels ---- */

static __global__ void matrices_kernel(board *b, int transposed)
{
    uint32_t *rows = (uint32_t *)shared_bytes(); /* [32] rows of 8 elements of 16 bits */
    int lane = (int)threadIdx.x;
    for (int i = 0; i < 4; i++)
        rows[4 * lane + i] = b->in[4 * lane + i];
    __syncthreads();
    uint32_t r[4];
    if (transposed)
        load_matrix_x4_transposed(r, rows + 4 * lane);
    else
        load_matrix_x4(r, rows + 4 * lane);
    for (int i = 0; i < 4; i++)
        b->out[4 * lane + i] = r[i];
}

/* a [16, 16] and b [16, 8] from x, row by row, onto d [16, 8] from y. */
static __global__ void product_kernel(board *m)
{
    const float *from = m->x, *right = m->x + 256;
    int lane = (int)threadIdx.x, g = lane / 4, t = lane % 4;
    uint32_t a[4], b[2];
    float d[4];
    for (int q = 0; q < 4; q++) {
        int row = g + 8 * (q & 1), col = 2 * t + 8 * (q >> 1);
        a[q] = bf16_pair(from[row * 16 + col], from[row * 16 + col + 1]);
    }
    for (int q = 0; q < 2; q++)
        b[q] = bf16_pair(right[(2 * t + 8 * q) * 8 + g], right[(2 * t + 8 * q + 1) * 8 + g]);
    for (int i = 0; i < 4; i++)
        d[i] = m->y[(g + 8 * (i >> 1)) * 8 + 2 * t + (i & 1)];
    mma_bf16(d, a, b);
    for (int i = 0; i < 4; i++)
        m->y[(g + 8 * (i >> 1)) * 8 + 2 * t + (i & 1)] = d[i];
}

static __host__ __device__ __forceinline__ int part_of(int lane)
{
    return lane % 3 == 0 ? 0 : lane % 3 == 1 ? 16 : lane % 4 * 4;
}

/* Two groups of copies; the first is read after waiting for all but the newest. Every third is not there, and of every
 * third only a part. */
static __global__ void copies_kernel(board *b)
{
    uint4 *room = (uint4 *)shared_bytes();
    int lane = (int)threadIdx.x;
    for (int group = 0; group < 2; group++) {
        copy_async_part(&room[group * LANES + lane], b->in + 4 * (group * LANES + lane),
                        part_of(lane));
        copy_async_commit();
    }
    copy_async_wait<1>();
    ((uint4 *)b->out)[lane] = room[lane];
    copy_async_wait<0>();
    ((uint4 *)b->out)[LANES + lane] = room[LANES + lane];
}

static __global__ void lanes_kernel(board *b)
{
    unsigned lane = threadIdx.x;
    unsigned *out = b->out + lane;
    out[0 * LANES] = __shfl_xor_sync(ALL_LANES, lane, 5);
    out[1 * LANES] = __shfl_up_sync(ALL_LANES, lane, 3);
    out[2 * LANES] = __shfl_down_sync(ALL_LANES, lane, 3);
    out[3 * LANES] = __shfl_sync(ALL_LANES, lane, 7);
    out[4 * LANES] = __ballot_sync(ALL_LANES, lane % 3 == 1);
}

static __global__ void rounding_kernel(board *b)
{
    for (int i = (int)threadIdx.x; i < WORDS / 2; i += LANES)
        b->out[i] = bf16_pair(b->x[2 * i], b->x[2 * i + 1]);
}

static __global__ void powers_kernel(board *b)
{
    for (int i = (int)threadIdx.x; i < WORDS; i += LANES)
        b->y[i] = exp2f(b->x[i]);
}

static __global__ void sines_kernel(board *b)
{
    for (int i = (int)threadIdx.x; i < WORDS; i += LANES)
        b->y[i] = sine(b->x[i]);
}

/* One of all threads is first, and only it. */
static __global__ void first_kernel(board *b)
{
    b->out[1 + threadIdx.x] = (uint32_t)atomicCAS((int *)&b->out[0], 0, (int)threadIdx.x + 1);
}

static __global__ void shared_kernel(board *b)
{
    uint32_t *room = (uint32_t *)shared_bytes();
    for (int i = (int)threadIdx.x; i < SHARED / 4; i += LANES)
        room[i] = (uint32_t)i;
    __syncthreads();
    b->out[threadIdx.x] = room[SHARED / 4 - 1 - threadIdx.x];
}

/* A number of bf16 for each i: either sign, any fraction, magnitudes from 2^-14 to 2^5. */
static __device__ uint32_t number(uint32_t i)
{
    uint32_t x = (i + 1) * 2654435761u;
    x = (x ^ x >> 15) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    x ^= x >> 16;
    return (x & 0x807fu) | (113 + (x >> 16) % 20) << 7;
}

static __device__ uint32_t two_numbers(uint32_t i)
{
    return number(i) | number(i + 1) << 16;
}

/* The sums of [64, 16 steps] by [16 steps, 8] twice: out[0, 512) from wgmma, out[512, 1024) from mma.sync. */
static __global__ void both_products_kernel(board *m, int steps)
{
    if constexpr (HAS_WGMMA) {
        uint32_t *right = (uint32_t *)shared_bytes(); /* [STEPS][2][8 columns][8 k] of 16 bits */
        int me = (int)threadIdx.x, lane = me % LANES, g = lane / 4, t = lane % 4;
        uint32_t row = 16 * (me / LANES) + g, k_all = 16 * STEPS, after_a = 64 * k_all;
        for (int i = me; i < STEPS * 64; i += GROUP)
            right[i] =
                two_numbers(after_a + i / 4 % 8 * k_all + i / 64 * 16 + i / 32 % 2 * 8 + i % 4 * 2);
        publish_to_async();
        __syncthreads();
        float wide[4] = {}, narrow[4] = {};
        for (int step = 0; step < steps; step++) {
            uint32_t a[4], b[2];
            for (uint32_t q = 0; q < 4; q++)
                a[q] = two_numbers((row + 8 * (q & 1)) * k_all + 16 * step + 2 * t + 8 * (q >> 1));
            for (uint32_t q = 0; q < 2; q++)
                b[q] = two_numbers(after_a + g * k_all + 16 * step + 2 * t + 8 * q);
            mma_bf16(narrow, a, b);
            wgmma_fence();
            wgmma_bf16(wide, a, wgmma_matrix(right + step * 64, 128, 256), step > 0);
            wgmma_commit();
            wgmma_wait<0>();
        }
        for (int i = 0; i < 4; i++) {
            m->out[4 * me + i] = __float_as_uint(wide[i]);
            m->out[4 * GROUP + 4 * me + i] = __float_as_uint(narrow[i]);
        }
    }
}

/* ---- the host's side ---- */

static char where[160];

/* Where they first differ, or NULL. */
static const char *compare(const uint32_t *found, const uint32_t *expected, int n)
{
    for (int i = 0; i < n; i++)
        if (found[i] != expected[i]) {
            snprintf(where, sizeof where, "place %d: %08x, %08x expected", i, found[i],
                     expected[i]);
            return where;
        }
    return NULL;
}

/* The largest |found - expected| / scale among n, against what is allowed. */
static const char *compare_close(const float *x, const float *found, double (*expected)(double),
                                 int n, double allowed, bool is_relative)
{
    for (int i = 0; i < n; i++) {
        double want = expected((double)x[i]), scale = is_relative ? fabs(want) : 1.0;
        if (!(fabs((double)found[i] - want) <= allowed * scale)) {
            snprintf(where, sizeof where, "of %g: %.9g, %.9g expected", (double)x[i],
                     (double)found[i], want);
            return where;
        }
    }
    return NULL;
}

template <typename... Formal, typename... Actual>
static bool run_threads(unsigned threads, size_t shared, void (*kernel)(Formal...),
                        Actual... actual)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(1);
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    cudaError_t error = cudaSuccess;
    if (shared > 48 << 10)
        error =
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
    if (error == cudaSuccess)
        error = cudaLaunchKernelEx(&config, kernel, static_cast<Formal>(actual)...);
    if (error == cudaSuccess)
        error = cudaStreamSynchronize(NULL);
    if (error != cudaSuccess)
        snprintf(where, sizeof where, "%s", cudaGetErrorString(error));
    return error == cudaSuccess;
}

template <typename... Formal, typename... Actual>
static bool run(size_t shared, void (*kernel)(Formal...), Actual... actual)
{
    return run_threads(LANES, shared, kernel, actual...);
}

static void clear(board *b)
{
    memset(b, 0, sizeof *b);
    for (int i = 0; i < WORDS; i++)
        b->in[i] = (uint32_t)(2 * i) | (uint32_t)(2 * i + 1) << 16; /* element i of 16 bits is i */
}

static const char *matrices(board *b, bool transposed)
{
    uint32_t want[4 * LANES];
    if (!run(4 * LANES * sizeof(uint32_t), matrices_kernel, b, (int)transposed))
        return where;
    for (int lane = 0; lane < LANES; lane++)
        for (int j = 0; j < 4; j++) {
            uint32_t g = (uint32_t)lane / 4, t = (uint32_t)lane % 4, first = 64 * (uint32_t)j;
            uint32_t low = transposed ? first + 2 * t * 8 + g : first + g * 8 + 2 * t;
            uint32_t high = transposed ? low + 8 : low + 1;
            want[4 * lane + j] = low | high << 16;
        }
    return compare(b->out, want, 4 * LANES);
}

static const char *plain_matrices(board *b)
{
    return matrices(b, false);
}

static const char *transposed_matrices(board *b)
{
    return matrices(b, true);
}

static void fill_product(board *b)
{
    for (int i = 0; i < 256 + 128; i++)
        b->x[i] = (float)(i * 7 % 13 - 6);
    for (int i = 0; i < 128; i++)
        b->y[i] = (float)(i % 17 - 8);
}

/* Rows [first, end) of d. */
static const char *judge_product(const board *b, int first, int end)
{
    for (int row = first; row < end; row++)
        for (int col = 0; col < 8; col++) {
            float want = (float)((row * 8 + col) % 17 - 8);
            for (int k = 0; k < 16; k++)
                want += b->x[row * 16 + k] * b->x[256 + k * 8 + col];
            if (b->y[row * 8 + col] != want) {
                snprintf(where, sizeof where, "row %d, column %d: %g, %g expected", row, col,
                         (double)b->y[row * 8 + col], (double)want);
                return where;
            }
        }
    return NULL;
}

static const char *product(board *b)
{
    fill_product(b);
    return run(0, product_kernel, b) ? judge_product(b, 0, 16) : where;
}

static const char *rows_apart(board *b)
{
    const char *found;
    fill_product(b);
    b->x[3 * 16 + 5] = NAN;
    if (!run(0, product_kernel, b))
        return where;
    found = judge_product(b, 0, 3);
    if (found == NULL)
        found = judge_product(b, 4, 16);
    return found != NULL || b->y[3 * 8] != b->y[3 * 8] ? found : "a NaN was lost";
}

static const char *copies(board *b)
{
    uint32_t want[8 * LANES];
    if (!run(2 * LANES * sizeof(uint4), copies_kernel, b))
        return where;
    for (int i = 0; i < 8 * LANES; i++)
        want[i] = i % 4 * 4 < part_of(i / 4 % LANES) ? b->in[i] : 0;
    return compare(b->out, want, 8 * LANES);
}

static const char *lanes(board *b)
{
    uint32_t want[5 * LANES];
    if (!run(0, lanes_kernel, b))
        return where;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        want[0 * LANES + lane] = lane ^ 5;
        want[1 * LANES + lane] = lane < 3 ? lane : lane - 3;
        want[2 * LANES + lane] = lane + 3 < LANES ? lane + 3 : lane;
        want[3 * LANES + lane] = 7;
        want[4 * LANES + lane] = 0x92492492u; /* every third bit, from bit 1 */
    }
    return compare(b->out, want, 5 * LANES);
}

/* To nearest, ties to even, infinity and subnormals as they are; the first of a pair in the lower half. */
static const char *rounding(board *b)
{
    uint32_t want[WORDS / 2] = {};
    for (uint32_t i = 0; i < WORDS; i++) {
        uint32_t high = (i * 40503u) & 0xffffu, low = i % 4 * 0x4000u + i / 4 % 2;
        high = (high & 0x7f80u) == 0x7f80u ? high & 0xff80u : high; /* no NaN */
        uint32_t bits = high << 16 | ((high & 0x7f80u) == 0x7f80u ? 0 : low);
        memcpy(&b->x[i], &bits, sizeof bits);
        uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
        want[i / 2] |= rounded << (16 * (i % 2));
    }
    return run(0, rounding_kernel, b) ? compare(b->out, want, WORDS / 2) : where;
}

/* Attention relies on the ends: weight 1 at the maximum, 0 for what is not seen. Two units in the last place. */
static const char *powers(board *b)
{
    for (int i = 0; i < WORDS; i++)
        b->x[i] = -0.03f * (float)i;
    b->x[1] = -INFINITY;
    if (!run(0, powers_kernel, b))
        return where;
    if (b->y[0] != 1.0f || b->y[1] != 0.0f)
        return "exp2f(0) or exp2f(-infinity)";
    return compare_close(b->x, b->y, exp2, WORDS, 2.0 * 0x1p-23 + 0x1p-126, true);
}

static const char *sines(board *b)
{
    for (int i = 0; i < WORDS; i++)
        b->x[i] = (float)(i - WORDS / 2) * 1.7f;
    return run(0, sines_kernel, b) ? compare_close(b->x, b->y, sin, WORDS, 4.0 * 0x1p-24, false)
                                   : where;
}

static const char *first(board *b)
{
    int n_first = 0;
    if (!run(0, first_kernel, b))
        return where;
    for (int i = 0; i < LANES; i++)
        n_first += b->out[1 + i] == 0;
    return n_first == 1 && b->out[0] >= 1 && b->out[0] <= LANES ? NULL : "more or less than one";
}

static const char *much_shared(board *b)
{
    uint32_t want[LANES];
    if (!run(SHARED, shared_kernel, b))
        return where;
    for (uint32_t i = 0; i < LANES; i++)
        want[i] = SHARED / 4 - 1 - i;
    return compare(b->out, want, LANES);
}

static const char *clusters(board *b)
{
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess)
        return "no properties";
    if (properties.major != 9)
        return NULL;
    cudaError_t error = cluster_rows_launch(b->out, b->in, CLUSTER_RIGHT);
    if (error == cudaSuccess)
        error = cudaStreamSynchronize(NULL);
    if (error != cudaSuccess)
        return cudaGetErrorName(error);
    int n_wrong = cluster_rows_wrong(b->out, b->in);
    if (n_wrong == 0)
        return NULL;
    snprintf(where, sizeof where, "%d words in %d differ", n_wrong, (int)CLUSTER_WORDS);
    return where;
}

/* Order and rounding of a tensor core's sums are not documented: a row alone has the bits that it has in a batch if both
 * instructions do the same. */
static const char *both_products(board *b)
{
    static const int lengths[] = {1, 2, STEPS};
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess)
        return "no properties";
    if (properties.major != 9)
        return NULL;
    for (int steps : lengths) {
        if (!run_threads(GROUP, STEPS * 256, both_products_kernel, b, steps))
            return where;
        const uint32_t *wide = b->out, *narrow = b->out + 4 * GROUP;
        int n_differ = 0, at = 0;
        for (int i = 4 * GROUP - 1; i >= 0; i--)
            if (wide[i] != narrow[i]) {
                n_differ++;
                at = i;
            }
        if (n_differ != 0 || wide[0] == 0 || wide[0] == wide[1]) {
            snprintf(where, sizeof where, "of %d steps %d sums in %d differ, place %d: %08x, %08x",
                     steps, n_differ, 4 * GROUP, at, wide[at], narrow[at]);
            return where;
        }
    }
    return NULL;
}

static const struct {
    const char *what;
    const char *(*judge)(board *b);
} facts[] = {
    {"ldmatrix.x4: which lane gets which elements", plain_matrices},
    {"ldmatrix.x4.trans: the same of the transpose", transposed_matrices},
    {"mma.m16n8k16 bf16: registers, sums of integers exact", product},
    {"mma.m16n8k16 bf16: a NaN stays in its row", rows_apart},
    {"cp.async 16: bytes, zeros, groups in order", copies},
    {"shuffles and votes", lanes},
    {"f32 to bf16: nearest, ties to even; order in a pair", rounding},
    {"exp2f: ends exact, two units in the last place", powers},
    {"sine of large arguments", sines},
    {"atomicCAS: one thread is first", first},
    {"96 KB of shared memory on request", much_shared},
    {"wgmma.m64n8k16 bf16, a in registers: the bits of mma.m16n8k16", both_products},
    {"clusters: copies to all blocks, arrivals in others", clusters},
};

extern "C" int sa2_probe_run(void (*tell)(const char *fact, const char *found))
{
    board *b;
    int differ = 0;
    if (cudaMallocManaged((void **)&b, sizeof *b) != cudaSuccess)
        return -1;
    for (auto &fact : facts) {
        clear(b);
        const char *found = fact.judge(b);
        tell(fact.what, found);
        differ += found != NULL;
    }
    cudaFree(b);
    return differ;
}
