/* warp.cc - what the lanes of a warp do together.
 *
 * Lanes are never in lockstep: each comes when it comes, and the last of those that the mask names acts for all.
 */
#include "sim.h"

#include <kernels/cuda/ptx.cuh>

namespace cudasim
{
/* Have all of `lanes` come to the same meeting as `like`? */
static bool is_complete(int w, unsigned lanes, const thread *like)
{
    if ((running.warps[w].meeting & lanes) != lanes)
        return false;
    for (unsigned m = lanes; m != 0; m &= m - 1) {
        const thread *t = &running.threads[w * WARP + __builtin_ctz(m)];
        if (t->act != like->act || t->mask != like->mask)
            stop("warp", "%s at %s:%d with mask %08x meets %s at %s:%d with mask %08x", like->what,
                 like->where.file, like->where.line, like->mask, t->what, t->where.file,
                 t->where.line, t->mask);
    }
    return true;
}

static void complete(int w, unsigned lanes)
{
    meeting m = {.warp = w, .lanes = lanes, .payload = {}, .member = {}};
    for (unsigned left = lanes; left != 0; left &= left - 1) {
        int lane = __builtin_ctz(left);
        m.member[lane] = &running.threads[w * WARP + lane];
        m.payload[lane] = m.member[lane]->payload;
    }
    m.member[__builtin_ctz(lanes)]->act(m);
    running.warps[w].meeting &= ~lanes;
    set_runnable(w, lanes);
}

void meet(const char *what, unsigned mask, void (*act)(meeting &), void *payload, at where)
{
    thread *me = running.current;
    unsigned own = 1u << me->lane;
    unsigned lanes = mask & running.warps[me->warp].alive;
    if ((mask & own) == 0)
        stop("warp", "%s at %s:%d: the lane is not in its own mask %08x", what, where.file,
             where.line, mask);
    me->what = what;
    me->act = act;
    me->payload = payload;
    me->mask = mask;
    me->where = where;
    me->now = state::IN_WARP;
    running.warps[me->warp].meeting |= own;
    if (is_complete(me->warp, lanes, me)) {
        complete(me->warp, lanes);
        give_way();
    } else {
        wait_here(state::IN_WARP);
    }
}

void warp_after_exit(int w)
{
    for (int lane = 0; lane < WARP; lane++) {
        const thread *t = &running.threads[w * WARP + lane];
        unsigned lanes = t->mask & running.warps[w].alive;
        if ((running.warps[w].meeting >> lane & 1) != 0 && is_complete(w, lanes, t))
            complete(w, lanes);
    }
}

/* ---- barriers, shuffles, votes ---- */

static void synchronise(meeting &m)
{
    check_warp_sync(m.warp, m.lanes);
}

void warp_barrier(unsigned mask, at where)
{
    meet("__syncwarp", mask, synchronise, nullptr, where);
}

struct shuffle_call {
    uint64_t value, result;
    shuffle kind;
    int lane, width;
};

/* PTX ISA 9.7.9.6: the lane counts mod 32, a source outside the segment means the lane itself. */
static int source_of(const shuffle_call *call, int lane)
{
    int first = lane & ~(call->width - 1), n = call->lane & 31, from = lane;
    switch (call->kind) {
    case shuffle::FROM:
        return first + (call->lane & (call->width - 1));
    case shuffle::UP:
        from = lane - n;
        return from < first ? lane : from;
    case shuffle::DOWN:
        from = lane + n;
        return from >= first + call->width ? lane : from;
    case shuffle::XOR:
        from = lane ^ n;
        return from >= first + call->width ? lane : from;
    }
    return lane;
}

static void move_values(meeting &m)
{
    for (unsigned left = m.lanes; left != 0; left &= left - 1) {
        int lane = __builtin_ctz(left);
        shuffle_call *call = (shuffle_call *)m.payload[lane];
        int from = source_of(call, lane);
        if ((m.lanes >> from & 1) == 0)
            stop("warp", "shuffle at %s:%d: lane %d reads lane %d, which takes no part",
                 m.member[lane]->where.file, m.member[lane]->where.line, lane, from);
        call->result = ((shuffle_call *)m.payload[from])->value;
    }
}

uint64_t warp_shuffle(shuffle kind, unsigned mask, uint64_t value, int lane, int width, at where)
{
    shuffle_call call = {value, 0, kind, lane, width};
    meet("a shuffle", mask, move_values, &call, where);
    return call.result;
}

struct vote {
    bool predicate;
    unsigned result;
};

static void count_votes(meeting &m)
{
    unsigned result = 0;
    for (unsigned left = m.lanes; left != 0; left &= left - 1)
        if (((vote *)m.payload[__builtin_ctz(left)])->predicate)
            result |= left & -left;
    for (unsigned left = m.lanes; left != 0; left &= left - 1)
        ((vote *)m.payload[__builtin_ctz(left)])->result = result;
}

unsigned warp_ballot(unsigned mask, bool predicate, at where)
{
    vote v = {predicate, 0};
    meet("__ballot_sync", mask, count_votes, &v, where);
    return v.result;
}

static void whole_warp(const meeting &m)
{
    if (m.lanes != ~0u)
        stop("warp", "%s at %s:%d by a part of a warp", m.member[__builtin_ctz(m.lanes)]->what,
             m.member[__builtin_ctz(m.lanes)]->where.file,
             m.member[__builtin_ctz(m.lanes)]->where.line);
}

/* ---- ldmatrix: PTX ISA 9.7.14.5.15 ---- */

struct matrix_load {
    const unsigned char *row;
    uint32_t *registers;
    int n;
    bool transposed;
};

static uint32_t pair(const unsigned char *low, const unsigned char *high)
{
    uint16_t a, b;
    memcpy(&a, low, sizeof a);
    memcpy(&b, high, sizeof b);
    return a | (uint32_t)b << 16;
}

/* Register j of a lane: elements (row lane / 4, columns 2 (lane % 4) and the next) of matrix j. */
static void deal_matrices(meeting &m)
{
    whole_warp(m);
    const unsigned char *rows[WARP];
    for (int lane = 0; lane < WARP; lane++)
        rows[lane] = ((matrix_load *)m.payload[lane])->row;
    for (int lane = 0; lane < WARP; lane++) {
        matrix_load *load = (matrix_load *)m.payload[lane];
        int g = lane / 4, t = lane % 4;
        for (int j = 0; j < load->n; j++)
            if (load->transposed)
                load->registers[j] =
                    pair(rows[8 * j + 2 * t] + 2 * g, rows[8 * j + 2 * t + 1] + 2 * g);
            else
                load->registers[j] = pair(rows[8 * j + g] + 4 * t, rows[8 * j + g] + 4 * t + 2);
    }
}

void load_matrix(uint32_t *registers, const void *row, int n, bool transposed, at where,
                 const void *pc)
{
    if ((uintptr_t)row % 16 != 0)
        stop("alignment", "ldmatrix at %s:%d from a row that is not 16-byte aligned", where.file,
             where.line);
    if (running.current->lane < 8 * n)
        check_access(row, 16, access::READ, pc);
    matrix_load load = {(const unsigned char *)row, registers, n, transposed};
    meet("ldmatrix", ~0u, deal_matrices, &load, where);
}

/* ---- mma.sync.m16n8k16, bf16 to f32: PTX ISA 9.7.14.5.8 ---- */

struct product {
    float *d;
    const uint32_t *a, *b;
};

static float half_of(uint32_t pair_of_bf16, int which)
{
    return __uint_as_float(which == 0 ? pair_of_bf16 << 16 : pair_of_bf16 & 0xffff0000u);
}

static void multiply(meeting &m)
{
    whole_warp(m);
    float a[16][16], b[16][8], d[16][8];
    for (int lane = 0; lane < WARP; lane++) {
        const product *p = (product *)m.payload[lane];
        int g = lane / 4, t = lane % 4;
        for (int q = 0; q < 4; q++)
            for (int e = 0; e < 2; e++)
                a[g + 8 * (q & 1)][2 * t + e + 8 * (q >> 1)] = half_of(p->a[q], e);
        for (int q = 0; q < 2; q++)
            for (int e = 0; e < 2; e++)
                b[2 * t + e + 8 * q][g] = half_of(p->b[q], e);
        for (int i = 0; i < 4; i++)
            d[g + 8 * (i >> 1)][2 * t + (i & 1)] = p->d[i];
    }
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 16; k++)
            for (int col = 0; col < 8; col++)
                d[row][col] += a[row][k] * b[k][col];
    for (int lane = 0; lane < WARP; lane++) {
        product *p = (product *)m.payload[lane];
        for (int i = 0; i < 4; i++)
            p->d[i] = d[lane / 4 + 8 * (i >> 1)][2 * (lane % 4) + (i & 1)];
    }
}

void multiply_bf16(float d[4], const uint32_t a[4], const uint32_t b[2], at where)
{
    product p = {d, a, b};
    meet("mma", ~0u, multiply, &p, where);
}
} // namespace cudasim

void sa2_cuda::load_matrix_x4(uint32_t (&r)[4], const void *row, cudasim::at where)
{
    cudasim::load_matrix(r, row, 4, false, where, __builtin_return_address(0));
}

void sa2_cuda::load_matrix_x4_transposed(uint32_t (&r)[4], const void *row, cudasim::at where)
{
    cudasim::load_matrix(r, row, 4, true, where, __builtin_return_address(0));
}
