/* Philox4x32-10 gives the known answers, and its uniform numbers are those of seed, choice and step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/decoder/philox.h"

/* Random123 1.14, tests/kat_vectors, lines "philox4x32 10". */
static void known_answers_are_given(void **state)
{
    (void)state;
    static const struct {
        sa2_philox_block counter;
        uint32_t key[2];
        sa2_philox_block want;
    } rows[] = {
        {{{0, 0, 0, 0}}, {0, 0}, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
        {{{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}},
         {UINT32_MAX, UINT32_MAX},
         {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
        {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
         {0xa4093822, 0x299f31d0},
         {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sa2_philox_block found = sa2_philox4x32(rows[i].counter, rows[i].key);
        for (int k = 0; k < 4; k++)
            assert_int_equal(found.word[k], rows[i].want.word[k]);
    }
}

static void a_number_is_53_bits_of_the_block_of_seed_choice_and_step(void **state)
{
    (void)state;
    /* The third known answer by way of seed and step, with its choice and a last word of 0. */
    const uint32_t key[2] = {0xa4093822, 0x299f31d0};
    sa2_philox_block block =
        sa2_philox4x32((sa2_philox_block){{0x243f6a88, 0x85a308d3, 0x13198a2e, 0}}, key);
    uint64_t bits = ((uint64_t)block.word[1] << 32 | block.word[0]) >> 11;
    double found = sa2_philox_uniform(0x299f31d0a4093822, 0x13198a2e, 0x85a308d3243f6a88);
    assert_true(found == (double)bits / 9007199254740992.0);
    assert_true(found >= 0.0 && found < 1.0);
}

static void neighbours_have_numbers_of_their_own(void **state)
{
    (void)state;
    double u = sa2_philox_uniform(42, 0, 0);
    assert_true(u == sa2_philox_uniform(42, 0, 0));
    assert_true(u != sa2_philox_uniform(43, 0, 0));
    assert_true(u != sa2_philox_uniform(42 + ((uint64_t)1 << 32), 0, 0));
    assert_true(u != sa2_philox_uniform(42, 1, 0));
    assert_true(u != sa2_philox_uniform(42, 0, 1));
    assert_true(u != sa2_philox_uniform(42, 0, (uint64_t)1 << 32));
}

/* 16 x 16 cells of two numbers that follow each other, in steps and in choices. 256 cells of 400 each:
 * chi-square has 255 degrees of freedom, mean 255, deviation sqrt(510) = 22.6; four of them are allowed. */
static void numbers_that_follow_each_other_fill_the_square_evenly(void **state)
{
    (void)state;
    enum { SIDE = 16, CELLS = SIDE * SIDE, EACH = 400 };
    for (int by_choice = 0; by_choice < 2; by_choice++) {
        int counts[CELLS] = {0};
        for (uint32_t i = 0; i < CELLS * EACH; i++) {
            double x = by_choice ? sa2_philox_uniform(7, i, 3) : sa2_philox_uniform(7, 3, i);
            double y =
                by_choice ? sa2_philox_uniform(7, i + 1, 3) : sa2_philox_uniform(7, 3, i + 1);
            counts[(int)(x * SIDE) * SIDE + (int)(y * SIDE)]++;
        }
        double chi = 0.0;
        for (int i = 0; i < CELLS; i++)
            chi += (double)(counts[i] - EACH) * (counts[i] - EACH) / EACH;
        assert_true(chi > 255.0 - 90.0 && chi < 255.0 + 90.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers_are_given),
        cmocka_unit_test(a_number_is_53_bits_of_the_block_of_seed_choice_and_step),
        cmocka_unit_test(neighbours_have_numbers_of_their_own),
        cmocka_unit_test(numbers_that_follow_each_other_fill_the_square_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
