/* The paged cache against its definition, and the same bits whatever the pages, chunks, batches and threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/test_env.h"

enum { MAX_SEQUENCES = 4 };

/* Sequences of these lengths; the last `rows` positions of each one are queries. */
typedef struct shape {
    int heads, kv_heads, d, n;
    int32_t lengths[MAX_SEQUENCES], rows[MAX_SEQUENCES];
    float scale;
} shape;

static const shape shapes[] = {
    {7, 1, 128, 1, {1}, {1}, 0.0883883f},
    {28, 4, 128, 2, {700, 33}, {1, 1}, 0.0883883f},  /* decode */
    {7, 1, 128, 1, {1300}, {1}, 0.0883883f},         /* decode, three ranges of keys */
    {6, 2, 64, 3, {97, 16, 5}, {97, 16, 5}, 0.125f}, /* prefill */
    {3, 3, 80, 2, {150, 64}, {31, 40}, 0.5f},
    {8, 2, 64, 2, {1100, 531}, {70, 1}, 0.125f}, /* a chunk beside a decode */
    {4, 1, 10, 1, {50}, {50}, 1.0f},
    {2, 2, 64, 1, {130}, {130}, 30.0f},
    {2, 1, 16, 1, {600}, {100}, 0.25f}, /* a prompt across the border of a range */
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

/* What activations are, and what the cache holds of them. */
typedef struct kind {
    sa2_dtype dtype, cache;
} kind;

static const kind kinds[] = {
    {SA2_F32, SA2_F32}, {SA2_BF16, SA2_BF16}, {SA2_F32, SA2_I8}, {SA2_BF16, SA2_I8}};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

/* A simulated device takes seconds for the largest: against the definition once, not for every cut. It has one kernel for f32
 * over any cache. */
static bool is_too_long(const test_env *env, int b, const shape *p)
{
    kind as = kinds[b % N_KINDS];
    double work = 0.0, most = as.dtype == SA2_F32 && as.cache == SA2_I8 ? 1e5 : 2e6;
    for (int i = 0; i < p->n; i++)
        work += (double)p->rows[i] * p->lengths[i] * p->heads * p->d;
    return work > most && test_is_simulated(env, b / N_KINDS);
}

/* What all sequences hold: row r of sequence i is row offsets[i] + r. */
typedef struct content {
    const shape *shape;
    int32_t *offsets;
    sa2_tensor q, k, v;
} content;

static sa2_tensor random_heads(test_env *env, sa2_dtype dtype, int64_t rows, int heads, int d)
{
    int64_t cols = (int64_t)heads * d;
    sa2_tensor wide = test_random(env, dtype, rows, cols + 24);
    return sa2_tensor_heads(sa2_tensor_cols(wide, 8, cols), heads);
}

static content make_content(test_env *env, sa2_dtype dtype, const shape *p)
{
    content c = {.shape = p, .offsets = test_offsets(env, p->n, p->lengths)};
    c.q = random_heads(env, dtype, c.offsets[p->n], p->heads, p->d);
    c.k = random_heads(env, dtype, c.offsets[p->n], p->kv_heads, p->d);
    c.v = random_heads(env, dtype, c.offsets[p->n], p->kv_heads, p->d);
    return c;
}

/* Pages for the longest sequence, for each of them, full of NaN; the tables are shuffled. */
typedef struct cache {
    sa2_kv_cache_view view;
    int32_t *table;
    int max_pages;
} cache;

static cache make_cache(test_env *env, sa2_dtype dtype, const shape *p, int page_size)
{
    cache c = {
        .view = {
            .page_size = page_size, .kv_heads = p->kv_heads, .head_dim = p->d, .dtype = dtype}};
    for (int i = 0; i < p->n; i++) {
        int pages = (p->lengths[i] + page_size - 1) / page_size;
        c.max_pages = c.max_pages > pages ? c.max_pages : pages;
    }
    c.view.n_pages = p->n * c.max_pages + 1;
    size_t bytes = sa2_kv_page_bytes(&c.view) * (size_t)c.view.n_pages;
    c.view.pages = test_doubles(env, (int64_t)(bytes + 7) / 8);
    memset(c.view.pages, 0xff, bytes);
    c.table = test_ids(env, c.view.n_pages, 1).data;
    for (int32_t i = 0; i < c.view.n_pages; i++) { /* Fisher and Yates, from the inside */
        int32_t j = (int32_t)((test_uniform(env) + 1.0) / 2.0 * (i + 1));
        c.table[i] = c.table[j];
        c.table[j] = i;
    }
    return c;
}

/* Stores rows [first[i], end[i]) of each sequence i and, when y [rows of the content] is there, attends. */
static void run_rows(test_env *env, sa2_stream *s, const content *c, const cache *to,
                     const int32_t *first, const int32_t *end, sa2_tensor y)
{
    const shape *p = c->shape;
    int32_t counts[MAX_SEQUENCES];
    for (int i = 0; i < p->n; i++)
        counts[i] = end[i] - first[i];
    sa2_paged_rows where = {.rows = {p->n, test_offsets(env, p->n, counts)},
                            .first_position = first,
                            .block_table = to->table,
                            .max_pages = to->max_pages};
    int64_t rows = where.rows.offsets[p->n];
    sa2_dtype dtype = c->q.dtype;
    sa2_tensor q =
        sa2_tensor_heads(test_poisoned(env, dtype, rows, (int64_t)p->heads * p->d), p->heads);
    sa2_tensor k =
        sa2_tensor_heads(test_poisoned(env, dtype, rows, (int64_t)p->kv_heads * p->d), p->kv_heads);
    sa2_tensor v = test_copy(env, &k), out = test_copy(env, &q);
    for (int i = 0; i < p->n; i++) {
        int64_t from = c->offsets[i] + first[i], at = where.rows.offsets[i], n = counts[i];
        sa2_copy(s, sa2_tensor_rows(q, at, n), sa2_tensor_rows(c->q, from, n));
        sa2_copy(s, sa2_tensor_rows(k, at, n), sa2_tensor_rows(c->k, from, n));
        sa2_copy(s, sa2_tensor_rows(v, at, n), sa2_tensor_rows(c->v, from, n));
    }
    sa2_kv_store(s, &to->view, k, v, &where);
    if (y.data != NULL)
        sa2_attention_paged(s, out, q, &to->view, &where, p->scale);
    for (int i = 0; y.data != NULL && i < p->n; i++)
        sa2_copy(s, sa2_tensor_rows(y, c->offsets[i] + first[i], counts[i]),
                 sa2_tensor_rows(out, where.rows.offsets[i], counts[i]));
    sa2_error err = {0};
    if (sa2_stream_finish(s, &err) != SA2_OK)
        fail_msg("%s", err.message);
}

/* The rows that are no queries are stored and 0 in y; then the queries, in chunks of `chunk`. */
static sa2_tensor run_all(test_env *env, sa2_stream *s, const content *c, const cache *to,
                          int chunk)
{
    const shape *p = c->shape;
    int64_t cols = (int64_t)p->heads * p->d;
    sa2_tensor y = sa2_tensor_heads(test_poisoned(env, c->q.dtype, c->q.shape[0], cols), p->heads);
    int32_t first[MAX_SEQUENCES] = {0}, end[MAX_SEQUENCES] = {0};
    for (int i = 0; i < p->n; i++) {
        end[i] = p->lengths[i] - p->rows[i];
        sa2_tensor none = sa2_tensor_rows(y, c->offsets[i], end[i]);
        memset(none.data, 0, sa2_tensor_bytes(&none));
    }
    run_rows(env, s, c, to, first, end, (sa2_tensor){0});
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < p->n; i++) {
            first[i] = end[i];
            end[i] = p->lengths[i] - first[i] < chunk ? p->lengths[i] : first[i] + chunk;
            more = more || end[i] < p->lengths[i];
        }
        run_rows(env, s, c, to, first, end, y);
    }
    return y;
}

