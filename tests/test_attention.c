/* Attention over rows and over segments against its definition, and the same bits however it is called. */
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

/* One call: sequences, how many keys they see, and whether positions are relative. */
typedef struct shape {
    int heads, d, n;
    int32_t queries[MAX_SEQUENCES], keys[MAX_SEQUENCES], visible[MAX_SEQUENCES];
    bool relative;
    int32_t first[MAX_SEQUENCES]; /* with relative */
    float scale;
} shape;

static const shape shapes[] = {
    {2, 64, 1, {70}, {70}, {70}, .scale = 0.125f},
    {1, 64, 1, {33}, {1250}, {1249}, .scale = 0.125f},
    {3, 128, 2, {1, 17}, {200, 65}, {200, 64}, .scale = 0.0883883f},
    {2, 80, 3, {5, 0, 31}, {130, 7, 31}, {129, 7, 1}, .scale = 0.5f},
    {1, 64, 2, {2, 2}, {5, 9}, {0, 9}, .scale = 0.125f}, /* one that sees nothing */
    {1, 7, 1, {3}, {19}, {19}, .scale = 1.0f},
    {1, 1, 1, {1}, {1}, {1}, .scale = 1.0f},
    {1, 64, 1, {40}, {300}, {300}, .scale = 40.0f}, /* weights of 0 and 1: nothing overflows */
    {2, 64, 2, {50, 6}, {50, 90}, {50, 90}, true, {0, 84}, 0.125f},
    {1, 24, 1, {37}, {101}, {99}, true, {64}, 0.2f},
    {5, 64, 2, {40, 3}, {170, 33}, {169, 33}, .scale = 0.125f}, /* rows at odd places */
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

/* Tensors of a call, q, k and v in the columns of wider rows. */
typedef struct call {
    sa2_tensor q, k, v, u, w, r;
    int32_t *queries, *keys;
    const shape *shape;
} call;

static sa2_tensor random_heads(test_env *env, sa2_dtype dtype, int64_t rows, const shape *p)
{
    int64_t cols = (int64_t)p->heads * p->d;
    sa2_tensor wide = test_random(env, dtype, rows, 3 * cols + (p->heads == 5));
    return sa2_tensor_heads(sa2_tensor_cols(wide, cols, cols), p->heads);
}

static call make_call(test_env *env, sa2_dtype dtype, const shape *p)
{
    call c = {.shape = p};
    c.queries = test_offsets(env, p->n, p->queries);
    c.keys = test_offsets(env, p->n, p->keys);
    c.q = random_heads(env, dtype, c.queries[p->n], p);
    c.k = random_heads(env, dtype, c.keys[p->n], p);
    c.v = random_heads(env, dtype, c.keys[p->n], p);
    if (p->relative) {
        int32_t reach = 0;
        for (int i = 0; i < p->n; i++) {
            int32_t last = p->first[i] + p->queries[i];
            reach = reach > last ? reach : last;
            reach = reach > p->keys[i] ? reach : p->keys[i];
        }
        c.u = test_random(env, SA2_F32, p->heads, p->d);
        c.w = test_random(env, SA2_F32, p->heads, p->d);
        c.r = random_heads(env, dtype, 2 * reach - 1, p);
    }
    return c;
}

static sa2_attention_args arguments(const call *c, sa2_tensor y)
{
    return (sa2_attention_args){.y = y,
                                .q = c->q,
                                .k = c->k,
                                .v = c->v,
                                .queries = {c->shape->n, c->queries},
                                .keys = {c->shape->n, c->keys},
                                .n_visible = c->shape->visible,
                                .scale = c->shape->scale,
                                .u = c->u,
                                .w = c->w,
                                .r = c->r,
                                .first_position = c->shape->relative ? c->shape->first : NULL};
}

static sa2_tensor make_y(test_env *env, sa2_dtype dtype, const call *c)
{
    int64_t rows = c->q.shape[0], cols = (int64_t)c->shape->heads * c->shape->d;
    return sa2_tensor_heads(test_poisoned(env, dtype, rows, cols), c->shape->heads);
}

/* The softmax of one query of one head, in double. q, k, v, r: at the head. */
static void define_row(const call *c, int i, int query, int head, const double *q, const double *k,
                       const double *v, const double *r, double *y)
{
    const shape *p = c->shape;
    int64_t step = (int64_t)p->heads * p->d, n = p->visible[i];
    double scores[2048], most = -INFINITY, sum = 0.0;
    for (int64_t j = 0; j < n; j++) {
        double s = 0.0;
        for (int e = 0; e < p->d; e++) {
            if (!p->relative) {
                s += q[e] * k[j * step + e];
                continue;
            }
            int64_t row = c->r.shape[0] / 2 + p->first[i] + query - j;
            double u = (double)((const float *)c->u.data)[head * p->d + e];
            double w = (double)((const float *)c->w.data)[head * p->d + e];
            s += (q[e] + u) * k[j * step + e] + (q[e] + w) * r[row * step + e];
        }
        scores[j] = s * (double)p->scale;
        most = fmax(most, scores[j]);
    }
    for (int64_t j = 0; j < n; j++)
        sum += exp(scores[j] - most);
    for (int e = 0; e < p->d; e++) {
        y[e] = 0.0;
        for (int64_t j = 0; j < n; j++)
            y[e] += exp(scores[j] - most) / sum * v[j * step + e];
    }
}

static double *define(test_env *env, const call *c)
{
    const shape *p = c->shape;
    int64_t step = (int64_t)p->heads * p->d;
    double *y = test_doubles(env, c->q.shape[0] * step);
    const double *q = test_values(env, &c->q), *k = test_values(env, &c->k);
    const double *v = test_values(env, &c->v), *r = p->relative ? test_values(env, &c->r) : q;
    for (int i = 0; i < p->n; i++)
        for (int t = 0; t < p->queries[i]; t++)
            for (int h = 0; h < p->heads; h++) {
                int64_t row = (c->queries[i] + t) * step + h * p->d;
                int64_t key = c->keys[i] * step + h * p->d;
                define_row(c, i, t, h, q + row, k + key, v + key, r + h * p->d, y + row);
            }
    return y;
}

/* f32: a score is a sum of d products and errs by some 2^-22, which is the relative error of a
 * weight, squared 6e-14; 40 times as large a scale makes scores as much larger and errors too.
 * bf16: weights may be rounded before they multiply v, and y is: 2^-8 each at most, squared
 * 1.6e-5. */
static double tolerance(sa2_dtype dtype, float scale)
{
    if (dtype == SA2_BF16)
        return 3.2e-5;
    return scale > 1.0f ? 1e-9 : 1e-12;
}

static void attention_matches_its_definition(void **state)
{
    test_env *env = *state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int b = 0; b < 2 * env->n_streams; b++) {
            sa2_dtype dtype = b % 2 == 0 ? SA2_F32 : SA2_BF16;
            sa2_stream *s = env->streams[b / 2];
            call c = make_call(env, dtype, &shapes[i]);
            double *want = define(env, &c);
            sa2_tensor y = make_y(env, dtype, &c);
            char what[32];
            snprintf(what, sizeof what, "attention, shape %d", i);
            sa2_attention(s, arguments(&c, y));
            assert_close(env, s, what, &y, want, tolerance(dtype, shapes[i].scale));
            if (dtype == SA2_BF16) { /* y in f32 rounds once less */
                sa2_tensor exact = make_y(env, SA2_F32, &c);
                sa2_attention(s, arguments(&c, exact));
                assert_close(env, s, what, &exact, want, 1.6e-5);
            }
            test_reset(env);
        }
}

