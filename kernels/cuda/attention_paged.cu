/* attention_paged.cu - contracts: sa2_kv_store(), sa2_kv_copy() and sa2_attention_paged() in kernels/ops.h; the
 * kernels of attention are in attention_mma.cu and attention_core.cu.
 *
 * A page is [kv_heads, 2, page_size, head_dim]: of each head first the keys, then the values, a row a position, as
 * wide copies and matrix loads want them. Storing and copying move their bytes once.
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

static sa2_status no_rounded(const char *op, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_UNSUPPORTED, "%s: a cache in 8 bits is the processor's alone", op);
}

/* ---- writing pages ---- */

struct store_args {
    vectors_view k, v; /* one vector for each row and head */
    void *pages;
    paged_lists lists;
    int n, max_pages, page_size, kv_heads;
    unsigned packs;
    long long vectors;
};

static __global__ void __launch_bounds__(THREADS) store_kernel(store_args a)
{
    wait_for_earlier();
    unsigned pack = blockIdx.x * THREADS + threadIdx.x;
    long long vector = pack / a.packs;
    int at = (int)(pack % a.packs) * PACK;
    if (vector >= a.vectors)
        return;
    int row = (int)(vector / a.kv_heads), head = (int)(vector % a.kv_heads), d = a.k.n;
    int i = sequence_of(a.lists.offsets, a.n, row);
    int position = a.lists.first[i] + row - a.lists.offsets[i];
    long long page = a.lists.table[(long long)i * a.max_pages + position / a.page_size];
    long long half = (long long)a.page_size * d;
    long long to = (page * a.kv_heads + head) * 2 * half + (long long)(position % a.page_size) * d;
    vectors_view out = {a.pages, d, d, 1, a.k.is_bf16, d % PACK == 0};
    float x[PACK];
    load_pack(x, a.k, start_of(a.k, vector), at);
    store_pack(out, to, at, x);
    load_pack(x, a.v, start_of(a.v, vector), at);
    store_pack(out, to + half, at, x);
}

sa2_status kv_store(sa2_stream *s, const sa2_kv_cache_view *cache, sa2_tensor k, sa2_tensor v,
                    const sa2_paged_rows *where, sa2_error *err)
{
    store_args a = {.k = vectors_of(k),
                    .v = vectors_of(v),
                    .pages = cache->pages,
                    .lists = {},
                    .n = where->rows.n,
                    .max_pages = where->max_pages,
                    .page_size = cache->page_size,
                    .kv_heads = cache->kv_heads,
                    .packs = blocks_for(cache->head_dim, PACK),
                    .vectors = vector_count(k)};
    if (cache->dtype == SA2_I8)
        return no_rounded("kv_store", err);
    if (a.vectors == 0)
        return SA2_OK;
    if (!to_device(s, "kv_store", where, &a.lists, err))
        return failure_of(err);
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
    if (cache->dtype == SA2_I8)
        return no_rounded("attention_paged", err);
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
    a.is_bf16 = a.y_is_bf16 = cache->dtype == SA2_BF16;
    a.d = cache->head_dim;
    a.kv_heads = cache->kv_heads;
    a.group = (int)q.shape[1] / cache->kv_heads;
    a.scale = scale * LOG2_E;
    a.pages = cache->pages;
    a.is_aligned = a.d % PACK == 0 && (uintptr_t)cache->pages % 16 == 0;
    a.table = lists.table;
    a.page_size = cache->page_size;
    a.max_pages = where->max_pages;
    return run_attention(s, "attention_paged", &a, sequences, n, longest, err);
}
} // namespace sa2_cuda