/* ---- definition ---- */

static void define_row(const shape *p, int64_t keys, const double *q, const double *k,
                       const double *v, double *y)
{
    double scores[2048], most = -INFINITY, sum = 0.0;
    int64_t step = (int64_t)p->kv_heads * p->d;
    for (int64_t j = 0; j < keys; j++) {
        scores[j] = 0.0;
        for (int e = 0; e < p->d; e++)
            scores[j] += q[e] * k[j * step + e];
        scores[j] *= (double)p->scale;
        most = fmax(most, scores[j]);
    }
    for (int64_t j = 0; j < keys; j++)
        sum += exp(scores[j] - most);
    for (int e = 0; e < p->d; e++) {
        y[e] = 0.0;
        for (int64_t j = 0; j < keys; j++)
            y[e] += exp(scores[j] - most) / sum * v[j * step + e];
    }
}

/* Rows of d values as a cache of 8 bits has them: whole steps of the largest / 127. */
static void round_rows(double *x, int64_t rows, int d)
{
    for (; rows > 0; rows--, x += d) {
        float largest = 0.0f;
        for (int e = 0; e < d; e++)
            largest = fmaxf(largest, (float)fabs(x[e]));
        for (int e = 0; e < d; e++)
            x[e] = (double)(rintf((float)x[e] * (127.0f / largest)) * (largest / 127.0f));
    }
}

