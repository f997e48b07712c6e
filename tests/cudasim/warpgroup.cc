/* warpgroup.cc - wgmma: PTX ISA 9.7.15.
 *
 * Each warp of a group computes its 16 rows for itself; at the end of the block all four must have done as many
 * products. A product spoils its sums when it is asked for, reads shared memory and gives its sums when it is waited for.
 */
#include "sim.h"

#include <kernels/cuda/ptx_hopper.cuh>

namespace cudasim
{
enum { GROUP_WARPS = 4, ROWS = 16, STEP = 16, MAX_N = 256 };

/* Where the lanes of a warp hold [16, n] sums, and what these are while products are under way. */
struct sums {
    float *lane[WARP];
    int n, users;
    float values[ROWS][MAX_N];
};

struct product {
    uint32_t a[WARP][4];
    uint64_t b;
    bool add;
    sums *d;
    const char *pc;
};

struct group_warp {
    std::vector<product> products;
    std::vector<size_t> groups; /* products up to each commit */
    std::vector<sums *> in_flight;
    int n_products;
    bool is_fenced;
};
static group_warp warps[MAX_WARPS];

struct call {
    float *d;
    const uint32_t *a;
    uint64_t b;
    int n;
    bool add;
    const char *pc;
};

static float bf16_of(uint32_t pair, int which)
{
    return __uint_as_float(which == 0 ? pair << 16 : pair & 0xffff0000u);
}

static float *place_of(const sums *s, int row, int col)
{
    int lane = row % 8 * 4 + col % 8 / 2;
    return &s->lane[lane][col / 8 * 4 + row / 8 * 2 + col % 2];
}

/* The sums that lane 0 holds at d, taken from the lanes when no product has them. */
static sums *take_sums(meeting &m, group_warp &w, const call &first)
{
    for (sums *s : w.in_flight)
        if (s->lane[0] == first.d)
            return s;
    sums *s = new sums{};
    s->n = first.n;
    for (int lane = 0; lane < WARP; lane++)
        s->lane[lane] = ((call *)m.payload[lane])->d;
    for (int row = 0; row < ROWS; row++)
        for (int col = 0; col < s->n; col++) {
            float *place = place_of(s, row, col);
            s->values[row][col] = *place;
            *place = NAN;
        }
    w.in_flight.push_back(s);
    return s;
}

static void ask(meeting &m)
{
    group_warp &w = warps[m.warp];
    const call &first = *(call *)m.payload[0];
    if (m.lanes != ~0u || running.n_warps < m.warp / GROUP_WARPS * GROUP_WARPS + GROUP_WARPS)
        stop("warp", "wgmma by less than a warpgroup");
    if (!w.is_fenced)
        stop("warp", "wgmma at %s:%d without wgmma_fence before it", m.member[0]->where.file,
             m.member[0]->where.line);
    product p = {};
    for (int lane = 0; lane < WARP; lane++) {
        const call *c = (call *)m.payload[lane];
        if (c->b != first.b || c->add != first.add)
            stop("warp", "wgmma at %s:%d: lanes %d and 0 have other operands",
                 m.member[0]->where.file, m.member[0]->where.line, lane);
        memcpy(p.a[lane], c->a, sizeof p.a[lane]);
    }
    p.b = first.b;
    p.add = first.add;
    p.pc = first.pc;
    p.d = take_sums(m, w, first);
    p.d->users++;
    w.products.push_back(p);
    w.n_products++;
}

/* b [16, n] out of core matrices of 8 columns by 8 k. */
static void read_b(const product &p, float (*b)[MAX_N])
{
    const unsigned char *base = here.shared + (p.b & 0x3fff) * 16;
    size_t next_k = (p.b >> 16 & 0x3fff) * 16, next_n = (p.b >> 32 & 0x3fff) * 16;
    for (int col = 0; col < p.d->n; col++)
        for (int half = 0; half < 2; half++) {
            const unsigned char *row =
                base + (size_t)half * next_k + (size_t)(col / 8) * next_n + col % 8 * 16;
            check_access(row, 16, access::READ, p.pc);
            uint32_t pair[4];
            memcpy(pair, row, sizeof pair);
            for (int k = 0; k < 8; k++)
                b[8 * half + k][col] = bf16_of(pair[k / 2], k % 2);
        }
}

/* In the order of mma.sync in warp.cc. */
static void multiply(const product &p)
{
    static float b[STEP][MAX_N];
    float a[ROWS][STEP];
    read_b(p, b);
    for (int lane = 0; lane < WARP; lane++)
        for (int q = 0; q < 4; q++)
            for (int e = 0; e < 2; e++)
                a[lane / 4 + 8 * (q & 1)][2 * (lane % 4) + e + 8 * (q >> 1)] =
                    bf16_of(p.a[lane][q], e);
    for (int row = 0; row < ROWS; row++) {
        float *d = p.d->values[row];
        for (int col = 0; col < p.d->n && !p.add; col++)
            d[col] = 0.0f;
        for (int k = 0; k < STEP; k++)
            for (int col = 0; col < p.d->n; col++)
                d[col] += a[row][k] * b[k][col];
    }
}

static void finish_products(group_warp &w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        multiply(w.products[i]);
        w.products[i].d->users--;
    }
    w.products.erase(w.products.begin(), w.products.begin() + (ptrdiff_t)n);
    for (size_t i = w.in_flight.size(); i-- > 0;) {
        sums *s = w.in_flight[i];
        if (s->users > 0)
            continue;
        for (int row = 0; row < ROWS; row++)
            for (int col = 0; col < s->n; col++)
                *place_of(s, row, col) = s->values[row][col];
        delete s;
        w.in_flight.erase(w.in_flight.begin() + (ptrdiff_t)i);
    }
}

