/* Lengths of the audio path: the closed forms are the step-by-step formulas, for every length of a chunk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/audio/audio_length.h"

static void a_sound_is_cut_into_chunks_of_25_seconds_and_a_rest(void **state)
{
    (void)state;
    assert_int_equal(sa2_audio_chunks(0), 0);
    assert_int_equal(sa2_audio_chunks(1), 1);
    assert_int_equal(sa2_audio_chunks(400000), 1);
    assert_int_equal(sa2_audio_chunks(400001), 2);
    assert_int_equal(sa2_audio_chunk_samples(400001, 0), 400000);
    assert_int_equal(sa2_audio_chunk_samples(400001, 1), 1);
    assert_int_equal(sa2_audio_chunk_samples(800000, 1), 400000);
}

/* The table of the length rules: A and what leads to it, worked out by hand. */
static void known_lengths_have_known_counts(void **state)
{
    (void)state;
    static const struct {
        int64_t samples, frames, rows, pooled, valid_hf, tokens_hf, tokens_vllm;
    } rows[] = {
        {1, 3, 2, 1, 0, 0, 1},
        {160, 3, 2, 1, 0, 0, 1},
        {320, 4, 2, 1, 0, 0, 1},
        {480, 5, 3, 1, 1, 1, 1},
        {1600, 12, 6, 3, 2, 1, 2},
        {4000, 27, 14, 7, 6, 3, 4},
        {8000, 52, 26, 13, 12, 6, 7},
        {16000, 102, 51, 25, 25, 13, 13},
        {16160, 103, 52, 26, 25, 13, 13},
        {32000, 202, 101, 50, 50, 25, 25},
        {48000, 302, 151, 75, 75, 38, 38},
        {80000, 502, 251, 125, 125, 63, 63},
        {160000, 1002, 501, 250, 250, 125, 125},
        {400000, 2502, 1251, 625, 625, 313, 313},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sa2_audio_lengths hf = sa2_audio_lengths_of(rows[i].samples, SA2_LENGTH_HF);
        sa2_audio_lengths vllm = sa2_audio_lengths_of(rows[i].samples, SA2_LENGTH_VLLM);
        assert_int_equal(hf.frames, rows[i].frames);
        assert_int_equal(hf.rows, rows[i].rows);
        assert_int_equal(hf.pooled, rows[i].pooled);
        assert_int_equal(hf.valid, rows[i].valid_hf);
        assert_int_equal(hf.tokens, rows[i].tokens_hf);
        assert_int_equal(vllm.tokens, rows[i].tokens_vllm);
        assert_int_equal(vllm.valid, vllm.pooled);
    }
}

/* floor(a / b) for b > 0, a of any sign: what the reference's // does. */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

static int64_t strided(int64_t length) /* kernel 3, stride 2, padding 1 */
{
    return length == 0 ? 0 : floor_div(length + 2 - 3, 2) + 1;
}

static void every_length_of_a_chunk_agrees_with_the_steps(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= SA2_AUDIO_CHUNK; n++) {
        int64_t frames = (n + 479) / 160;
        int64_t rows = strided(frames);
        for (int rule = SA2_LENGTH_HF; rule <= SA2_LENGTH_VLLM; rule++) {
            int64_t declared = rule == SA2_LENGTH_HF ? frames - 2 : frames;
            int64_t valid = floor_div(floor_div(declared + 1, 2), 2);
            sa2_audio_lengths found = sa2_audio_lengths_of(n, (sa2_length_rule)rule);
            assert_int_equal(found.frames, frames);
            assert_int_equal(found.rows, rows);
            assert_int_equal(found.pooled, rows / 2);
            assert_int_equal(found.valid, valid);
            assert_int_equal(found.tokens, strided(valid));
            assert_true(found.tokens <= strided(found.pooled));
        }
    }
}

/* The mask of the reference: frames before the declared length, every second one, from an index that
 * depends on the parity. */
static void the_hf_rule_hides_exactly_the_last_row_as_a_key(void **state)
{
    (void)state;
    for (int64_t frames = 3; frames <= 3002; frames++) {
        int64_t visible = 0, entries = 0;
        for (int64_t f = (frames + 1) % 2; f < frames; f += 2, entries++)
            visible += f < frames - 2;
        sa2_audio_lengths hf = sa2_audio_lengths_of((frames - 2) * 160, SA2_LENGTH_HF);
        assert_int_equal(hf.frames, frames);
        assert_int_equal(hf.rows, entries);
        assert_int_equal(hf.keys, visible);
        assert_int_equal(hf.keys, hf.rows - 1);
        sa2_audio_lengths vllm = sa2_audio_lengths_of((frames - 2) * 160, SA2_LENGTH_VLLM);
        assert_int_equal(vllm.keys, vllm.rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_is_cut_into_chunks_of_25_seconds_and_a_rest),
        cmocka_unit_test(known_lengths_have_known_counts),
        cmocka_unit_test(every_length_of_a_chunk_agrees_with_the_steps),
        cmocka_unit_test(the_hf_rule_hides_exactly_the_last_row_as_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