static double *define(test_env *env, const content *c, sa2_dtype cached)
{
    const shape *p = c->shape;
    int64_t q_step = (int64_t)p->heads * p->d, k_step = (int64_t)p->kv_heads * p->d;
    const double *q = test_values(env, &c->q);
    double *k = test_values(env, &c->k), *v = test_values(env, &c->v);
    if (cached == SA2_I8) {
        round_rows(k, c->k.shape[0] * p->kv_heads, p->d);
        round_rows(v, c->v.shape[0] * p->kv_heads, p->d);
    }
    double *y = test_doubles(env, c->q.shape[0] * q_step);
    for (int i = 0; i < p->n; i++)
        for (int64_t r = p->lengths[i] - p->rows[i]; r < p->lengths[i]; r++)
            for (int h = 0; h < p->heads; h++) {
                int64_t at = (c->offsets[i] + r) * q_step + h * p->d;
                int64_t key = c->offsets[i] * k_step + h / (p->heads / p->kv_heads) * p->d;
                define_row(p, r + 1, q + at, k + key, v + key, y + at);
            }
    return y;
}

/* As for attention over rows, tests/test_attention.c. */
static double tolerance(sa2_dtype dtype, float scale)
{
    if (dtype == SA2_BF16)
        return 3.2e-5;
    return scale > 1.0f ? 1e-9 : 1e-12;
}

static const int page_sizes[] = {16, 32, 48, 64, 128};
enum { N_PAGE_SIZES = sizeof page_sizes / sizeof page_sizes[0] };

static void paged_attention_matches_its_definition(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int b = 0; b < N_KINDS * env->n_streams; b++) {
            kind as = kinds[b % N_KINDS];
            sa2_stream *s = env->streams[b / N_KINDS];
            content c = make_content(env, as.dtype, &shapes[i]);
            cache to = make_cache(env, as.cache, &shapes[i], page_sizes[i % N_PAGE_SIZES]);
            sa2_tensor y = run_all(env, s, &c, &to, 4096);
            char what[32];
            snprintf(what, sizeof what, "paged, shape %d", i);
            assert_close(env, s, what, &y, define(env, &c, as.cache),
                         tolerance(as.dtype, shapes[i].scale));
            test_reset(env);
        }
}

/* ---- the same bits ---- */

static void pages_and_chunks_do_not_change_a_bit(void **state)
{
    test_env *env = *state;
    static const int chunks[] = {1, 3, 16, 50, 64};
    for (int i = 0; i < N_SHAPES; i++)
        for (int b = 0; b < N_KINDS * env->n_streams; b++) {
            if (is_too_long(env, b, &shapes[i]))
                continue;
            kind as = kinds[b % N_KINDS];
            sa2_stream *s = env->streams[b / N_KINDS];
            content c = make_content(env, as.dtype, &shapes[i]);
            cache one = make_cache(env, as.cache, &shapes[i], 64);
            sa2_tensor want = run_all(env, s, &c, &one, 4096);
            for (int j = 0; j < N_PAGE_SIZES; j++) {
                cache to = make_cache(env, as.cache, &shapes[i], page_sizes[j]);
                int chunk = chunks[(i + j) % N_PAGE_SIZES];
                if (shapes[i].rows[0] / chunk > 16)
                    chunk = 50;
                sa2_tensor y = run_all(env, s, &c, &to, chunk);
                assert_same_bits("pages and chunks", &y, &want);
            }
            test_reset(env);
        }
}

