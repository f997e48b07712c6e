/* Orders of weight matrices: what was written in one comes back row by row, or the nearest to it that it can hold. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/layout.h"
#include "tests/support/test_env.h"

static const sa2_dtype dtypes[] = {SA2_F32, SA2_BF16};

/* One row, a block and a bit, whole blocks; columns that fill no tile, one tile, two and a bit. */
static const int64_t shapes[][2] = {{1, 1}, {17, 31}, {32, 32}, {50, 65}, {96, 7}};

static void expect_row(const sa2_layout *layout, const sa2_matrix *w, sa2_matrix_half half,
                       int64_t row, const sa2_tensor *src)
{
    size_t bytes = (size_t)w->cols * sa2_dtype_bytes(w->dtype);
    unsigned char *found = malloc(bytes + 1);
    assert_non_null(found);
    found[bytes] = 0xa5;
    layout->read_row(found, w, half, row);
    assert_memory_equal(found, (const char *)src->data + (size_t)row * bytes, bytes);
    assert_int_equal(found[bytes], 0xa5);
    free(found);
}

static void rows_come_back_bit_by_bit(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++)
        for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
            for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
                sa2_stream *s = env->streams[b];
                int64_t rows = shapes[i][0], cols = shapes[i][1];
                const sa2_layout *layout = sa2_stream_layout(s, dtypes[d]);
                sa2_tensor src = test_random(env, dtypes[d], rows, cols);
                sa2_matrix w = test_matrix(env, s, dtypes[d], rows, cols);
                sa2_matrix_write(s, &w, 0, src);
                assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
                assert_int_equal(layout->bytes(rows, cols),
                                 sa2_matrix_bytes(s, dtypes[d], rows, cols));
                for (int64_t row = 0; row < rows; row++)
                    expect_row(layout, &w, SA2_MATRIX_ALL, row, &src);
                test_reset(env);
            }
}

static void halves_come_back(test_env *env, sa2_stream *s, sa2_dtype dtype, int64_t rows,
                             int64_t cols)
{
    const sa2_layout *layout = sa2_stream_layout(s, dtype);
    sa2_tensor gate = test_random(env, dtype, rows, cols), up = test_random(env, dtype, rows, cols);
    sa2_matrix w = test_matrix(env, s, dtype, 2 * rows, cols);
    sa2_matrix_write_swiglu(s, &w, gate, up);
    assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
    for (int64_t row = 0; row < rows; row++) {
        expect_row(layout, &w, SA2_MATRIX_GATE, row, &gate);
        expect_row(layout, &w, SA2_MATRIX_UP, row, &up);
    }
    test_reset(env);
}

static void gate_and_up_come_back_apart(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++)
        for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
            for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
                halves_come_back(env, env->streams[b], dtypes[d], shapes[i][0], shapes[i][1]);
}

/* ---- rounded to steps ---- */

static float largest(const float *values, int64_t n)
{
    float most = 0.0f;
    for (int64_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(values[i]));
    return most;
}

/* The largest value of a row is 127 steps; every other one is within half a step. */
static void expect_near_i8(const float *found, const float *want, int64_t n)
{
    float step = largest(want, n) / 127.0f;
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(found[i] - want[i]) <= 0.50001f * step))
            fail_msg("value %d: %g expected, %g found, a step is %g", (int)i, (double)want[i],
                     (double)found[i], (double)step);
}

/* Steps of a group of 64 columns are a multiple of the row's largest value / 112, and 7 of them reach the group's largest:
 * so the mean square is below that of half such steps, for what is cut off is only cut off where that costs less. */
static void expect_near_i4(const float *found, const float *want, int64_t n)
{
    float row = largest(want, n) / 112.0f;
    for (int64_t at = 0; at < n; at += 64) {
        int64_t m = n - at < 64 ? n - at : 64;
        float step = row * ceilf(largest(want + at, m) / (7.0f * row)), sum = 0.0f;
        for (int64_t i = at; i < at + m; i++)
            sum += (found[i] - want[i]) * (found[i] - want[i]);
        if (!(sum <= 0.25001f * step * step * (float)m))
            fail_msg("columns from %d: mean square %g, a step is %g", (int)at,
                     (double)(sum / (float)m), (double)step);
    }
}

