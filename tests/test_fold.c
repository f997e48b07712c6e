/* Weight norm and batch norm, folded: against their definitions, and what cannot be folded. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/limits.h"
#include "loader/fold.h"

static const char g_name[] = "up.parametrizations.weight.original0";
static const char v_name[] = "up.parametrizations.weight.original1";

/* Every test gets an empty map. */
static int create(void **state)
{
    sa2_tensor_map *map = NULL;
    sa2_status st = sa2_tensor_map_create(&map, NULL);
    *state = map;
    return st != SA2_OK;
}

static int destroy(void **state)
{
    sa2_tensor_map_destroy(*state);
    return 0;
}

static void add(sa2_tensor_map *map, const char *name, sa2_tensor tensor)
{
    assert_int_equal(sa2_tensor_map_add(map, name, "f", tensor, NULL), SA2_OK);
}

static void add_vector(sa2_tensor_map *map, const char *name, float *values, int64_t n)
{
    add(map, name, sa2_tensor_1d(values, SA2_F32, n));
}

/* The values of a tensor of that shape, in one piece and in pieces of 1. */
static const float *expect(sa2_tensor_map *map, const char *name, int ndim, const int64_t *shape)
{
    sa2_tensor tensor;
    sa2_error err = {0};
    sa2_tensor_map_expect(map, name, ndim, shape, &tensor, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(tensor.dtype, SA2_F32);
    const float *values = tensor.data;
    for (int64_t i = 0; i < sa2_tensor_count(&tensor); i++) {
        float one = NAN;
        sa2_tensor_map_read(map, sa2_tensor_map_find(map, name), i, 1, &one, &err);
        assert_true(one == values[i]);
    }
    return values;
}

static void expect_values(const float *found, const float *want, int n)
{
    for (int i = 0; i < n; i++)
        if (found[i] != want[i])
            fail_msg("element %d: %.9g found, %.9g expected", i, (double)found[i], (double)want[i]);
}

/* ---- weight norm ---- */

static void weights_have_the_length_g_and_the_direction_v(void **state)
{
    sa2_tensor_map *map = *state;
    float g[] = {10, -2};
    float v[] = {3, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1}; /* lengths 5 and the root of 2 */
    const float half = 0x1.6a09e6p0f;                  /* 2 / sqrt(2), nearest f32 */
    const float want[] = {6, 8, 0, 0, 0, 0, -half, 0, 0, 0, 0, half};
    add(map, g_name, sa2_tensor_3d(g, SA2_F32, 2, 1, 1));
    add(map, v_name, sa2_tensor_3d(v, SA2_F32, 2, 2, 3));
    assert_int_equal(sa2_fold_weight_norm(map, NULL), SA2_OK);
    expect_values(expect(map, "up.weight", 3, (int64_t[]){2, 2, 3}), want, 12);
    assert_int_equal(sa2_tensor_map_unused(map, NULL), SA2_OK); /* g and v count as used */
    assert_string_equal(sa2_tensor_map_find(map, "up.weight")->origin, "f");
}

static void both_namings_are_folded_and_other_tensors_left_alone(void **state)
{
    sa2_tensor_map *map = *state;
    float g[] = {1, 2, 3}, v[] = {2, -4, 8}, other[] = {7};
    add_vector(map, "a.weight_g", g, 3);
    add_vector(map, "a.weight_v", v, 3);
    add_vector(map, "b.bias", other, 1);
    add_vector(map, "weight_g_of_nothing", other, 1);
    assert_int_equal(sa2_fold_weight_norm(map, NULL), SA2_OK);
    assert_int_equal(sa2_tensor_map_count(map), 5);
    expect_values(expect(map, "a.weight", 1, (int64_t[]){3}), (float[]){1, -2, 3}, 3);
}

/* A row is longer than what is read at a time, so its length is summed over pieces. */
static void long_rows_have_one_length(void **state)
{
    sa2_tensor_map *map = *state;
    enum { N = 5000 };
    static float v[2 * N];
    float g[] = {1, 1};
    for (int i = 0; i < 2 * N; i++)
        v[i] = (float)(i % 7 - 3) * (i < N ? 1.0f : 0.25f);
    double sum = 0.0;
    for (int i = N; i < 2 * N; i++)
        sum += (double)v[i] * (double)v[i];
    add_vector(map, "a.weight_g", g, 2);
    add(map, "a.weight_v", sa2_tensor_2d(v, SA2_F32, 2, N));
    assert_int_equal(sa2_fold_weight_norm(map, NULL), SA2_OK);
    float found[4];
    const sa2_tensor_entry *entry = sa2_tensor_map_find(map, "a.weight");
    assert_int_equal(sa2_tensor_map_read(map, entry, 2 * N - 4, 4, found, NULL), SA2_OK);
    for (int i = 0; i < 4; i++)
        assert_true(found[i] == (float)((double)v[2 * N - 4 + i] / sqrt(sum)));
}

static void a_direction_of_zeros_is_refused_when_it_is_used(void **state)
{
    sa2_tensor_map *map = *state;
    float g[] = {1}, v[] = {0, 0};
    sa2_tensor tensor;
    sa2_error err = {0};
    add_vector(map, "a.weight_g", g, 1);
    add(map, "a.weight_v", sa2_tensor_2d(v, SA2_F32, 1, 2));
    assert_int_equal(sa2_fold_weight_norm(map, NULL), SA2_OK);
    assert_int_equal(sa2_tensor_map_expect(map, "a.weight", 2, (int64_t[]){1, 2}, &tensor, &err),
                     SA2_ERR_FORMAT);
    assert_string_equal(err.message, "a.weight: NaN or infinity at element 0 in f");
}

static void all_pairs_that_do_not_fit_are_one_report(void **state)
{
    sa2_tensor_map *map = *state;
    float values[6] = {1, 1, 1, 1, 1, 1};
    uint16_t halves[2] = {0x3f80, 0x3f80};
    sa2_error err = {0};
    add_vector(map, "a.weight_g", values, 1);
    add_vector(map, "b.parametrizations.weight.original1", values, 1);
    add_vector(map, "c.weight_g", values, 3);
    add(map, "c.weight_v", sa2_tensor_2d(values, SA2_F32, 2, 3));
    add_vector(map, "d.weight_g", values, 2);
    add(map, "d.weight_v", sa2_tensor_1d(halves, SA2_BF16, 2));
    add_vector(map, "e.weight_g", values, 2);
    add_vector(map, "e.weight_v", values, 2);
    add_vector(map, "e.weight", values, 2);
    assert_int_equal(sa2_fold_weight_norm(map, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message, "a.weight_v is missing beside its .weight_g\n"
                                     "b.parametrizations.weight.original0 is missing beside its "
                                     ".parametrizations.weight.original1\n"
                                     "c.weight_g in f: 2 of f32 expected, f32 [3] found\n"
                                     "d.weight_v in f: 2 of f32 expected, bf16 [2] found\n"
                                     "e.weight: in f and again in f");
}

/* ---- batch norm ---- */

static void batch_norm_becomes_scale_and_shift(void **state)
{
    sa2_tensor_map *map = *state;
    float mean[] = {1, -2}, var[] = {3, 0}, weight[] = {4, 0.5f}, bias[] = {0.25f, 8};
    add_vector(map, "n.running_mean", mean, 2);
    add_vector(map, "n.running_var", var, 2);
    add_vector(map, "n.weight", weight, 2);
    add_vector(map, "n.bias", bias, 2);
    assert_int_equal(sa2_fold_batch_norm(map, 1.0, NULL), SA2_OK);
    /* 4 / sqrt(3 + 1), 0.5 / sqrt(0 + 1); 0.25 - 1 * 2, 8 + 2 * 0.5 */
    expect_values(expect(map, "n.scale", 1, (int64_t[]){2}), (float[]){2, 0.5f}, 2);
    expect_values(expect(map, "n.shift", 1, (int64_t[]){2}), (float[]){-1.75f, 9}, 2);
    assert_int_equal(sa2_tensor_map_unused(map, NULL), SA2_OK);
}

static void without_weight_and_bias_they_are_one_and_zero(void **state)
{
    sa2_tensor_map *map = *state;
    float mean[] = {3}, var[] = {0.25f};
    add_vector(map, "n.running_mean", mean, 1);
    add_vector(map, "n.running_var", var, 1);
    assert_int_equal(sa2_fold_batch_norm(map, 0.0, NULL), SA2_OK);
    expect_values(expect(map, "n.scale", 1, (int64_t[]){1}), (float[]){2}, 1);
    expect_values(expect(map, "n.shift", 1, (int64_t[]){1}), (float[]){-6}, 1);
}

/* eps has a part in f64: 1e-5 is no f32. */
static void eps_is_added_to_the_variance_in_double(void **state)
{
    sa2_tensor_map *map = *state;
    float mean[] = {0}, var[] = {0};
    add_vector(map, "n.running_mean", mean, 1);
    add_vector(map, "n.running_var", var, 1);
    assert_int_equal(sa2_fold_batch_norm(map, 1e-5, NULL), SA2_OK);
    expect_values(expect(map, "n.scale", 1, (int64_t[]){1}), (float[]){(float)(1 / sqrt(1e-5))}, 1);
}

static void a_variance_below_zero_is_refused_when_it_is_used(void **state)
{
    sa2_tensor_map *map = *state;
    float mean[] = {0, 0}, var[] = {1, -1};
    sa2_tensor tensor;
    sa2_error err = {0};
    add_vector(map, "n.running_mean", mean, 2);
    add_vector(map, "n.running_var", var, 2);
    assert_int_equal(sa2_fold_batch_norm(map, 1e-5, NULL), SA2_OK);
    assert_int_equal(sa2_tensor_map_expect(map, "n.scale", 1, (int64_t[]){2}, &tensor, &err),
                     SA2_ERR_FORMAT);
    assert_string_equal(err.message, "n.scale: NaN or infinity at element 1 in f");
}

static void all_norms_that_lack_something_are_one_report(void **state)
{
    sa2_tensor_map *map = *state;
    float values[3] = {1, 1, 1};
    sa2_error err = {0};
    add_vector(map, "a.running_mean", values, 2);
    add_vector(map, "b.running_var", values, 2);
    add_vector(map, "c.running_mean", values, 2);
    add_vector(map, "c.running_var", values, 3);
    add_vector(map, "d.running_mean", values, 2);
    add_vector(map, "d.running_var", values, 2);
    add_vector(map, "d.bias", values, 2);
    assert_int_equal(sa2_fold_batch_norm(map, 1e-5, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message, "a.running_var is missing\n"
                                     "b.running_mean is missing\n"
                                     "c.running_var in f: 2 of f32 expected, f32 [3] found\n"
                                     "d.weight is missing");
}

static void a_name_without_room_for_the_new_end_is_refused(void **state)
{
    sa2_tensor_map *map = *state;
    float values[1] = {1};
    char name[SA2_LIMIT_TENSOR_NAME_BYTES + 1];
    sa2_error err = {0};
    memset(name, 'n', sizeof name);
    strcpy(name + sizeof name - sizeof ".weight_g", ".weight_g");
    add_vector(map, name, values, 1);
    name[sizeof name - 2] = 'v';
    add_vector(map, name, values, 1);
    assert_int_equal(sa2_fold_weight_norm(map, &err), SA2_OK); /* ".weight" is shorter */
    memcpy(name + sizeof name - sizeof ".running_var", ".running_var", sizeof ".running_var");
    add_vector(map, name, values, 1);
    assert_int_equal(sa2_fold_batch_norm(map, 1e-5, &err), SA2_ERR_FORMAT); /* no room for _mean */
    assert_non_null(strstr(err.message, ".running_mean is missing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(weights_have_the_length_g_and_the_direction_v, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(both_namings_are_folded_and_other_tensors_left_alone,
                                        create, destroy),
        cmocka_unit_test_setup_teardown(long_rows_have_one_length, create, destroy),
        cmocka_unit_test_setup_teardown(a_direction_of_zeros_is_refused_when_it_is_used, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(all_pairs_that_do_not_fit_are_one_report, create, destroy),
        cmocka_unit_test_setup_teardown(batch_norm_becomes_scale_and_shift, create, destroy),
        cmocka_unit_test_setup_teardown(without_weight_and_bias_they_are_one_and_zero, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(eps_is_added_to_the_variance_in_double, create, destroy),
        cmocka_unit_test_setup_teardown(a_variance_below_zero_is_refused_when_it_is_used, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(all_norms_that_lack_something_are_one_report, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(a_name_without_room_for_the_new_end_is_refused, create,
                                        destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