static void a_sequence_has_the_same_bits_in_any_batch(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int b = 0; b < N_KINDS * env->n_streams; b++) {
            if (is_too_long(env, b, &shapes[i]))
                continue;
            kind as = kinds[b % N_KINDS];
            sa2_stream *s = env->streams[b / N_KINDS];
            content c = make_content(env, as.dtype, &shapes[i]);
            cache all = make_cache(env, as.cache, &shapes[i], 32);
            sa2_tensor want = run_all(env, s, &c, &all, 4096);
            for (int j = 0; j < shapes[i].n; j++) {
                shape alone = shapes[i];
                alone.n = 1;
                alone.lengths[0] = shapes[i].lengths[j];
                alone.rows[0] = shapes[i].rows[j];
                content own = c;
                own.shape = &alone;
                own.offsets = test_offsets(env, 1, alone.lengths);
                own.q = sa2_tensor_rows(c.q, c.offsets[j], alone.lengths[0]);
                own.k = sa2_tensor_rows(c.k, c.offsets[j], alone.lengths[0]);
                own.v = sa2_tensor_rows(c.v, c.offsets[j], alone.lengths[0]);
                cache to = make_cache(env, as.cache, &alone, 32);
                sa2_tensor y = run_all(env, s, &own, &to, 4096);
                sa2_tensor part = sa2_tensor_rows(want, c.offsets[j], alone.lengths[0]);
                assert_same_bits("alone", &y, &part);
            }
            test_reset(env);
        }
}

static void threads_do_not_change_a_bit(void **state)
{
    test_env *env = *state;
    test_env three;
    test_env_open_all(&three, 3);
    for (int i = 0; i < N_SHAPES; i++)
        for (int b = 0; b < N_KINDS * env->n_streams; b++) {
            if (test_is_simulated(env, b / N_KINDS)) /* it has none */
                continue;
            kind as = kinds[b % N_KINDS];
            sa2_stream *s = env->streams[b / N_KINDS], *s3 = three.streams[b / N_KINDS];
            content c = make_content(env, as.dtype, &shapes[i]);
            cache one = make_cache(env, as.cache, &shapes[i], 64);
            cache many = make_cache(env, as.cache, &shapes[i], 64);
            sa2_tensor want = run_all(env, s, &c, &one, 40), y = run_all(env, s3, &c, &many, 40);
            assert_same_bits("threads", &y, &want);
            test_reset(env);
        }
    test_env_close(&three);
}

/* What a later position holds does not reach an earlier one. */
static void a_position_does_not_see_later_ones(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < N_KINDS * env->n_streams; b++) {
        kind as = kinds[b % N_KINDS];
        sa2_stream *s = env->streams[b / N_KINDS];
        const shape *p = &shapes[3];
        content c = make_content(env, as.dtype, p);
        cache one = make_cache(env, as.cache, p, 16), other = make_cache(env, as.cache, p, 16);
        sa2_tensor y = run_all(env, s, &c, &one, 4096);
        int32_t last = c.offsets[1] - 1; /* of the first sequence */
        sa2_tensor late = sa2_tensor_rows(c.k, last, 1);
        sa2_copy(s, late, sa2_tensor_rows(c.v, last, 1));
        sa2_tensor changed = run_all(env, s, &c, &other, 4096);
        sa2_tensor before = sa2_tensor_rows(y, 0, last), after = sa2_tensor_rows(changed, 0, last);
        assert_same_bits("later keys", &after, &before);
        test_reset(env);
    }
}

/* ---- pages ---- */