/* The keys of all sequences cut into segments of `length`, each with strides of its own. */
static void cut_keys(test_env *env, const call *c, int64_t length, sa2_key_segment *segments,
                     int32_t *counts)
{
    int n = 0;
    for (int i = 0; i < c->shape->n; i++) {
        counts[i] = 0;
        for (int64_t at = 0; at < c->shape->keys[i]; at += length, counts[i]++) {
            int64_t rows = c->shape->keys[i] - at < length ? c->shape->keys[i] - at : length;
            sa2_tensor k = sa2_tensor_rows(c->k, c->keys[i] + at, rows);
            sa2_tensor v = sa2_tensor_rows(c->v, c->keys[i] + at, rows);
            segments[n] = (sa2_key_segment){.k = test_copy(env, &k), .v = v};
            if (n % 2 == 1)
                segments[n] = (sa2_key_segment){.k = k, .v = test_copy(env, &v)};
            n++;
        }
    }
}

static void keys_in_segments_give_the_bits_of_keys_in_one_piece(void **state)
{
    test_env *env = *state;
    static const int lengths[] = {1, 16, 23, 64, 100};
    for (int i = 0; i < N_SHAPES; i++)
        for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
            for (int b = 0; b < 2 * env->n_streams; b++) {
                if (shapes[i].keys[0] / lengths[l] > 100 ||
                    (test_is_simulated(env, b / 2) &&
                     ((size_t)i + l) % 3 != 0)) /* it takes its time */
                    continue;
                sa2_stream *s = env->streams[b / 2];
                sa2_dtype dtype = b % 2 == 0 ? SA2_F32 : SA2_BF16;
                call c = make_call(env, dtype, &shapes[i]);
                sa2_tensor whole = make_y(env, dtype, &c), y = make_y(env, dtype, &c);
                sa2_attention(s, arguments(&c, whole));
                sa2_key_segment segments[256] = {0};
                int32_t counts[MAX_SEQUENCES];
                cut_keys(env, &c, lengths[l], segments, counts);
                sa2_attention_args a = arguments(&c, y);
                a.k = a.v = (sa2_tensor){0};
                a.segments = segments;
                a.keys.offsets = test_offsets(env, c.shape->n, counts);
                sa2_attention(s, a);
                sa2_error err = {0};
                if (sa2_stream_finish(s, &err) != SA2_OK)
                    fail_msg("%s", err.message);
                assert_same_bits("segments", &y, &whole);
                test_reset(env);
            }
}