/* A value is within a 16th of itself, or within half the smallest step of its group of 32 columns. */
static void expect_near_e4m3(const float *found, const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i / 32 * 32, m = n - at < 32 ? n - at : 32;
        float power = exp2f(ceilf(log2f(largest(want + at, m) / 448.0f)));
        float off = fabsf(found[i] - want[i]);
        if (!(off <= fmaxf(fabsf(want[i]) / 16.0f, 0x1p-10f * power)))
            fail_msg("value %d: %g expected, %g found, the group's power is %g", (int)i,
                     (double)want[i], (double)found[i], (double)power);
    }
}

static void rounded_rows_come_back_near(void **state)
{
    static const struct {
        sa2_dtype dtype;
        void (*expect)(const float *found, const float *want, int64_t n);
    } kinds[] = {{SA2_I8, expect_near_i8}, {SA2_I4, expect_near_i4}, {SA2_E4M3, expect_near_e4m3}};
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    test_env *env = *state;
    for (int b = 0; b < env->n_streams * KINDS; b++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            sa2_stream *s = env->streams[b / KINDS];
            sa2_dtype dtype = kinds[b % KINDS].dtype;
            int64_t rows = shapes[i][0], cols = shapes[i][1];
            const sa2_layout *layout = sa2_stream_layout(s, dtype);
            sa2_tensor gate = test_random(env, SA2_F32, rows, cols);
            sa2_tensor up = test_random(env, SA2_F32, rows, cols);
            sa2_matrix plain = test_matrix(env, s, dtype, rows, cols);
            sa2_matrix both = test_matrix(env, s, dtype, 2 * rows, cols);
            float *found = malloc((size_t)cols * sizeof *found);
            memset(gate.data, 0, (size_t)cols / 2 * sizeof(float)); /* half a row of zeros */
            sa2_matrix_write(s, &plain, 0, gate);
            sa2_matrix_write_swiglu(s, &both, gate, up);
            assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
            assert_int_equal(layout->bytes(rows, cols), sa2_matrix_bytes(s, dtype, rows, cols));
            for (int64_t row = 0; row < rows; row++) {
                const float *g = (const float *)gate.data + row * cols;
                layout->read_row(found, &plain, SA2_MATRIX_ALL, row);
                kinds[b % KINDS].expect(found, g, cols);
                layout->read_row(found, &both, SA2_MATRIX_GATE, row);
                kinds[b % KINDS].expect(found, g, cols);
                layout->read_row(found, &both, SA2_MATRIX_UP, row);
                kinds[b % KINDS].expect(found, (const float *)up.data + row * cols, cols);
            }
            free(found);
            test_reset(env);
        }
}

/* Bit by bit; rows of zeros and rows next to nothing too. */
static void every_device_rounds_to_the_same_numbers(void **state)
{
    test_env *env = *state;
    static const sa2_dtype rounded[] = {SA2_I8, SA2_I4, SA2_E4M3};
    static const int64_t sizes[][2] = {{1, 1}, {17, 31}, {50, 65}, {33, 700}, {3, 9000}};
    for (size_t i = 0; i < 6 * sizeof sizes / sizeof sizes[0]; i++) {
        int64_t rows = sizes[i / 6][0], cols = sizes[i / 6][1];
        sa2_dtype dtype = rounded[i % 3], from = i / 3 % 2 ? SA2_BF16 : SA2_F32;
        float *want = malloc((size_t)cols * sizeof *want),
              *found = malloc((size_t)cols * sizeof *found);
        sa2_tensor src = test_random(env, from, rows, cols);
        for (int64_t at = 0; at < rows * cols; at++) {
            int64_t row = at / cols; /* magnitudes of a group differ, as a factor has use for */
            float value = (float)(test_uniform(env) *
                                  (row == 1   ? 0.0
                                   : row == 2 ? 1e-31
                                              : 1.0) *
                                  (1.0 + (double)(at % cols / 64 % 5)));
            if (from == SA2_F32)
                ((float *)src.data)[at] = value;
            else
                ((uint16_t *)src.data)[at] = sa2_f32_to_bf16(value);
        }
        sa2_matrix first = {0};
        for (int b = 0; b < env->n_streams; b++) {
            sa2_stream *s = env->streams[b];
            sa2_matrix w = test_matrix(env, s, dtype, rows, cols);
            sa2_matrix_write(s, &w, 0, src);
            assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
            if (b == 0)
                first = w;
            for (int64_t row = 0; row < rows; row++) {
                sa2_stream_layout(env->streams[0], dtype)
                    ->read_row(want, &first, SA2_MATRIX_ALL, row);
                sa2_stream_layout(s, dtype)->read_row(found, &w, SA2_MATRIX_ALL, row);
                assert_memory_equal(found, want, (size_t)cols * sizeof *want);
            }
        }
        free(want);
        free(found);
        test_reset(env);
    }
}