static void fence(meeting &m)
{
    warps[m.warp].is_fenced = true;
}

static void commit(meeting &m)
{
    warps[m.warp].groups.push_back(warps[m.warp].products.size());
}

static void wait(meeting &m)
{
    group_warp &w = warps[m.warp];
    int left = *(int *)m.payload[0];
    w.is_fenced = false;
    if ((int)w.groups.size() <= left)
        return;
    size_t done = w.groups[w.groups.size() - (size_t)left - 1];
    finish_products(w, done);
    w.groups.erase(w.groups.begin(), w.groups.end() - left);
    for (size_t &group : w.groups)
        group -= done;
}

void multiply_group(float *d, const uint32_t a[4], uint64_t b, int n, bool add, at where)
{
    call c = {d, a, b, n, add, (const char *)__builtin_return_address(0)};
    meet("wgmma", ~0u, ask, &c, where);
}

void warpgroups_end()
{
    for (int w = 0; w < running.n_warps; w++) {
        int first = warps[w / GROUP_WARPS * GROUP_WARPS].n_products;
        if (!warps[w].products.empty())
            stop("flight", "a block ended before its products");
        if (warps[w].n_products != first)
            stop("warp", "warp %d made %d products, the first of its group %d", w,
                 warps[w].n_products, first);
    }
    for (int w = 0; w < running.n_warps; w++) {
        warps[w].groups.clear();
        warps[w].n_products = 0;
        warps[w].is_fenced = false;
    }
}
} // namespace cudasim

using namespace cudasim;

uint64_t sa2_cuda::wgmma_matrix(const void *b, int next_k, int next_n)
{
    uint64_t offset = (uint64_t)((const unsigned char *)b - here.shared);
    return (offset & 0x3ffff) >> 4 | (uint64_t)(next_k >> 4) << 16 | (uint64_t)(next_n >> 4) << 32;
}

void sa2_cuda::wgmma_fence(at where)
{
    meet("wgmma_fence", ~0u, fence, nullptr, where);
}

void sa2_cuda::wgmma_commit(at where)
{
    meet("wgmma_commit", ~0u, commit, nullptr, where);
}

void sa2_cuda::wgmma_wait_all_but(int groups, at where)
{
    meet("wgmma_wait", ~0u, wait, &groups, where);
}
