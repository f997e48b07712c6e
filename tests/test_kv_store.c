/* A cache in 8 bits holds the same numbers and steps on every device, bit by bit; only values lie in another order. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/kv_page.h"
#include "tests/support/test_env.h"

enum { N = 2, KV_HEADS = 2, PAGES = 6, EDGES = 16 };

/* Two sequences, one of which has two pages and a few positions already. */
static const int32_t rows_of[N] = {37, 11}, first_of[N] = {9, 0};
enum { ROWS = 37 + 11, MAX_PAGES = 3 };

/* ---- what is stored ---- */

static void set(const sa2_tensor *x, int64_t row, int64_t col, float value)
{
    if (x->dtype == SA2_F32)
        ((float *)x->data)[row * x->stride + col] = value;
    else
        ((uint16_t *)x->data)[row * x->stride + col] = sa2_f32_to_bf16(value);
}

static float get(const sa2_tensor *x, int64_t row, int64_t col)
{
    return x->dtype == SA2_F32
               ? ((const float *)x->data)[row * x->stride + col]
               : sa2_bf16_to_f32(((const uint16_t *)x->data)[row * x->stride + col]);
}

/* The largest magnitude of a row, where 8 bits have an end or a tie between two numbers; the others are below it. */
static const float edges[EDGES] = {
    0.0f,         0x1p-100f, 0x1.fep-101f, 0x1p-101f, 0x1p-140f, -0x1p-99f, 0x1p120f, 0x1.fep127f,
    -0x1.fep127f, INFINITY,  -INFINITY,    NAN,       127.0f,    -254.0f,   63.5f,    0x1.02p-20f};

/* Row r of every head: some as they are, some of another size, some with an edge. */
static sa2_tensor make_rows(test_env *env, sa2_dtype dtype, int d, int first_edge)
{
    sa2_tensor wide = test_random(env, dtype, ROWS, KV_HEADS * d + 24);
    sa2_tensor x = sa2_tensor_cols(wide, 8, KV_HEADS * d);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < KV_HEADS * d; c++) {
            float edge = edges[(first_edge + r) % EDGES];
            float size = isfinite(edge) ? fabsf(edge) : 1.0f;
            if (r % 3 == 1)
                set(&x, r, c, ldexpf(get(&x, r, c), 7 * r - 150));
            if (r % 3 == 2) /* halves of steps */
                set(&x, r, c, c % d == r % d ? edge : size * (float)(c % 253 - 126) / 254.0f);
        }
    return x;
}

/* As ops.h says it. */
static void define(int8_t *numbers, float *step, const sa2_tensor *x, int64_t row, int64_t col,
                   int d)
{
    float largest = 0.0f;
    bool finite = true;
    for (int e = 0; e < d; e++) {
        finite = finite && isfinite(get(x, row, col + e));
        largest = fmaxf(largest, fabsf(get(x, row, col + e)));
    }
    bool some = finite && largest >= 0x1p-100f;
    for (int e = 0; e < d; e++)
        numbers[e] = some ? (int8_t)rintf(get(x, row, col + e) * (127.0f / largest)) : 0;
    *step = !finite ? NAN : some ? largest / 127.0f : 0.0f;
}

/* ---- what is there ---- */

typedef struct stored {
    sa2_kv_cache_view view;
    int32_t *table; /* [N, MAX_PAGES] */
    int unit;       /* of positions, in which values lie transposed; 0: in rows */
} stored;

static stored store(test_env *env, int stream, int page_size, const sa2_tensor *k,
                    const sa2_tensor *v)
{
    int d = (int)k->shape[1] / KV_HEADS;
    stored c = {.view = {.n_pages = PAGES,
                         .page_size = page_size,
                         .kv_heads = KV_HEADS,
                         .head_dim = d,
                         .dtype = SA2_I8}};
    size_t bytes = PAGES * sa2_kv_page_bytes(&c.view);
    c.view.pages = test_doubles(env, (int64_t)(bytes + 7) / 8);
    memset(c.view.pages, 0xee, bytes);
    c.table = test_ids(env, PAGES, 1).data;
    for (int i = 0; i < PAGES; i++)
        c.table[i] = (5 * i + 2) % PAGES;
    bool on_cpu = strcmp(sa2_backend_device(env->backends[stream]), "cpu") == 0;
    c.unit = on_cpu ? sa2_kv_unit(&c.view) : 0;
    sa2_paged_rows where = {.rows = {N, test_offsets(env, N, rows_of)},
                            .first_position = first_of,
                            .block_table = c.table,
                            .max_pages = MAX_PAGES};
    sa2_error err = {0};
    sa2_kv_store(env->streams[stream], &c.view, sa2_tensor_heads(*k, KV_HEADS),
                 sa2_tensor_heads(*v, KV_HEADS), &where);
    if (sa2_stream_finish(env->streams[stream], &err) != SA2_OK)
        fail_msg("%s", err.message);
    return c;
}

static void assert_row(const char *what, int row, const int8_t *found, int64_t apart,
                       const float *found_step, const sa2_tensor *x, int64_t col, int d)
{
    int8_t numbers[256];
    float step;
    define(numbers, &step, x, row, col, d);
    if (memcmp(found_step, &step, sizeof step) != 0 && !(isnan(step) && isnan(*found_step)))
        fail_msg("%s, row %d: a step of %a expected, found %a", what, row, (double)step,
                 (double)*found_step);
    for (int e = 0; e < d; e++)
        if (found[e * apart] != numbers[e])
            fail_msg("%s, row %d: element %d is %d, expected %d", what, row, e, found[e * apart],
                     numbers[e]);
}

static void assert_stored(const stored *c, const sa2_tensor *k, const sa2_tensor *v)
{
    int d = c->view.head_dim, size = c->view.page_size;
    for (int i = 0, row = 0; i < N; i++)
        for (int r = 0; r < rows_of[i]; r++, row++)
            for (int h = 0; h < KV_HEADS; h++) {
                int position = first_of[i] + r, slot = position % size;
                sa2_kv_head head =
                    sa2_kv_head_of(&c->view, c->table[i * MAX_PAGES + position / size], h);
                const int8_t *values = (const int8_t *)head.v;
                values += c->unit == 0 ? slot * d : slot / c->unit * c->unit * d + slot % c->unit;
                assert_row("keys", row, (const int8_t *)head.k + slot * d, 1, &head.k_steps[slot],
                           k, h * d, d);
                assert_row("values", row, values, c->unit == 0 ? 1 : c->unit, &head.v_steps[slot],
                           v, h * d, d);
            }
}

static void every_device_stores_the_numbers_and_steps_of_the_contract(void **state)
{
    test_env *env = *state;
    static const int dims[] = {128, 64, 40, 10, 1}, sizes[] = {16, 32, 48};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++)
        for (int b = 0; b < 2 * env->n_streams; b++) {
            sa2_dtype dtype = b % 2 == 0 ? SA2_F32 : SA2_BF16;
            sa2_tensor k = make_rows(env, dtype, dims[i], 0), v = make_rows(env, dtype, dims[i], 5);
            stored c = store(env, b / 2, sizes[i % 3], &k, &v);
            assert_stored(&c, &k, &v);
            test_reset(env);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_device_stores_the_numbers_and_steps_of_the_contract),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