/* ---- cuts ---- */

static void expect_cut(const sa2_layout *layout, const sa2_matrix *from, const sa2_matrix *to,
                       const sa2_cut *cut)
{
    size_t width = sa2_dtype_bytes(layout->row_dtype);
    char *want = malloc((size_t)from->cols * width), *found = malloc((size_t)to->cols * width);
    for (int64_t row = 0; row < cut->n; row++) {
        layout->read_row(want, from, cut->half, cut->row + row);
        layout->read_row(found, to, cut->half, cut->to_row + row);
        assert_memory_equal(found, want + (size_t)cut->col * width, (size_t)to->cols * width);
    }
    free(want);
    free(found);
}

/* Bit for bit what a matrix of those rows and columns has, where that was written by itself. */
static void a_cut_is_the_matrix_of_its_rows_and_columns(void **state)
{
    test_env *env = *state;
    static const sa2_dtype all[] = {SA2_F32, SA2_BF16, SA2_I8, SA2_E4M3, SA2_I4};
    static const int64_t units[] = {1, 1, 1, 32, 64}; /* groups of columns are not cut */
    static const struct {
        int64_t cols;
        sa2_cut cut;
    } cases[] = {
        {96, {.row = 32, .n = 64}},              /* whole blocks of rows */
        {96, {.row = 5, .n = 40, .to_row = 18}}, /* any rows, not the first of the new one */
        {32, {.row = 0, .n = 97, .col = 64}},    /* columns */
        {36, {.row = 16, .n = 20, .col = 8}},    /* both */
        {33, {.row = 64, .n = 33, .col = 64}},   /* to the end */
        {64, {.row = 5, .n = 40, .to_row = 18}}, /* a group of columns */
        {64, {.half = SA2_MATRIX_GATE, .row = 32, .n = 16}}, /* of gate and up */
        {64, {.half = SA2_MATRIX_UP, .row = 3, .n = 20, .col = 32}},
    };
    for (int b = 0; b < env->n_streams; b++)
        for (size_t d = 0; d < sizeof all / sizeof all[0]; d++)
            for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                sa2_stream *s = env->streams[b];
                const sa2_layout *layout = sa2_stream_layout(s, all[d]);
                const sa2_cut *cut = &cases[i].cut;
                bool halves = cut->half != SA2_MATRIX_ALL;
                if (layout == NULL || layout->cut == NULL)
                    continue;
                int64_t rows = halves ? 52 : 97, to_rows = cut->to_row + cut->n;
                sa2_tensor src = test_random(env, SA2_F32, rows, 97);
                sa2_tensor up = test_random(env, SA2_F32, rows, 97);
                sa2_matrix from = test_matrix(env, s, all[d], halves ? 2 * rows : rows, 97);
                sa2_matrix to =
                    test_matrix(env, s, all[d], halves ? 2 * to_rows : to_rows, cases[i].cols);
                halves ? sa2_matrix_write_swiglu(s, &from, src, up)
                       : sa2_matrix_write(s, &from, 0, src);
                assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
                bool to_the_end = cut->col + to.cols == 97;
                bool through_a_group =
                    cut->col % units[d] != 0 || (to.cols % units[d] != 0 && !to_the_end);
                assert_int_equal(layout->cut(&to, &from, cut), !through_a_group);
                if (!through_a_group)
                    expect_cut(layout, &from, &to, cut);
                test_reset(env);
            }
}

static void a_cut_through_a_word_is_refused(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++) {
        const sa2_layout *layout = sa2_stream_layout(env->streams[b], SA2_BF16);
        sa2_matrix from = test_matrix(env, env->streams[b], SA2_BF16, 32, 64);
        sa2_matrix to = test_matrix(env, env->streams[b], SA2_BF16, 32, 31);
        if (layout->cut != NULL) {
            assert_false(layout->cut(&to, &from, &(sa2_cut){.n = 32, .col = 1}));
            assert_false(layout->cut(&to, &from, &(sa2_cut){.n = 32, .col = 2}));
        }
        test_reset(env);
    }
}