/* Query rows [from, from + n) of sequence i alone, over its own keys. */
static void run_part(test_env *env, sa2_stream *s, const call *c, int i, int from, int n,
                     sa2_tensor y)
{
    shape one = {.heads = c->shape->heads,
                 .d = c->shape->d,
                 .n = 1,
                 .queries = {n},
                 .keys = {c->shape->keys[i]},
                 .visible = {c->shape->visible[i]},
                 .relative = c->shape->relative,
                 .first = {c->shape->first[i] + from},
                 .scale = c->shape->scale};
    call part = *c;
    part.shape = &one;
    part.q = sa2_tensor_rows(c->q, c->queries[i] + from, n);
    part.k = sa2_tensor_rows(c->k, c->keys[i], one.keys[0]);
    part.v = sa2_tensor_rows(c->v, c->keys[i], one.keys[0]);
    part.queries = test_offsets(env, 1, one.queries);
    part.keys = test_offsets(env, 1, one.keys);
    sa2_attention(s, arguments(&part, sa2_tensor_rows(y, c->queries[i] + from, n)));
}

static void a_row_has_the_same_bits_in_any_company(void **state)
{
    test_env *env = *state;
    static const int cuts[] = {1, 7, 16, 32};
    for (int i = 0; i < N_SHAPES; i++)
        for (size_t j = 0; j < sizeof cuts / sizeof cuts[0]; j++)
            for (int b = 0; b < 2 * env->n_streams; b++) {
                if (test_is_simulated(env, b / 2) && ((size_t)i + j) % 3 != 0)
                    continue;
                sa2_stream *s = env->streams[b / 2];
                sa2_dtype dtype = b % 2 == 0 ? SA2_F32 : SA2_BF16;
                call c = make_call(env, dtype, &shapes[i]);
                sa2_tensor whole = make_y(env, dtype, &c), y = make_y(env, dtype, &c);
                sa2_attention(s, arguments(&c, whole));
                for (int q = 0; q < c.shape->n; q++)
                    for (int at = 0; at < c.shape->queries[q]; at += cuts[j]) {
                        int rest = c.shape->queries[q] - at;
                        run_part(env, s, &c, q, at, rest < cuts[j] ? rest : cuts[j], y);
                    }
                sa2_error err = {0};
                if (sa2_stream_finish(s, &err) != SA2_OK)
                    fail_msg("%s", err.message);
                assert_same_bits("rows alone", &y, &whole);
                test_reset(env);
            }
}

