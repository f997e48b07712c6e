/* The sweeps over a row do what row_sweeps.h says, in every instruction set of this processor. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/row_sweeps.h"
#include "kernels/token_weights.h"

enum {
    BLOCKS = 37,
    N = BLOCKS * SA2_ROW_BLOCK,
    IN_GROUP = SA2_ROW_GROUP * SA2_ROW_BLOCK,
    GROUPS = (N + IN_GROUP - 1) / IN_GROUP
};

/* Numbers of [-12, 4), -infinity here and there, block 3 all of it, and twice the largest. */
static void fill(float z[N])
{
    uint64_t random = 1;
    for (int i = 0; i < N; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        z[i] = (float)((double)(random >> 40) / (1 << 24) * 16.0 - 12.0);
        if (random >> 33 & 1 || i / SA2_ROW_BLOCK == 3)
            z[i] = -INFINITY;
    }
    z[200] = -INFINITY;
    z[100] = z[1400] = 4.0f;
}

static const sa2_row_sweeps *next_set(int *set)
{
    while (*set < SA2_ROW_SWEEPS_SETS) {
        const sa2_row_sweeps *sweeps = sa2_row_sweeps_in((*set)++);
        if (sweeps != NULL)
            return sweeps;
    }
    return NULL;
}

static void the_largest_of_each_block_is_found(void **state)
{
    (void)state;
    float z[N], most[BLOCKS];
    const sa2_row_sweeps *sweeps;
    fill(z);
    for (int set = 0; (sweeps = next_set(&set)) != NULL;) {
        assert_true(sweeps->largest(most, z, BLOCKS));
        for (int b = 0; b < BLOCKS; b++) {
            float want = -INFINITY;
            for (int i = 0; i < SA2_ROW_BLOCK; i++)
                want = fmaxf(want, z[b * SA2_ROW_BLOCK + i]);
            assert_true(most[b] == want);
        }
    }
}

static void a_value_that_is_not_below_infinity_is_noticed_wherever_it_is(void **state)
{
    (void)state;
    static const float bad[] = {NAN, -NAN, INFINITY};
    float z[N], most[BLOCKS];
    const sa2_row_sweeps *sweeps;
    fill(z);
    for (int set = 0; (sweeps = next_set(&set)) != NULL;) {
        for (int i = 0; i < N; i++) {
            float kept = z[i];
            z[i] = bad[i % 3];
            assert_false(sweeps->largest(most, z, BLOCKS));
            z[i] = kept;
        }
        z[5] = FLT_MAX;
        z[6] = -FLT_MAX;
        assert_true(sweeps->largest(most, z, BLOCKS));
        fill(z);
    }
}

static void weights_are_powers_of_2_in_steps_whose_sums_are_exact(void **state)
{
    (void)state;
    static const float scales[] = {0.02f, 1.0f, 2.06f, 144.0f, FLT_MIN, FLT_MAX};
    static float first[6 * 3][N];
    float z[N], most[BLOCKS], weights[N];
    uint64_t mass[GROUPS], sums[GROUPS];
    const sa2_row_sweeps *sweeps;
    fill(z);
    const sa2_row_sweeps *first_set = sa2_row_sweeps_in(0);
    for (int set = 0; (sweeps = next_set(&set)) != NULL;) {
        for (int k = 0; k < 6 * 3; k++) {
            float scale = scales[k % 6], above = (float[]){-INFINITY, -2.0f, 3.5f}[k / 6];
            int n = 0;
            sweeps->largest(most, z, BLOCKS);
            memset(weights, 0xff, sizeof weights);
            int found = sweeps->weigh(weights, mass, z, most, BLOCKS, above, 4.0f, scale);
            assert_int_equal(sweeps->sum(sums, weights, z, most, BLOCKS, above), found);
            for (int g = 0; g < GROUPS; g++) {
                uint64_t want = 0;
                for (int i = g * IN_GROUP; i < (g + 1) * IN_GROUP && i < N; i++) {
                    double y = fmax(((double)z[i] - 4.0) * scale, -1000.0);
                    double weight = z[i] > above && y >= -126.0 ? exp2(y) : 0.0;
                    n += z[i] > above;
                    if (!(most[i / SA2_ROW_BLOCK] > above))
                        continue;
                    assert_true(fabs(weights[i] - weight) <=
                                weight * (1.5e-7 - 9e-8 * y) + 0.5 / SA2_WEIGHT_STEPS);
                    want += (uint64_t)(weights[i] * SA2_WEIGHT_STEPS);
                }
                assert_true(mass[g] == want);
                assert_true(sums[g] == mass[g]);
            }
            assert_int_equal(found, n);
            if (first_set == sweeps)
                memcpy(first[k], weights, sizeof weights);
            assert_memory_equal(first[k], weights, sizeof weights); /* the bits of every set */
        }
    }
}

static void a_sum_over_less_than_was_weighed_leaves_out_the_rest(void **state)
{
    (void)state;
    float z[N], most[BLOCKS], weights[N];
    uint64_t mass[GROUPS];
    const sa2_row_sweeps *sweeps;
    fill(z);
    for (int set = 0; (sweeps = next_set(&set)) != NULL;) {
        sweeps->largest(most, z, BLOCKS);
        sweeps->weigh(weights, mass, z, most, BLOCKS, -INFINITY, 4.0f, 1.0f);
        assert_int_equal(sweeps->sum(mass, weights, z, most, BLOCKS, nextafterf(4.0f, 0.0f)), 2);
        for (int g = 0; g < GROUPS; g++)
            assert_true(mass[g] == (g < 2 ? UINT64_C(1) << 40 : 0));
        assert_int_equal(sweeps->sum(mass, weights, z, most, BLOCKS, 4.0f), 0);
    }
}

static void values_between_two_thresholds_are_gathered_by_id(void **state)
{
    (void)state;
    static const float pairs[][2] = {
        {-INFINITY, INFINITY}, {-2.0f, 2.0f}, {2.0f, 4.0f}, {3.999f, 4.0f}, {4.0f, INFINITY}};
    float z[N], most[BLOCKS], values[N];
    int32_t ids[N];
    const sa2_row_sweeps *sweeps;
    fill(z);
    for (int set = 0; (sweeps = next_set(&set)) != NULL;) {
        sweeps->largest(most, z, BLOCKS);
        for (size_t k = 0; k < sizeof pairs / sizeof pairs[0]; k++) {
            float above = pairs[k][0], upto = pairs[k][1];
            int n = sweeps->gather(values, ids, z, most, BLOCKS, above, upto), at = 0;
            for (int i = 0; i < N; i++) {
                if (!(z[i] > above && z[i] <= upto))
                    continue;
                assert_true(at < n);
                assert_int_equal(ids[at], i);
                assert_true(values[at++] == z[i]);
            }
            assert_int_equal(at, n);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_of_each_block_is_found),
        cmocka_unit_test(a_value_that_is_not_below_infinity_is_noticed_wherever_it_is),
        cmocka_unit_test(weights_are_powers_of_2_in_steps_whose_sums_are_exact),
        cmocka_unit_test(a_sum_over_less_than_was_weighed_leaves_out_the_rest),
        cmocka_unit_test(values_between_two_thresholds_are_gathered_by_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