static void copied_pages_hold_what_their_originals_held(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < N_KINDS * env->n_streams; b++) {
        kind as = kinds[b % N_KINDS];
        sa2_stream *s = env->streams[b / N_KINDS];
        static const shape p = {2, 1, 64, 1, {16}, {16}, 0.125f};
        content c = make_content(env, as.dtype, &p);
        cache to = make_cache(env, as.cache, &p, 16);
        sa2_tensor y = run_all(env, s, &c, &to, 16);
        int32_t a = to.table[0], other = 1 - a;
        /* In this order: there, onto itself, and back over what was destroyed. */
        sa2_page_copy there[] = {{a, other}, {other, other}};
        sa2_kv_copy(s, &to.view, there, 2);
        assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
        size_t bytes = sa2_kv_page_bytes(&to.view);
        memset((char *)to.view.pages + (size_t)a * bytes, 0xff, bytes);
        to.table[0] = other;
        sa2_paged_rows where = {.rows = {1, test_offsets(env, 1, p.lengths)},
                                .first_position = (const int32_t[]){0},
                                .block_table = to.table,
                                .max_pages = 1};
        sa2_tensor again = test_copy(env, &y);
        memset(again.data, 0xff, sa2_tensor_bytes(&again));
        sa2_attention_paged(s, again, c.q, &to.view, &where, p.scale);
        sa2_page_copy back[] = {{other, a}};
        sa2_kv_copy(s, &to.view, back, 1);
        assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
        assert_same_bits("copied page", &again, &y);
        assert_memory_equal((char *)to.view.pages + (size_t)a * bytes,
                            (char *)to.view.pages + (size_t)other * bytes, bytes);
        test_reset(env);
    }
}

static void storing_touches_its_positions_only(void **state)
{
    test_env *env = *state;
    static const shape p = {2, 2, 24, 1, {64}, {64}, 1.0f};
    for (int b = 0; b < N_KINDS * env->n_streams; b++) {
        kind as = kinds[b % N_KINDS];
        sa2_stream *s = env->streams[b / N_KINDS];
        content c = make_content(env, as.dtype, &p);
        cache to = make_cache(env, as.cache, &p, 32);
        sa2_tensor before = run_all(env, s, &c, &to, 64);
        /* Again position 40 alone, with what it has: nothing may change. Then with values of 6e19, which
         * no weight hides: rows before it stay, rows from it on do not. */
        int32_t first[] = {40}, end[] = {41};
        sa2_tensor y = test_copy(env, &before);
        run_rows(env, s, &c, &to, first, end, y);
        assert_same_bits("stored again", &y, &before);
        sa2_tensor row = sa2_tensor_rows(c.v, 40, 1);
        memset(row.data, 0x60, sa2_tensor_bytes(&row));
        run_rows(env, s, &c, &to, first, end, y);
        int32_t earlier[] = {39}, later[] = {63}, all[] = {64}, forty[] = {40};
        run_rows(env, s, &c, &to, earlier, forty, y);
        run_rows(env, s, &c, &to, later, all, y);
        sa2_tensor upper = sa2_tensor_rows(y, 0, 40), same = sa2_tensor_rows(before, 0, 40);
        assert_same_bits("earlier rows", &upper, &same);
        sa2_tensor last = sa2_tensor_rows(y, 63, 1), old = sa2_tensor_rows(before, 63, 1);
        assert_memory_not_equal(last.data, old.data, (size_t)p.d * sa2_dtype_bytes(as.dtype));
        test_reset(env);
    }
}