static void threads_do_not_change_a_bit(void **state)
{
    test_env *env = *state;
    test_env three;
    test_env_open_all(&three, 3);
    for (int i = 0; i < N_SHAPES; i++)
        for (int b = 0; b < 2 * env->n_streams; b++) {
            sa2_dtype dtype = b % 2 == 0 ? SA2_F32 : SA2_BF16;
            call c = make_call(env, dtype, &shapes[i]);
            sa2_tensor one = make_y(env, dtype, &c), many = make_y(env, dtype, &c);
            sa2_attention(env->streams[b / 2], arguments(&c, one));
            sa2_attention(three.streams[b / 2], arguments(&c, many));
            assert_int_equal(sa2_stream_finish(env->streams[b / 2], NULL), SA2_OK);
            assert_int_equal(sa2_stream_finish(three.streams[b / 2], NULL), SA2_OK);
            assert_same_bits("threads", &many, &one);
            test_reset(env);
        }
    test_env_close(&three);
}

static void a_nan_stays_in_the_rows_that_see_it(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < 2 * env->n_streams; b++) {
        sa2_stream *s = env->streams[b / 2];
        sa2_dtype dtype = b % 2 == 0 ? SA2_F32 : SA2_BF16;
        call c = make_call(env, dtype, &shapes[0]);
        sa2_tensor before = make_y(env, SA2_F32, &c), after = make_y(env, SA2_F32, &c);
        sa2_attention(s, arguments(&c, before));
        sa2_tensor row = sa2_tensor_rows(c.q, 33, 1);
        memset(row.data, 0xff,
               (size_t)row.shape[1] * (size_t)row.shape[2] * sa2_dtype_bytes(dtype));
        sa2_attention(s, arguments(&c, after));
        assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
        sa2_tensor above = sa2_tensor_rows(after, 0, 33), was = sa2_tensor_rows(before, 0, 33);
        assert_same_bits("rows above", &above, &was);
        above = sa2_tensor_rows(after, 34, 36), was = sa2_tensor_rows(before, 34, 36);
        assert_same_bits("rows below", &above, &was);
        for (int i = 0; i < 2 * 64; i++)
            assert_true(isnan(((const float *)after.data)[33 * 2 * 64 + i]));
        test_reset(env);
    }
}

static void bad_arguments_are_refused_by_name(void **state)
{
    test_env *env = *state;
    sa2_stream *s = env->streams[0];
    call c = make_call(env, SA2_F32, &shapes[8]);
    sa2_tensor y = make_y(env, SA2_F32, &c);
    sa2_key_segment segments[2] = {
        {sa2_tensor_rows(c.k, 0, 50), sa2_tensor_rows(c.v, 0, 50)},
        {sa2_tensor_rows(c.k, 50, 90), sa2_tensor_rows(c.v, 50, 90)},
    };
    int32_t too_many[] = {51, 90}, far[] = {41, 84}, two[] = {0, 1, 2};
    for (int i = 0; i < 8; i++) {
        static const char *const words[] = {
            "more visible keys than keys",
            "distances beyond the table r",
            "u, w, r and first_position come together",
            "offsets do not cover the queries",
            "offsets do not cover the keys",
            "keys are in k and v, or in segments, not in both",
            "segments k, v [keys, heads, d] in the dtype of q expected",
            "attention: heads of 1025, up to 1024 are possible",
        };
        sa2_attention_args a = arguments(&c, y);
        a.segments = i == 5 || i == 6 ? segments : NULL;
        if (i == 0)
            a.n_visible = too_many;
        else if (i == 1)
            a.first_position = far;
        else if (i == 2)
            a.w = (sa2_tensor){0};
        else if (i == 3)
            a.q = a.y = sa2_tensor_rows(y, 0, 55);
        else if (i == 4)
            a.k = a.v = sa2_tensor_rows(c.k, 0, 139);
        else if (i == 6) {
            a.k = a.v = (sa2_tensor){0};
            a.keys.offsets = two;
            segments[1].v.shape[0]--;
        } else if (i == 7) {
            static const shape wide = {1, 1025, 1, {1}, {1}, {1}, .scale = 1.0f};
            call w = make_call(env, SA2_F32, &wide);
            a = arguments(&w, make_y(env, SA2_F32, &w));
        }
        sa2_attention(s, a);
        assert_refused(s, words[i]);
    }
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
        cmocka_unit_test(attention_matches_its_definition),
        cmocka_unit_test(keys_in_segments_give_the_bits_of_keys_in_one_piece),
        cmocka_unit_test(a_row_has_the_same_bits_in_any_company),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(a_nan_stays_in_the_rows_that_see_it),
        cmocka_unit_test(bad_arguments_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
