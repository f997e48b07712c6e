/* attention_paged.cu - contracts: sa2_kv_store(), sa2_kv_copy() and sa2_attention_paged() in kernels/ops.h; the
 * kernels of attention are in attention_mma.cu and attention_core.cu.
 *
 * A page is [kv_heads, 2, page_size, head_dim]: of each head first the keys, then the values, a row a position, as
 * wide copies and matrix loads want them. In 8 bits the steps of the head follow, [2, page_size] in f32. Storing and
 * copying move their bytes once.
 */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/padded.cuh"

namespace sa2_cuda
{
static constexpr int THREADS = 256;

/* Block tables and first positions on the device; false, with the reason in err, when there is no room. */
struct paged_lists {
    const int32_t *offsets, *first, *table;
};

static bool to_device(sa2_stream *s, const char *op, const sa2_paged_rows *where,
                      paged_lists *lists, sa2_error *err)
{
    size_t n = (size_t)where->rows.n;
    lists->offsets = offsets_to_device(s, op, where->rows, err);
    lists->first =
        (const int32_t *)list_to_device(s, op, where->first_position, n * sizeof(int32_t), err);
    lists->table = (const int32_t *)list_to_device(
        s, op, where->block_table, n * (size_t)where->max_pages * sizeof(int32_t), err);
    return lists->offsets != nullptr && lists->first != nullptr && lists->table != nullptr;
}

/* Elements from a head in a page to the next; in 8 bits, bytes. */
static long long head_size(const sa2_kv_cache_view *cache)
{
    size_t row = sa2_kv_row_bytes(cache->dtype, cache->head_dim) / sa2_dtype_bytes(cache->dtype);
    return 2 * (long long)cache->page_size * (long long)row;
}

/* ---- writing pages ---- */

struct store_args {
    vectors_view k, v; /* one vector for each row and head */
    void *pages;
    long long head_size;
    paged_lists lists;
    int n, max_pages, page_size, kv_heads;
    unsigned packs;
    long long vectors;
};

/* Where the head of a vector begins among the pages, and which of its rows the vector is. */
struct store_place {
    long long head;
    int slot;
};

static __device__ __forceinline__ store_place place_of_vector(const store_args &a, long long vector)
{
    int row = (int)(vector / a.kv_heads), head = (int)(vector % a.kv_heads);
    int i = sequence_of(a.lists.offsets, a.n, row);
    int position = a.lists.first[i] + row - a.lists.offsets[i];
    long long page = a.lists.table[(long long)i * a.max_pages + position / a.page_size];
    return {(page * a.kv_heads + head) * a.head_size, position % a.page_size};
}

static __global__ void __launch_bounds__(THREADS) store_kernel(store_args a)
{
    wait_for_earlier();
    unsigned pack = blockIdx.x * THREADS + threadIdx.x;
    long long vector = pack / a.packs;
    int at = (int)(pack % a.packs) * PACK, d = a.k.n;
    if (vector >= a.vectors)
        return;
    store_place place = place_of_vector(a, vector);
    long long to = place.head + (long long)place.slot * d;
    vectors_view out = {a.pages, d, d, 1, a.k.is_bf16, d % PACK == 0};
    float x[PACK];
    load_pack(x, a.k, start_of(a.k, vector), at);
    store_pack(out, to, at, x);
    load_pack(x, a.v, start_of(a.v, vector), at);
    store_pack(out, to + (long long)a.page_size * d, at, x);
}

/* A warp rounds a vector of k, and the next one that of v. The operations and their order are those of
 * kernels/cpu/kv_store.c. */
static __global__ void __launch_bounds__(THREADS) round_kernel(store_args a)
{
    wait_for_earlier();
    unsigned number = blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    long long vector = number / 2;
    int values = (int)(number % 2), lane = (int)threadIdx.x % WARP, d = a.k.n;
    if (vector >= a.vectors)
        return;
    const vectors_view &x = values ? a.v : a.k;
    long long from = start_of(x, vector), half = (long long)a.page_size * d;
    store_place place = place_of_vector(a, vector);
    int8_t *head = (int8_t *)a.pages + place.head;
    int8_t *to = head + values * half + (long long)place.slot * d;
    float largest = 0.0f;
#pragma unroll 4
    for (int e = lane; e < d; e += WARP) {
        float magnitude = fabsf(load_value(x.data, x.is_bf16, from + e));
        largest = fmaxf(largest, magnitude < INFINITY ? magnitude : INFINITY); /* NaN too */
    }
#pragma unroll
    for (int n = WARP / 2; n > 0; n /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, n));
    bool some = largest >= 0x1p-100f && largest < INFINITY;
    float in_steps = some ? 127.0f / largest : 0.0f;
#pragma unroll 1
    for (int e = lane; e < d; e += WARP)
        to[e] =
            some ? (int8_t)rintf(__fmul_rn(load_value(x.data, x.is_bf16, from + e), in_steps)) : 0;
    if (lane == 0) {
        float *step = (float *)(head + 2 * half) + values * a.page_size + place.slot;
        *step = some ? largest / 127.0f : largest < INFINITY ? 0.0f : NAN;
    }
}