/* The ends of what 8 bits hold: rows of nothing, of tiny values, of what is no number. */
static void rounded_rows_keep_zero_and_what_is_not_finite(void **state)
{
    test_env *env = *state;
    static const shape p = {2, 1, 40, 1, {4}, {4}, 1.0f};
    for (int b = 0; b < N_KINDS * env->n_streams; b++) {
        kind as = kinds[b % N_KINDS];
        if (as.cache != SA2_I8)
            continue;
        static const float values[] = {0.0f, 0x1p-101f, 0x1p-99f, INFINITY};
        sa2_stream *s = env->streams[b / N_KINDS];
        content c = make_content(env, as.dtype, &p);
        for (int64_t r = 0; r < 4; r++) /* the last row also has zeros, which are to be NaN */
            for (int64_t e = 0; e < (r < 3 ? p.d : 1); e++) {
                sa2_tensor row = sa2_tensor_rows(c.v, r, 1);
                if (as.dtype == SA2_F32)
                    ((float *)row.data)[e] = values[r];
                else
                    ((uint16_t *)row.data)[e] = sa2_f32_to_bf16(values[r]);
            }
        cache to = make_cache(env, as.cache, &p, 16);
        sa2_tensor y = run_all(env, s, &c, &to, 1);
        const double *found = test_values(env, &y);
        int64_t n = (int64_t)p.heads * p.d;
        for (int64_t i = 0; i < 2 * n; i++)
            assert_true(found[i] == 0.0);
        for (int64_t i = 2 * n; i < 3 * n; i++)
            assert_true(found[i] > 0.0 && found[i] < 0x1p-99);
        for (int64_t i = 3 * n; i < 4 * n; i++)
            assert_true(isnan(found[i]));
        test_reset(env);
    }
}

static void bad_arguments_are_refused_by_name(void **state)
{
    test_env *env = *state;
    sa2_stream *s = env->streams[0];
    static const shape p = {4, 2, 16, 1, {40}, {40}, 1.0f};
    content c = make_content(env, SA2_F32, &p);
    cache to = make_cache(env, SA2_F32, &p, 16);
    sa2_tensor y = test_copy(env, &c.q);
    int32_t zero[] = {0}, far[] = {9};
    sa2_paged_rows where = {.rows = {1, c.offsets},
                            .first_position = zero,
                            .block_table = to.table,
                            .max_pages = to.max_pages};
    sa2_kv_cache_view view = to.view;

    view.page_size = 24;
    sa2_kv_store(s, &view, c.k, c.v, &where);
    assert_refused(s, "kv_store: a page size that is a multiple of 16 expected");
    view = to.view;
    sa2_kv_store(s, &view, c.q, c.q, &where);
    assert_refused(s, "kv_store: k, v [rows, kv_heads, d] in the cache's dtype expected");
    where.first_position = far;
    sa2_kv_store(s, &view, c.k, c.v, &where);
    assert_refused(s, "kv_store: a position outside its block table");
    where.first_position = zero;
    view.n_pages = 2;
    sa2_attention_paged(s, y, c.q, &view, &where, 1.0f);
    assert_refused(s, "attention_paged: a page outside the cache");
    view = to.view;
    view.kv_heads = 3;
    sa2_attention_paged(s, y, c.q, &view, &where, 1.0f);
    assert_refused(s, "attention_paged: y, q [rows, heads, d] in the cache's dtype expected");
    view = to.view;
    view.dtype = SA2_I8;
    sa2_tensor half = sa2_tensor_heads(test_random(env, SA2_BF16, 40, 32), 2);
    sa2_kv_store(s, &view, c.k, half, &where);
    assert_refused(s, "kv_store: k, v [rows, kv_heads, d] in the cache's dtype expected");
    view.dtype = SA2_U8;
    sa2_kv_store(s, &view, c.k, c.v, &where);
    assert_refused(s, "kv_store: k, v [rows, kv_heads, d] in the cache's dtype expected");
    sa2_kv_copy(s, &to.view, &(sa2_page_copy){0, to.view.n_pages}, 1);
    assert_refused(s, "kv_copy: page 0 to page 4 of 4");
    test_reset(env);
}

static int setup(void **state)
{
    static test_env env;
    test_env_open_all(&env, 1);
    *state = &env;
    return 0;
}

static int teardown(void **state)
{
    test_env_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paged_attention_matches_its_definition),
        cmocka_unit_test(pages_and_chunks_do_not_change_a_bit),
        cmocka_unit_test(a_sequence_has_the_same_bits_in_any_batch),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(a_position_does_not_see_later_ones),
        cmocka_unit_test(copied_pages_hold_what_their_originals_held),
        cmocka_unit_test(storing_touches_its_positions_only),
        cmocka_unit_test(rounded_rows_keep_zero_and_what_is_not_finite),
        cmocka_unit_test(bad_arguments_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
