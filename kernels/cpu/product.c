#include "kernels/cpu/product.h"

#include "kernels/cpu/matrix.h"

/* Where rows are cut, every thread multiplies its own by the whole matrix; otherwise all multiply the same rows, packed once,
 * by a part of the matrix each, which is then read once. */
enum {
    PARTS_A_THREAD = 2, /* of the matrix: a thread that was held up leaves work to the others */
    SMALL = 1 << 18,    /* multiplications below which waking threads costs more than it brings */
    CUT_ROWS = 512,     /* more are cut, */
    CUT_LEAST = 64,     /* and so many where the matrix has no more than four times their number, */
    PART_ROWS = 352,    /* in parts up to this: x, sums and a piece of the matrix fit its caches; */
    LEAST_ROWS = 128,   /* fewer are not worth a pass over the matrix, */
    LEAST_CACHED = 32,  /* but over one that a cache holds: */
    CACHED_VALUES = 2 << 20,
};

int sa2_span_find(const sa2_product *p, int64_t row)
{
    int low = 0, high = p->n_spans - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (p->spans[middle].first <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

const sa2_product_kernel *sa2_product_kernel_for(const sa2_cpu *cpu, sa2_dtype x, sa2_dtype w)
{
    static const sa2_product_kernel *const f32[SA2_ISA_COUNT] = {
        [SA2_ISA_C] = &sa2_product_f32_c,           [SA2_ISA_AVX2] = &sa2_product_f32_avx2,
        [SA2_ISA_AVX512] = &sa2_product_f32_avx512, [SA2_ISA_AVX512BF16] = &sa2_product_f32_avx512,
        [SA2_ISA_AMX] = &sa2_product_f32_avx512,
    };
    static const sa2_product_kernel *const bf16[SA2_ISA_COUNT] = {
        [SA2_ISA_C] = &sa2_product_bf16_c,
        [SA2_ISA_AVX2] = &sa2_product_bf16_avx2,
        [SA2_ISA_AVX512] = &sa2_product_bf16_avx512,
        [SA2_ISA_AVX512BF16] = &sa2_product_bf16_avx512bf16,
        [SA2_ISA_AMX] = &sa2_product_bf16_amx,
    };
    static const sa2_product_kernel *const i8[SA2_ISA_COUNT] = {
        [SA2_ISA_C] = &sa2_product_i8_c,         [SA2_ISA_AVX2] = &sa2_product_i8_avx2,
        [SA2_ISA_AVX512] = &sa2_product_i8_avx2, [SA2_ISA_AVX512BF16] = &sa2_product_i8_avx512bf16,
        [SA2_ISA_AMX] = &sa2_product_i8_amx,
    };
    static const sa2_product_kernel *const i4[SA2_ISA_COUNT] = {
        [SA2_ISA_C] = &sa2_product_i4_c,         [SA2_ISA_AVX2] = &sa2_product_i4_avx2,
        [SA2_ISA_AVX512] = &sa2_product_i4_avx2, [SA2_ISA_AVX512BF16] = &sa2_product_i4_avx512bf16,
        [SA2_ISA_AMX] = &sa2_product_i4_amx,
    };
    if (w == SA2_I8 || w == SA2_I4)
        return (w == SA2_I8 ? i8 : i4)[cpu->isa];
    return x == SA2_F32 ? f32[cpu->isa] : bf16[cpu->isa];
}

/* One chunk of rows: all of them, or as many as are packed together. */
typedef struct chunk {
    const sa2_product *p;
    const sa2_product_kernel *kernel;
    sa2_cpu *cpu;
    int64_t row, n_rows;
    size_t panel_bytes;
    int row_parts, col_parts;
} chunk;

static void pack_panel(void *context, int index, int thread)
{
    (void)thread;
    const chunk *c = context;
    int64_t from = (int64_t)index * SA2_BLOCK, left = c->n_rows - from;
    c->kernel->pack(c->p, c->row + from, left < SA2_BLOCK ? (int)left : SA2_BLOCK,
                    c->cpu->packed + (size_t)index * c->panel_bytes);
}

/* Nobody else multiplies its rows: what a thread packs for itself lies in its own caches. */
static bool packs_its_own(const chunk *c)
{
    return c->kernel->pack != NULL && c->col_parts == 1;
}

static void run_part(void *context, int index, int thread)
{
    const chunk *c = context;
    int64_t panels = (c->n_rows + SA2_BLOCK - 1) / SA2_BLOCK;
    int64_t pairs = sa2_matrix_blocks(c->p->w->rows) / 2;
    int row_part = index % c->row_parts, col_part = index / c->row_parts;
    int64_t row = row_part * panels / c->row_parts * SA2_BLOCK;
    int64_t row_end = (row_part + 1) * panels / c->row_parts * SA2_BLOCK;
    int64_t pair = col_part * pairs / c->col_parts;
    int64_t pair_end = (col_part + 1) * pairs / c->col_parts;
    row_end = row_end < c->n_rows ? row_end : c->n_rows;
    if (packs_its_own(c))
        for (int64_t i = row / SA2_BLOCK; i * SA2_BLOCK < row_end; i++)
            pack_panel(context, (int)i, thread);
    int next_part = (index + sa2_threads_count(c->cpu->threads)) / c->row_parts;
    sa2_product_part part = {.row = c->row + row,
                             .n_rows = row_end - row,
                             .block = 2 * pair,
                             .n_blocks = 2 * (pair_end - pair)};
    if (next_part > col_part && next_part < c->col_parts)
        part.next_block = 2 * (next_part * pairs / c->col_parts);
    c->kernel->run(c->p, &part, c->cpu->packed, c->row, sa2_cpu_thread_space(c->cpu, thread));
}

static bool cuts_rows(const chunk *c)
{
    return c->n_rows > CUT_ROWS || (c->n_rows >= CUT_LEAST && c->n_rows >= c->p->w->rows / 4);
}

/* As many for each thread, where they do not get too thin by that. */
static int parts_of_rows(const chunk *c, int threads)
{
    bool cached = c->p->w->rows * c->p->w->cols <= CACHED_VALUES;
    int64_t least = (c->n_rows + PART_ROWS - 1) / PART_ROWS;
    int64_t even = (least + threads - 1) / threads * threads;
    return (int)(c->n_rows / even >= (cached ? LEAST_CACHED : LEAST_ROWS) ? even : least);
}

static void cut(chunk *c, int threads)
{
    int64_t pairs = sa2_matrix_blocks(c->p->w->rows) / 2;
    c->row_parts = c->col_parts = 1;
    if (threads == 1 || c->n_rows * c->p->w->rows * c->p->w->cols < SMALL)
        return;
    if (cuts_rows(c))
        c->row_parts = parts_of_rows(c, threads);
    if (c->row_parts < threads) {
        c->col_parts = (threads * PARTS_A_THREAD + c->row_parts - 1) / c->row_parts;
        c->col_parts = c->col_parts < pairs ? c->col_parts : (int)pairs;
    }
}

sa2_status sa2_product_run(sa2_stream *s, const sa2_product *p, sa2_error *err)
{
    sa2_cpu *cpu = sa2_cpu_of(s);
    chunk c = {.p = p, .cpu = cpu, .kernel = sa2_product_kernel_for(cpu, p->x_dtype, p->w->dtype)};
    bool packs = c.kernel->pack != NULL;
    int64_t chunk_rows = p->rows;
    if (packs) {
        c.panel_bytes = c.kernel->panel_bytes(p->w->cols);
        int64_t fit = (int64_t)(SA2_PACKED_SPACE / c.panel_bytes) * SA2_BLOCK;
        if (fit == 0)
            return sa2_fail(err, SA2_ERR_LIMIT,
                            "product: %lld columns, 16 rows of them do not fit %d bytes",
                            (long long)p->w->cols, (int)SA2_PACKED_SPACE);
        chunk_rows = fit;
    }
    int threads = sa2_threads_count(cpu->threads);
    for (c.row = 0; c.row < p->rows; c.row += c.n_rows) {
        c.n_rows = p->rows - c.row < chunk_rows ? p->rows - c.row : chunk_rows;
        cut(&c, threads);
        int n = (int)((c.n_rows + SA2_BLOCK - 1) / SA2_BLOCK);
        if (packs && !packs_its_own(&c))
            sa2_threads_run(cpu->threads, n, pack_panel, &c);
        sa2_threads_run(cpu->threads, c.row_parts * c.col_parts, run_part, &c);
    }
    return SA2_OK;
}
