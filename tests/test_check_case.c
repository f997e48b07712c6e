/* Checking golden cases: right results pass, wrong expectations fail, and what cannot be computed is an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/golden.h"
#include "tests/support/test_files.h"
#include "tools/check_case.h"

typedef struct report {
    int n;
    char names[8][64];
    char why[8][SA2_GOLDEN_WHY_BYTES];
} report;

static void note(void *user, const sa2_golden_result *result)
{
    report *r = user;
    assert_true(r->n < 8);
    assert_int_equal(result->ok, result->why[0] == '\0');
    snprintf(r->names[r->n], sizeof r->names[0], "%s", result->name);
    snprintf(r->why[r->n], sizeof r->why[0], "%s", result->why);
    r->n++;
}

static int setup(void **state)
{
    sa2_backend *backend;
    assert_int_equal(sa2_backend_open(&backend, NULL, NULL), SA2_OK);
    *state = backend;
    return 0;
}

static int teardown(void **state)
{
    sa2_backend_close(*state);
    return 0;
}

static void assert_passes(void **state, const char *path, int n_outputs)
{
    sa2_check_context context = {.backend = *state};
    sa2_golden_case *golden;
    sa2_error err = {0};
    report found = {0};
    int n_failed;
    if (sa2_golden_case_open(&golden, path, &err) != SA2_OK ||
        sa2_check_case(golden, &context, note, &found, &n_failed, &err) != SA2_OK)
        fail_msg("%s", err.message);
    for (int i = 0; i < found.n; i++)
        if (found.why[i][0] != '\0')
            fail_msg("%s out.%s: %s", path, found.names[i], found.why[i]);
    assert_int_equal(n_failed, 0);
    assert_int_equal(found.n, n_outputs);
    sa2_golden_case_close(golden);
}

static void committed_cases_of_the_audio_front_end_pass(void **state)
{
    static const char *const names[] = {
        "language_model/resample_44100", "language_model/mel128_one",
        "language_model/mel128_voice",   "token2wav/resample_44100_24000",
        "token2wav/s3_mel_speech",       "token2wav/prompt_mel_speech",
        "token2wav/fbank_speech",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char inside[128], path[1024];
        snprintf(inside, sizeof inside, "golden/%s.safetensors", names[i]);
        assert_passes(state, test_data(path, sizeof path, inside), 1);
    }
}

static void cases_of_recordings_pass(void **state)
{
    static const struct {
        const char *name;
        int n_outputs;
    } rows[] = {
        {"golden/language_model/resample_wav.safetensors", 1},
        {"golden/language_model/mel128_wav_great_wall.safetensors", 2},
        {"golden/language_model/mel128_wav_tool_call_query.safetensors", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[1024];
        if (test_shared(path, sizeof path, rows[i].name))
            assert_passes(state, path, rows[i].n_outputs);
    }
}

/* A case of in.samples [n] and out.<output> [rows, cols], all of them 0. */
static sa2_golden_case *make(char bytes[4096], const char *metadata, int n, const char *output,
                             int rows, int cols)
{
    memset(bytes, 0, 4096);
    int header =
        snprintf(bytes + 8, 1024,
                 "{\"__metadata__\":{%s},"
                 "\"in.samples\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[0,%d]},"
                 "\"out.%s\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%d,%d]}}",
                 metadata, n, 4 * n, output, rows, cols, 4 * n, 4 * (n + rows * cols));
    size_t size = 8 + (size_t)header + 4 * (size_t)(n + rows * cols);
    assert_true(size < 4096);
    bytes[0] = (char)(header & 0xff);
    bytes[1] = (char)(header >> 8);
    sa2_golden_case *golden;
    sa2_error err = {0};
    if (sa2_golden_case_parse(&golden, bytes, size, "a/b/c.safetensors", &err) != SA2_OK)
        fail_msg("%s", err.message);
    return golden;
}

static void a_wrong_expectation_is_a_failed_output_and_no_error(void **state)
{
    sa2_check_context context = {.backend = *state};
    char bytes[4096];
    report found = {0};
    int n_failed;
    sa2_golden_case *golden = make(bytes, "\"part\":\"mel128\"", 4, "mel", 3, 8);
    assert_int_equal(sa2_check_case(golden, &context, note, &found, &n_failed, NULL), SA2_OK);
    assert_int_equal(n_failed, 1);
    assert_non_null(
        strstr(found.why[0], "24 of 24 elements, worst [0, 0]: -1.5 found, 0 expected"));
    sa2_golden_case_close(golden);
    found.n = 0;
    golden = make(bytes, "\"part\":\"mel128\"", 4, "mel", 4, 8);
    assert_int_equal(sa2_check_case(golden, &context, note, &found, &n_failed, NULL), SA2_OK);
    assert_int_equal(n_failed, 1);
    assert_string_equal(found.why[0], "f32 [3, 8] found, f32 [4, 8] expected");
    sa2_golden_case_close(golden);
}

static void what_cannot_be_computed_is_an_error_with_a_reason(void **state)
{
    static const struct {
        const char *metadata, *output;
        sa2_status want;
        const char *words;
    } rows[] = {
        {"\"part\":\"sing\"", "x", SA2_ERR_UNSUPPORTED, "part \"sing\" is not known"},
        {"\"part\":\"mel128\"", "x", SA2_ERR_FORMAT, "no out.mel [frames, 1 to 1024 bands]"},
        {"\"part\":\"s3_mel\"", "mel", SA2_ERR_ARG, "4 samples, 201 or more expected"},
        {"\"part\":\"fbank\"", "fbank", SA2_ERR_ARG, "4 samples, 400 or more expected"},
        {"\"part\":\"resample\"", "samples", SA2_ERR_FORMAT, "no metadata `rate`"},
        {"\"part\":\"resample\",\"rate\":\"0\"", "samples", SA2_ERR_FORMAT, "rate is \"0\""},
        {"\"part\":\"resample\",\"rate_in\":\"8000\"", "samples", SA2_ERR_FORMAT, "`rate_out`"},
        {"\"part\":\"mel128\",\"wav\":\"../x.wav\"", "mel", SA2_ERR_FORMAT, "a file name expected"},
        {"\"part\":\"mel128\",\"wav\":\"x.wav\"", "mel", SA2_ERR_IO,
         "a/b/../../audio/x.wav: No such"},
    };
    sa2_check_context context = {.backend = *state};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char bytes[4096];
        report found = {0};
        sa2_error err = {0};
        int n_failed;
        sa2_golden_case *golden = make(bytes, rows[i].metadata, 4, rows[i].output, 1, 8);
        assert_int_equal(sa2_check_case(golden, &context, note, &found, &n_failed, &err),
                         rows[i].want);
        if (strstr(err.message, rows[i].words) == NULL)
            fail_msg("\"%s\" expected in \"%s\"", rows[i].words, err.message);
        assert_int_equal(found.n, 0);
        sa2_golden_case_close(golden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_cases_of_the_audio_front_end_pass),
        cmocka_unit_test(cases_of_recordings_pass),
        cmocka_unit_test(a_wrong_expectation_is_a_failed_output_and_no_error),
        cmocka_unit_test(what_cannot_be_computed_is_an_error_with_a_reason),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