static void rows_that_lie_together_are_a_matrix_of_their_own(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++)
        for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
            sa2_stream *s = env->streams[b];
            const sa2_layout *layout = sa2_stream_layout(s, dtypes[d]);
            sa2_tensor src = test_random(env, dtypes[d], 200, 65);
            sa2_matrix whole = test_matrix(env, s, dtypes[d], 200, 65);
            sa2_matrix_write(s, &whole, 0, src);
            assert_int_equal(sa2_stream_finish(s, NULL), SA2_OK);
            int64_t first = 2 * layout->rows_together;
            sa2_matrix part = {.data = (char *)whole.data + layout->bytes(first, 65),
                               .dtype = dtypes[d],
                               .rows = 200 - first,
                               .cols = 65};
            if (first > 0)
                expect_cut(layout, &whole, &part, &(sa2_cut){.row = first, .n = 200 - first});
            test_reset(env);
        }
}

static void a_matrix_of_what_is_no_weight_is_refused(void **state)
{
    test_env *env = *state;
    for (int b = 0; b < env->n_streams; b++) {
        sa2_stream *s = env->streams[b];
        sa2_error err = {0};
        sa2_tensor src = test_random(env, SA2_F32, 4, 64);
        sa2_matrix w = test_matrix(env, s, SA2_F32, 4, 64);
        w.dtype = SA2_U8;
        sa2_matrix_write(s, &w, 0, src);
        assert_int_equal(sa2_stream_finish(s, &err), SA2_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, "no matrices of u8"));
        test_reset(env);
    }
}

static void a_rounded_row_that_is_too_long_is_refused(void **state)
{
    test_env *env = *state;
    int64_t cols = (1 << 18) + 1;
    static const sa2_dtype rounded[] = {SA2_I8, SA2_I4, SA2_E4M3};
    static const char *const said[] = {"matrix_write: 262145 columns, one of i8 has up to",
                                       "matrix_write: 262145 columns, one of i4 has up to",
                                       "matrix_write: 262145 columns, one of e4m3 has up to"};
    for (int b = 0; b < 3 * env->n_streams; b++) {
        sa2_stream *s = env->streams[b / 3];
        sa2_tensor src = test_random(env, SA2_BF16, 1, cols);
        sa2_matrix w = test_matrix(env, s, rounded[b % 3], 1, cols);
        sa2_matrix_write(s, &w, 0, src);
        assert_refused(s, said[b % 3]);
        w.rows = 2;
        sa2_matrix_write_swiglu(s, &w, src, src);
        assert_refused(s, "matrix_write: 262145 columns");
        test_reset(env);
    }
}

static void a_layout_is_found_by_its_name(void **state)
{
    test_env *env = *state;
    for (size_t i = 0; i < 2 * (size_t)env->n_streams; i++) {
        size_t d = i % 2;
        const sa2_layout *layout = sa2_stream_layout(env->streams[i / 2], dtypes[d]);
        const sa2_layout *found =
            sa2_layout_find(layout->name); /* of whichever device has that order */
        assert_non_null(found);
        assert_string_equal(found->name, layout->name);
        assert_int_equal(found->dtype, dtypes[d]);
    }
    assert_null(sa2_layout_find("rows"));
    assert_null(sa2_layout_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_bit_by_bit),
        cmocka_unit_test(gate_and_up_come_back_apart),
        cmocka_unit_test(rounded_rows_come_back_near),
        cmocka_unit_test(every_device_rounds_to_the_same_numbers),
        cmocka_unit_test(a_matrix_of_what_is_no_weight_is_refused),
        cmocka_unit_test(a_rounded_row_that_is_too_long_is_refused),
        cmocka_unit_test(a_cut_is_the_matrix_of_its_rows_and_columns),
        cmocka_unit_test(a_cut_through_a_word_is_refused),
        cmocka_unit_test(rows_that_lie_together_are_a_matrix_of_their_own),
        cmocka_unit_test(a_layout_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, test_env_set_up, test_env_tear_down);
}