sa2_status kv_store(sa2_stream *s, const sa2_kv_cache_view *cache, sa2_tensor k, sa2_tensor v,
                    const sa2_paged_rows *where, sa2_error *err)
{
    store_args a = {.k = vectors_of(k),
                    .v = vectors_of(v),
                    .pages = cache->pages,
                    .head_size = head_size(cache),
                    .lists = {},
                    .n = where->rows.n,
                    .max_pages = where->max_pages,
                    .page_size = cache->page_size,
                    .kv_heads = cache->kv_heads,
                    .packs = blocks_for(cache->head_dim, PACK),
                    .vectors = vector_count(k)};
    if (a.vectors == 0)
        return SA2_OK;
    if (!to_device(s, "kv_store", where, &a.lists, err))
        return failure_of(err);
    if (cache->dtype == SA2_I8)
        return launch(s, "kv_store", round_kernel, dim3(blocks_for(2 * a.vectors, THREADS / WARP)),
                      THREADS, 0, err, a);
    return launch(s, "kv_store", store_kernel, dim3(blocks_for(a.vectors * a.packs, THREADS)),
                  THREADS, 0, err, a);
}

sa2_status kv_copy(sa2_stream *s, const sa2_kv_cache_view *cache, const sa2_page_copy *copies,
                   int n, sa2_error *err)
{
    size_t bytes = sa2_kv_page_bytes(cache);
    char *pages = (char *)cache->pages;
    sa2_status st = let_go(s, err);
    if (st != SA2_OK)
        return st;
    for (int i = 0; i < n; i++) {
        if (copies[i].from == copies[i].to)
            continue;
        cudaError_t error = cudaMemcpyAsync(pages + (size_t)copies[i].to * bytes,
                                            pages + (size_t)copies[i].from * bytes, bytes,
                                            cudaMemcpyDeviceToDevice, queue_of(s)->stream);
        if (error != cudaSuccess)
            return failed("kv_copy", error, err);
    }
    return SA2_OK;
}

/* ---- attention ---- */

sa2_status attention_paged(sa2_stream *s, sa2_tensor y, sa2_tensor q,
                           const sa2_kv_cache_view *cache, const sa2_paged_rows *where, float scale,
                           sa2_error *err)
{
    int n = where->rows.n, longest = 0;
    attention_sequence *sequences =
        (attention_sequence *)host_room(s, "attention_paged", (size_t)n * sizeof *sequences, err);
    if (sequences == nullptr)
        return failure_of(err);
    for (int i = 0; i < n; i++) {
        int first = where->rows.offsets[i], rows = where->rows.offsets[i + 1] - first;
        sequences[i] = {first, rows, where->first_position[i], -1, 0, 0};
        int end = rows > 0 ? where->first_position[i] + rows : 0;
        longest = end > longest ? end : longest;
    }
    paged_lists lists;
    if (!to_device(s, "attention_paged", where, &lists, err))
        return failure_of(err);
    attention_call a = {};
    a.q = q.data;
    a.y = y.data;
    a.q_stride = q.stride;
    a.y_stride = y.stride;
    a.is_bf16 = a.y_is_bf16 = q.dtype == SA2_BF16;
    a.d = cache->head_dim;
    a.kv_heads = cache->kv_heads;
    a.group = (int)q.shape[1] / cache->kv_heads;
    a.scale = scale * LOG2_E;
    a.pages = cache->pages;
    a.in_8_bits = cache->dtype == SA2_I8;
    a.head_size = head_size(cache);
    a.is_aligned = a.d % (a.in_8_bits ? 16 : PACK) == 0 && (uintptr_t)cache->pages % 16 == 0;
    a.table = lists.table;
    a.page_size = cache->page_size;
    a.max_pages = where->max_pages;
    return run_attention(s, "attention_paged", &a, sequences, n, longest, err);
}
} // namespace sa2_cuda
