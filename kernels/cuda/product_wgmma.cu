/* product_wgmma.cu - the product of product.cuh with x and weights in bf16 and more than 16 rows, on the tensor cores of
 * compute capability 9.0a.
 *
 * A block takes tiles of 128 weights by N rows in turn. Where tiles would come from the second-level cache more slowly than
 * they are multiplied, neighbouring blocks are a cluster: they take the same rows at the same time, and each brings a part
 * of them for all. Two warps bring in the operands, up to 64 columns at a time, by
 * bulk copies into a ring of stages; two warpgroups of 64 weights each multiply. Weights pass through registers, as they
 * lie in memory; pack_kernel has laid rows of x before in the order of columns that weights have, so that a stage of
 * them is one stretch of memory too. The floor is 2 rows n k operations, for few rows the
 * bytes of w.
 */
#include "kernels/cuda/product_mma.cuh"
#include "kernels/cuda/ptx_hopper.cuh"

namespace sa2_cuda
{
static constexpr int GROUP = 128, CONSUMERS = 2, WGMMA_THREADS = GROUP * (CONSUMERS + 1);
static constexpr int WARPS =
    CONSUMERS * GROUP / WARP; /* that multiply, a tile of 16 weights each */
static constexpr int WEIGHTS = WARPS * TILE_ROWS, STAGE_CHUNKS = 2, PACK_THREADS = 256;
static constexpr int CHUNK_GROUPS = CHUNK / 8,
                     /* of 8 k: two for a step of wgmma */ PIECE_ROWS = 32, PUT = 8;
static constexpr int STAGED_COLS = TILE_ROWS + 4; /* no two lanes of a store meet in a bank */
static constexpr size_t BLOCK_SHARED = 227 << 10;

/* Both operands for up to 64 columns. */
template <int N> struct stage {
    uint4 w[WARPS][STAGE_CHUNKS][2][WARP];
    uint4 x[STAGE_CHUNKS][CHUNK_GROUPS][N];
};

typedef float staged_sums[PIECE_ROWS][STAGED_COLS];

template <int N> struct room {
    static constexpr int STAGES =
        (int)((BLOCK_SHARED - WARPS * sizeof(staged_sums) - 512) / sizeof(stage<N>));
    stage<N> ring[STAGES];
    staged_sums staged[WARPS];
    uint64_t full[STAGES], empty[STAGES];
};

/* Which rows of the product a launch computes, and how it is cut. */
struct part {
    int first, rows;
    bool is_split;         /* each slice for itself: partials for join_slices() */
    int cluster;           /* blocks, of neighbouring weights and the same rows */
    int row_tiles, groups; /* tiles of rows, and clusters of weights */
    int works;             /* for all blocks together */
};

static part part_of(const product &p, int first, int rows, int tile_rows, bool is_split,
                    int cluster)
{
    part made = {
        first, rows, is_split, cluster, parts_of(rows, tile_rows), parts_of(p.n, WEIGHTS * cluster),
        0};
    made.works = cluster * made.row_tiles * made.groups * (is_split ? SLICES : 1);
    return made;
}

/* What a block does next: a tile, and of its slices [slice, slice_end). */
struct work {
    int weights0, row_tile, slice, slice_end;
};

/* Blocks that run at one time have weights in common, which leave the memory once. The last of a cluster may have none that
 * are there: they bring their part of the rows, and put nothing. */
template <bool CLUSTERS> static __device__ __forceinline__ work work_of(const part &part, int i)
{
    int cluster = CLUSTERS ? part.cluster : 1, at = i / cluster;
    int slice = at / part.row_tiles / part.groups;
    int column = at / part.row_tiles % part.groups * cluster + i % cluster;
    return {column * WEIGHTS, at % part.row_tiles, slice, part.is_split ? slice + 1 : SLICES};
}

/* ---- rows of x in the order of weights ---- */

/* packed [row tiles, chunks, 4, tile_rows, 4 lanes, 2]: of each chunk the pairs of columns that registers of b want. */
template <bool ALIGNED>
static __global__ void __launch_bounds__(PACK_THREADS)
    pack_kernel(product p, part part, uint32_t *packed, int tile_rows)
{
    wait_for_earlier();
    int lane = (int)threadIdx.x % WARP, row = (int)blockIdx.x * 8 + lane / 4, t = lane % 4;
    int chunk = (int)blockIdx.y * (PACK_THREADS / WARP) + (int)threadIdx.x / WARP;
    int chunks = parts_of(p.k, CHUNK), group = tile_rows * 4;
    if (chunk >= chunks)
        return;
    columns<__nv_bfloat16> x = {};
    if (row < part.rows)
        load_columns<ALIGNED>(x, p, x_start(p, part.first + row), chunk * CHUNK + 8 * t);
    uint32_t *to = packed + ((long long)(row / tile_rows) * chunks + chunk) * CHUNK_GROUPS * group +
                   row % tile_rows * 4 + t;
    to[0 * group] = x.part[0].x;
    to[1 * group] = x.part[0].y;
    to[2 * group] = x.part[0].z;
    to[3 * group] = x.part[0].w;
}

/* ---- the ring ---- */

struct position {
    int stage;
    uint32_t parity;
};

template <int N> static __device__ __forceinline__ void advance(position &at)
{
    if (++at.stage == room<N>::STAGES) {
        at.stage = 0;
        at.parity ^= 1;
    }
}

/* Until all who read that stage before, in all blocks that it is brought to, have done so. */
template <bool CLUSTERS>
static __device__ __forceinline__ void wait_for_room(uint64_t *empty, uint32_t parity)
{
    if constexpr (CLUSTERS)
        mbarrier_wait_in_cluster(empty, parity);
    else
        mbarrier_wait(empty, parity);
}

/* Rows for this block, or this block's part of them for all. */
template <bool CLUSTERS>
static __device__ __forceinline__ void copy_rows(uint4 *to, const uint4 *from, int n,
                                                 uint64_t *barrier, int cluster)
{
    if constexpr (CLUSTERS) {
        int each = n / cluster, first = cluster_rank() * each;
        copy_bulk_to_all(to + first, from + first, each * 16, barrier, cluster);
    } else {
        copy_bulk(to, from, n * 16, barrier);
    }
}

/* One warp brings the weights, a lane for each tile, and when `packed` another the rows, by one lane. */
template <int N, bool CLUSTERS>
static __device__ __forceinline__ void produce(room<N> *r, const product &p, const part &part,
                                               const uint4 *packed)
{
    int lane = (int)threadIdx.x % WARP, chunks = parts_of(p.k, CHUNK);
    int each = parts_of(chunks, SLICES), copies = packed == nullptr ? WARPS : 1;
    int pieces = packed == nullptr ? 2 * WARP : CHUNK_GROUPS * N; /* of 16 bytes, a chunk */
    uint4 *to = packed == nullptr ? r->ring[0].w[lane % WARPS][0][0] : r->ring[0].x[0][0];
    position at = {0, 1};
    for (int i = (int)blockIdx.x; i < part.works; i += (int)gridDim.x) {
        work job = work_of<CLUSTERS>(part, i);
        int tile = min(job.weights0 / TILE_ROWS + lane, parts_of(p.n, TILE_ROWS) - 1);
        int end = min(job.slice_end * each, chunks);
        const uint4 *from = packed == nullptr
                                ? (const uint4 *)p.w + (long long)tile * chunks * pieces
                                : packed + (long long)job.row_tile * chunks * pieces;
        int border = job.slice * each + each;
        for (int chunk = job.slice * each; chunk < end;) {
            int n = min(STAGE_CHUNKS, min(border, end) - chunk);
            uint64_t *full = &r->full[at.stage];
            uint4 *room = to + at.stage * (int)(sizeof(stage<N>) / 16);
            wait_for_room<CLUSTERS>(&r->empty[at.stage], at.parity);
            if (lane == 0)
                mbarrier_arrive_expect(full, n * copies * pieces * 16);
            __syncwarp();
            if (lane < copies && packed == nullptr)
                copy_bulk(room, from + (long long)chunk * pieces, n * pieces * 16, full);
            else if (lane < copies)
                copy_rows<CLUSTERS>(room, from + (long long)chunk * pieces, n * pieces, full,
                                    part.cluster);
            advance<N>(at);
            chunk += n;
            if (chunk == border)
                border += each;
        }
    }
}

/* ---- sums ---- */

/* Both steps of a chunk onto sum, or the first of all when not `add`. */
template <int N>
static __device__ __forceinline__ void multiply(float (&sum)[N / 2], const uint4 (&w)[2],
                                                const uint4 (&x)[CHUNK_GROUPS][N], bool add)
{
    constexpr int NEXT_K = N * 16, NEXT_N = 8 * 16;
    const uint32_t a[2][4] = {{w[0].x, w[0].y, w[0].z, w[0].w}, {w[1].x, w[1].y, w[1].z, w[1].w}};
    wgmma_hold(sum);
    wgmma_fence();
    wgmma_bf16(sum, a[0], wgmma_matrix(x[0], NEXT_K, NEXT_N), add);
    wgmma_bf16(sum, a[1], wgmma_matrix(x[CHUNK_GROUPS / 2], NEXT_K, NEXT_N), true);
    wgmma_commit();
}

/* This warp reads that stage no more. */
template <int N, bool CLUSTERS>
static __device__ __forceinline__ void give_back(room<N> *r, int stage, int cluster)
{
    int lane = (int)threadIdx.x % WARP;
    __syncwarp();
    if constexpr (CLUSTERS) {
        if (lane < cluster)
            mbarrier_arrive_at(&r->empty[stage], lane);
    } else if (lane == 0) {
        mbarrier_arrive(&r->empty[stage]);
    }
}

/* The weights of this lane in a chunk of a stage, for both steps. */
template <int N>
static __device__ __forceinline__ void load_weights(uint4 (&w)[2], const stage<N> &from, int chunk)
{
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    w[0] = from.w[warp][chunk][0][lane];
    w[1] = from.w[warp][chunk][1][lane];
}

/* sum = the products of a slice of `chunks` > 0 chunks. While a chunk is multiplied, the weights of the next come; a
 * stage is given back when the first product after it has been asked for and its own are done. */
template <int N, bool CLUSTERS>
static __device__ __forceinline__ void sum_slice(float (&sum)[N / 2], room<N> *r, position &at,
                                                 int chunks, int cluster)
{
    uint4 first[2], second[2];
    int before = -1;
#pragma unroll 1 /* registers are scarce */
    for (; chunks >= STAGE_CHUNKS; chunks -= STAGE_CHUNKS) {
        const stage<N> &from = r->ring[at.stage];
        mbarrier_wait(&r->full[at.stage], at.parity);
        load_weights(first, from, 0);
        multiply<N>(sum, first, from.x[0], before >= 0);
        wgmma_wait<1>();
        if (before >= 0)
            give_back<N, CLUSTERS>(r, before, cluster);
        load_weights(second, from, 1);
        multiply<N>(sum, second, from.x[1], true);
        wgmma_wait<1>();
        before = at.stage;
        advance<N>(at);
    }
    if (chunks > 0) {
        mbarrier_wait(&r->full[at.stage], at.parity);
        load_weights(first, r->ring[at.stage], 0);
        multiply<N>(sum, first, r->ring[at.stage].x[0], before >= 0);
    }
    wgmma_wait<0>();
    wgmma_hold(sum);
    if (before >= 0)
        give_back<N, CLUSTERS>(r, before, cluster);
    if (chunks > 0) {
        give_back<N, CLUSTERS>(r, at.stage, cluster);
        advance<N>(at);
    }
}

/* ---- results ---- */

/* Sums of 32 rows by 16 weights of one warp: into y, or for join_slices(). */
[[maybe_unused]] static __device__ __forceinline__ void
put_piece(const product &p, const staged_sums &staged, int row0, int end, int tile, float *partials)
{
    bool swiglu = partials == nullptr && p.epilogue.swiglu;
    int puts = swiglu ? 1 : TILE_ROWS / PUT; /* of a row */
#pragma unroll 1
    for (int i = (int)threadIdx.x % WARP; i < puts * PIECE_ROWS; i += WARP) {
        int at = swiglu ? i : i / 2, row = row0 + at, place = swiglu ? 0 : i % 2 * PUT;
        int col = tile * puts * PUT + place;
        const float *sums = &staged[at][place];
        if (row >= end)
            return;
        if (partials == nullptr) {
            put_eight(p, row, col, sums, swiglu ? sums + PUT : sums);
        } else if (col < width_of(p)) {
            float4 *to = (float4 *)(partials + row * width_of(p) + col);
            to[0] = *(const float4 *)sums;
            to[1] = *(const float4 *)(sums + 4);
        }
    }
}

/* Through shared memory, 32 rows at a time, so that neighbours in y are written together. */
template <int N>
static __device__ __forceinline__ void put_tile(const product &p, float (&total)[N / 2],
                                                staged_sums &staged, int row0, int end, int tile,
                                                float *partials)
{
    constexpr int PIECE = PIECE_ROWS / 2;
    int lane = (int)threadIdx.x % WARP, g = lane / 4, t = lane % 4;
#pragma unroll 1
    for (int piece = 0; piece < N / PIECE_ROWS; piece++) {
#pragma unroll
        for (int i = 0; i < PIECE; i++)
            staged[i / 4 * 8 + 2 * t + (i & 1)][g + 8 * (i >> 1 & 1)] = total[i];
#pragma unroll
        for (int i = 0; i < N / 2 - PIECE; i++) /* registers have no index: they move up */
            total[i] = total[i + PIECE];
        __syncwarp();
        put_piece(p, staged, row0 + piece * PIECE_ROWS, end, tile, partials);
        __syncwarp();
    }
}

/* The sums of a piece of work: slices added in order. */
template <int N, bool CLUSTERS>
static __device__ __forceinline__ void sum_work(float (&total)[N / 2], room<N> *r, position &at,
                                                const product &p, const work &job, int cluster)
{
    int chunks = parts_of(p.k, CHUNK), each = parts_of(chunks, SLICES);
    int left = min(job.slice_end * each, chunks) - job.slice * each;
    float sum[N / 2] = {}; /* or it would be kept while results are put */
#pragma unroll 1
    for (; left > 0; left -= each) {
        sum_slice<N, CLUSTERS>(sum, r, at, min(each, left), cluster);
#pragma unroll
        for (int n = 0; n < N / 2; n++)
            total[n] += sum[n];
    }
}

template <int N, bool CLUSTERS>
static __device__ __forceinline__ void consume(room<N> *r, const product &p, const part &part,
                                               float *partials)
{
    int warp = (int)threadIdx.x / WARP;
    position at = {0, 0};
    for (int i = (int)blockIdx.x; i < part.works; i += (int)gridDim.x) {
        float total[N / 2] = {};
        sum_work<N, CLUSTERS>(total, r, at, p, work_of<CLUSTERS>(part, i), part.cluster);
        work job = work_of<CLUSTERS>(part, i);
        float *to =
            part.is_split ? partials + job.slice * (long long)p.rows * width_of(p) : nullptr;
        put_tile<N>(p, total, r->staged[warp], part.first + job.row_tile * N,
                    part.first + part.rows, job.weights0 / TILE_ROWS + warp, to);
    }
}

/* grid: as many blocks as run at one time, or fewer. The first weights come while earlier kernels end. */
template <int N, bool CLUSTERS>
static __global__ void __launch_bounds__(WGMMA_THREADS, 1)
    wgmma_kernel(product p, part part, const uint4 *packed, float *partials)
{
    if constexpr (HAS_WGMMA) { /* else can_wgmma() says so */
        constexpr int FIRST_PRODUCER = CONSUMERS * GROUP / WARP;
        room<N> *r = (room<N> *)shared_bytes();
        int warp = (int)threadIdx.x / WARP;
        if (threadIdx.x == 0)
            for (int i = 0; i < room<N>::STAGES; i++) {
                mbarrier_init(&r->full[i], 2);
                mbarrier_init(&r->empty[i], WARPS * part.cluster);
            }
        if constexpr (CLUSTERS)
            cluster_sync();
        else
            __syncthreads();
        if (warp >= FIRST_PRODUCER) {
            keep_registers<40>();
            if (warp != FIRST_PRODUCER)
                wait_for_earlier();
            if (warp < FIRST_PRODUCER + 2)
                produce<N, CLUSTERS>(r, p, part, warp == FIRST_PRODUCER ? nullptr : packed);
            wait_for_earlier();
        } else {
            take_registers<232>();
            wait_for_earlier();
            consume<N, CLUSTERS>(r, p, part, partials);
        }
        if constexpr (CLUSTERS)
            cluster_sync(); /* nobody arrives in a block that has ended */
    }
}

/* Whether the code that this device runs has the instructions. */
static __global__ void tell_kernel(int *answer)
{
    wait_for_earlier();
    *answer = has_wgmma();
}

/* ---- launcher ---- */

/* A launch: rows of a tile, whether slices are blocks of their own, and how many blocks are a cluster. */
struct plan {
    int tile_rows;
    bool is_split;
    int cluster;
    double cycles; /* about */
};

/* A step of 16 columns takes a tile's rows in cycles, if its bytes come as fast; weights come from memory once. What the
 * cache and the memory bring a cycle is about that of an H100, where products of 512 rows without clusters took 27 to 34
 * bytes a processor; what a tile, the meeting of a cluster and a joining cost was guessed. */
static plan plan_of(const product &p, const queue *q, int tile_rows, bool is_split, int cluster)
{
    constexpr double TILE = 6000.0, MEETING = 1000.0, JOINING = 6000.0, JOINED_BYTES = 1500.0;
    constexpr double BLOCK_BYTES = 60.0, CACHE_BYTES = 28.0; /* a cycle: at most, when all ask */
    constexpr double MEMORY_BYTES = 1700.0;
    int works = part_of(p, 0, p.rows, tile_rows, is_split, cluster).works;
    int blocks = cluster * q->clusters[cluster], active = works < blocks ? works : blocks;
    double rate = CACHE_BYTES * q->processors / active;
    rate = rate > BLOCK_BYTES ? BLOCK_BYTES : rate;
    double steps = 2.0 * parts_of(p.k, CHUNK) / (is_split ? SLICES : 1);
    double copying = 32.0 * (WEIGHTS + (double)tile_rows / cluster) / rate;
    double computing = copying > tile_rows ? copying : tile_rows;
    double cycles = parts_of(works, blocks) * (steps * computing + TILE);
    double reading = 2.0 * p.n * p.k / MEMORY_BYTES;
    cycles = cycles > reading ? cycles : reading;
    if (cluster > 1)
        cycles += MEETING;
    if (is_split)
        cycles += JOINING + 2.0 * SLICES * sizeof(float) * p.rows * p.n / JOINED_BYTES;
    return {tile_rows, is_split, cluster, cycles};
}

static size_t packed_bytes(const product &p, int rows, int tile_rows)
{
    return (size_t)parts_of(rows, tile_rows) * tile_rows * parts_of(p.k, CHUNK) * CHUNK * 2;
}

static bool has_room(const product &p, const plan &plan)
{
    size_t partials = plan.is_split ? joined_bytes(p) : 0;
    return packed_bytes(p, plan.is_split ? p.rows : 1, plan.tile_rows) + partials <= PARTIAL_BYTES;
}

/* As somebody wants it. */
static bool is_wanted(const plan &plan, const sa2_large_products *l)
{
    return (l->tile_rows == 0 || l->tile_rows == plan.tile_rows) &&
           (l->cluster == 0 || l->cluster == plan.cluster) &&
           (l->split == SA2_SPLIT_AUTO || (l->split == SA2_SPLIT_YES) == plan.is_split);
}

/* What is wanted and possible, then what takes least time. */
static plan best_plan(const product &p, const queue *q)
{
    plan best = {};
    bool found = false;
    for (const int *cluster = sa2_product_clusters; *cluster != 0; cluster++)
        for (const int *tile = sa2_product_tiles; *tile != 0; tile++)
            for (int is_split = 0; is_split < 2; is_split++) {
                if (q->clusters[*cluster] == 0)
                    continue;
                plan plan = plan_of(p, q, *tile, is_split != 0, *cluster);
                bool wanted = is_wanted(plan, q->large);
                if (has_room(p, plan) && wanted >= found &&
                    (wanted > found || best.tile_rows == 0 || plan.cycles < best.cycles)) {
                    best = plan;
                    found = wanted;
                }
            }
    return best;
}

template <int N>
static sa2_status multiply_part(sa2_stream *s, const char *op, const product &p, const part &part,
                                sa2_error *err)
{
    queue *q = queue_of(s);
    dim3 pieces(blocks_for(part.rows, N) * (N / 8),
                blocks_for(parts_of(p.k, CHUNK), PACK_THREADS / WARP));
    sa2_status st = launch(s, op, p.is_aligned ? pack_kernel<true> : pack_kernel<false>, pieces,
                           PACK_THREADS, 0, err, p, part, (uint32_t *)q->partials, N);
    if (st != SA2_OK)
        return st;
    float *partials = q->partials + packed_bytes(p, part.rows, N) / sizeof(float);
    int most = part.cluster * q->clusters[part.cluster];
    const geometry g = {.grid = dim3((unsigned)(part.works < most ? part.works : most)),
                        .threads = WGMMA_THREADS,
                        .shared = sizeof(room<N>),
                        .cluster = (unsigned)part.cluster};
    st = launch_as(s, op, part.cluster > 1 ? wgmma_kernel<N, true> : wgmma_kernel<N, false>, g, err,
                   p, part, (const uint4 *)q->partials, partials);
    return st == SA2_OK && part.is_split ? join_slices(s, op, p, partials, err) : st;
}

/* As many rows at a time as there is room for. */
template <int N>
static sa2_status multiply_rows(sa2_stream *s, const char *op, const product &p, const plan &plan,
                                sa2_error *err)
{
    int tiles = parts_of(p.rows, N), most = (int)(PARTIAL_BYTES / packed_bytes(p, 1, N));
    int each = plan.is_split ? tiles : parts_of(tiles, parts_of(tiles, most));
    sa2_status st = SA2_OK;
    for (int first = 0; first < p.rows && st == SA2_OK; first += each * N) {
        int rows = p.rows - first < each * N ? p.rows - first : each * N;
        st = multiply_part<N>(s, op, p, part_of(p, first, rows, N, plan.is_split, plan.cluster),
                              err);
    }
    return st;
}

bool can_wgmma(sa2_stream *s, const product &p)
{
    return p.rows > THIN_ROWS && p.x_is_bf16 && queue_of(s)->has_wgmma &&
           packed_bytes(p, 1, 192) <= PARTIAL_BYTES;
}

sa2_status run_product_wgmma(sa2_stream *s, const char *op, const product &p, sa2_error *err)
{
    plan plan = best_plan(p, queue_of(s));
    if (plan.tile_rows == 32)
        return multiply_rows<32>(s, op, p, plan, err);
    if (plan.tile_rows == 64)
        return multiply_rows<64>(s, op, p, plan, err);
    if (plan.tile_rows == 128)
        return multiply_rows<128>(s, op, p, plan, err);
    return multiply_rows<192>(s, op, p, plan, err);
}

/* How many clusters of each size run at one time: the kernels of all tiles take a processor each. A device that cannot tell is
 * used without. */
static void count_clusters(queue *q)
{
    cudaError_t error = allow_shared(wgmma_kernel<192, true>, sizeof(room<192>));
    for (const int *size = sa2_product_clusters; *size != 0; size++) {
        int cluster = *size;
        const geometry g = {.grid = dim3((unsigned)cluster),
                            .threads = WGMMA_THREADS,
                            .shared = sizeof(room<192>),
                            .cluster = (unsigned)cluster};
        launch_form form(q->stream, g, false);
        int n = q->processors;
        if (error == cudaSuccess && cluster > 1)
            error = cudaOccupancyMaxActiveClusters(&n, wgmma_kernel<192, true>, &form.config);
        q->clusters[cluster] = error == cudaSuccess || cluster == 1 ? n : 0;
    }
    if (error != cudaSuccess)
        cudaGetLastError(); /* known */
}

sa2_status find_wgmma(sa2_stream *s, sa2_error *err)
{
    queue *q = queue_of(s);
    int *answer = (int *)q->pinned;
    sa2_status st = launch(s, "queue", tell_kernel, dim3(1), 1, 0, err, answer);
    if (st != SA2_OK)
        return st;
    cudaError_t error = cudaStreamSynchronize(q->stream);
    q->has_wgmma = error == cudaSuccess && *answer != 0;
    if (q->has_wgmma)
        count_clusters(q);
    return error == cudaSuccess ? SA2_OK : failed("queue", error, err);
}
} // namespace sa2_cuda
