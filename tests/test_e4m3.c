/* Numbers of e4m3.h: each code against the definition, and rounding against the nearest of all codes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kernels/base/e4m3.h"
#include "kernels/base/tensor.h"
#include "kernels/cpu/matrix_e4m3.h"

enum { CODES = 256, SIZES = 127 };

/* The table of the specification: 2^(exponent - 7) (1 + fraction / 8), and 2^-6 (fraction / 8) for exponent 0. */
static double defined(int code)
{
    int exponent = (code & 0x78) / 8, fraction = code & 7;
    double size = exponent > 0 ? (1.0 + fraction / 8.0) * pow(2.0, exponent - 7)
                               : fraction / 8.0 * pow(2.0, -6);
    return code >= 128 ? -size : size;
}

static void every_code_is_the_number_of_the_definition(void **state)
{
    (void)state;
    for (int code = 0; code < CODES; code++) {
        float found = sa2_e4m3_to_f32((uint8_t)code);
        if ((code & 0x7f) == 0x7f) {
            assert_true(isnan(found));
            continue;
        }
        assert_true((double)found == defined(code) && !signbit(found) == (code < 128));
        assert_int_equal(sa2_f32_to_e4m3(found), code);
    }
    assert_true(sa2_e4m3_to_f32(0x7e) == 448.0f && sa2_e4m3_to_f32(0x01) == 0x1p-9f);
}

/* The nearest of all codes, of two the one whose last bit is 0. */
static int nearest(double size)
{
    int best = 0;
    for (int code = 1; code < SIZES; code++) {
        double off = fabs(defined(code) - size), least = fabs(defined(best) - size);
        if (off < least || (off == least && code % 2 == 0))
            best = code;
    }
    return best;
}

static void expect_nearest(float value)
{
    int want = nearest(fabs((double)value)) | (signbit(value) ? 128 : 0);
    int found = sa2_f32_to_e4m3(value);
    if (found != want)
        fail_msg("%a: code %d expected, %d found", (double)value, want, found);
}

/* Halves between neighbours, and one step of f32 to either side of them. */
static void rounding_is_to_nearest_and_ties_to_even(void **state)
{
    (void)state;
    for (int code = 0; code + 1 < SIZES; code++) {
        float half = (float)((defined(code) + defined(code + 1)) / 2.0);
        const float tried[] = {half, nextafterf(half, 0.0f), nextafterf(half, 1e9f)};
        for (int i = 0; i < 3; i++) {
            expect_nearest(tried[i]);
            expect_nearest(-tried[i]);
        }
    }
    for (float value = 0x1p-30f; value < 448.0f; value *= 1.0123f)
        expect_nearest(value);
}

static void what_is_too_large_becomes_the_largest_and_nan_stays(void **state)
{
    (void)state;
    static const float large[] = {449.0f, 464.0f, 480.0f, 1e9f, 3e38f, INFINITY};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        assert_int_equal(sa2_f32_to_e4m3(large[i]), 0x7e);
        assert_int_equal(sa2_f32_to_e4m3(-large[i]), 0xfe);
    }
    assert_int_equal(sa2_f32_to_e4m3(NAN) & 0x7f, 0x7f);
    assert_int_equal(sa2_f32_to_e4m3(-0.0f), 0x80);
    assert_int_equal(sa2_f32_to_e4m3(0x1p-149f), 0);
}

/* The powers that a matrix can have; NaN it never has. */
static void a_code_times_a_power_of_two_is_exact_in_bf16(void **state)
{
    (void)state;
    for (int power = 10; power <= 134; power++)
        for (int code = 0; code < CODES; code++) {
            if ((code & 0x7f) == 0x7f)
                continue;
            uint16_t bits = sa2_e4m3_to_bf16((uint8_t)code, sa2_e4m3_bias((uint8_t)power));
            float found = sa2_bf16_to_f32(bits);
            assert_true((double)found == ldexp(defined(code), power - 127));
            assert_true(found == 0.0f || isnormal(found));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_the_number_of_the_definition),
        cmocka_unit_test(rounding_is_to_nearest_and_ties_to_even),
        cmocka_unit_test(what_is_too_large_becomes_the_largest_and_nan_stays),
        cmocka_unit_test(a_code_times_a_power_of_two_is_exact_in_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
