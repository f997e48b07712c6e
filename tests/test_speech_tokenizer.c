/* The speech tokenizer beside its golden cases: how many tokens, which digits, long sounds by windows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/token2wav_writer.h"
#include "tests/support/small_voice.h"
#include "tests/support/test_files.h"
#include "tools/check_case.h"

typedef struct env {
    sa2_backend *backend;
    sa2_stream *stream;
    sa2_arena arena;
    sa2_speech_tokenizer tokenizer;
} env;

enum { LONGEST = 5700 }; /* frames */

static int open_env(void **state)
{
    static env e;
    sa2_error err = {0};
    sa2_tensor_map *map = test_voice_map(SA2_SPEECH_TOKENIZER_FILE);
    sa2_speech_tokenizer_dims dims;
    assert_int_equal(sa2_backend_open(&e.backend, &(sa2_backend_options){.n_threads = 2}, NULL), 0);
    assert_int_equal(sa2_speech_tokenizer_dims_find(&dims, map, NULL), SA2_OK);
    assert_int_equal(sa2_stream_create(&e.stream, e.backend,
                                       sa2_speech_tokenizer_scratch_bytes(&dims, LONGEST), NULL),
                     SA2_OK);
    sa2_weights w = {.stream = e.stream, .err = &err};
    sa2_speech_tokenizer_load(&e.tokenizer, &dims, &w);
    size_t room = 4 * LONGEST * (size_t)(dims.mel + dims.digits) * sizeof(float);
    size_t bytes = w.bytes + w.host_bytes + room + sa2_speech_tokenizer_work_bytes(&dims, LONGEST);
    assert_int_equal(sa2_backend_arena_create(e.backend, &e.arena, bytes, NULL), SA2_OK);
    w.arena = &e.arena;
    w.map = map;
    sa2_speech_tokenizer_load(&e.tokenizer, &dims, &w);
    if (w.status != SA2_OK)
        fail_msg("%s", err.message);
    sa2_tensor_map_destroy(map);
    *state = &e;
    return 0;
}

static int close_env(void **state)
{
    env *e = *state;
    sa2_backend_arena_destroy(e->backend, &e->arena);
    sa2_stream_destroy(e->stream);
    sa2_backend_close(e->backend);
    return 0;
}

/* ---- lengths ---- */

static int64_t halved(int64_t n)
{
    return (n + 1) / 2;
}

/* What is left of n tokens after list[from : -cut]. */
static int64_t slice(int64_t n, int64_t from, int64_t cut)
{
    return n - cut > from ? n - cut - from : 0;
}

static void windows_merge_to_as_many_tokens_as_the_reference_keeps(void **state)
{
    (void)state;
    for (int64_t frames = 0; frames < 12000; frames++) {
        int64_t want = halved(halved(frames));
        if (frames > 3000) {
            want = 0;
            for (int64_t first = 0; first < frames; first += 2600) {
                int64_t end = first + 3000 < frames ? first + 3000 : frames;
                want += slice(halved(halved(end - first)), first > 0 ? 50 : 0,
                              first + 2600 < frames ? 50 : 0);
            }
        }
        assert_int_equal(sa2_speech_tokenizer_tokens(frames), want);
    }
}

static void the_number_of_tokens_follows_the_last_window(void **state)
{
    (void)state;
    static const struct {
        int frames, tokens;
    } rows[] = {
        {0, 0},       {1, 1},      {4, 1},      {5, 2},      {770, 193},
        {904, 226},   {3000, 750}, {3001, 751}, {3122, 781}, {5201, 1301 - 50}, /* last window: 1 */
        {5400, 1300}, /* 200: nothing of it is kept */
        {5403, 1302}, /* 203: one of its 51 */
        {5600, 1400}, /* 400: all */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(sa2_speech_tokenizer_tokens(rows[i].frames), rows[i].tokens);
}

/* ---- digits ---- */

static void a_token_counts_its_digits_from_the_first(void **state)
{
    (void)state;
    /* 0.9990000128746033 tanh(z) = 0.5 */
    const float edge = (float)atanh(0.5 / 0.9990000128746033);
    float z[4][8] = {{0}, {-9, -9, -9, -9, -9, -9, -9, -9}, {9, 9, 9, 9, 9, 9, 9, 9}, {0}};
    int32_t tokens[4];
    z[3][0] = edge + 1e-4f;
    z[3][1] = edge - 1e-4f;
    z[3][2] = -edge - 1e-4f;
    z[3][3] = -edge + 1e-4f;
    sa2_speech_tokenizer_quantise(8, z[0], 4, tokens);
    assert_int_equal(tokens[0], 3280); /* all digits 1 */
    assert_int_equal(tokens[1], 0);
    assert_int_equal(tokens[2], 6560);
    assert_int_equal(tokens[3], 3280 + 1 - 9);
}

/* ---- windows ---- */

static sa2_tensor take(env *e, int64_t rows, int64_t cols)
{
    void *data = sa2_arena_take(&e->arena, (size_t)(rows * cols) * sizeof(float));
    assert_non_null(data);
    return sa2_tensor_2d(data, SA2_F32, rows, cols);
}

static sa2_tensor some_mel(env *e, int64_t frames)
{
    sa2_tensor mel = take(e, frames, e->tokenizer.dims.mel);
    float *values = mel.data;
    for (int64_t i = 0; i < sa2_tensor_count(&mel); i++)
        values[i] = (float)sin(0.37 * (double)i + 1e-5 * (double)(i * i % 65536));
    return mel;
}

static sa2_tensor project(env *e, sa2_tensor mel)
{
    sa2_error err = {0};
    sa2_tensor out = take(e, sa2_speech_tokenizer_tokens(mel.shape[0]), e->tokenizer.dims.digits);
    memset(out.data, 0xff, sa2_tensor_bytes(&out)); /* NaN */
    if (sa2_speech_tokenizer_forward(e->stream, &e->tokenizer, &e->arena, out, mel, &err) !=
            SA2_OK ||
        sa2_stream_finish(e->stream, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return out;
}

static void assert_rows(sa2_tensor y, int64_t first, sa2_tensor want, int64_t from, int64_t n)
{
    sa2_tensor found = sa2_tensor_rows(y, first, n), expected = sa2_tensor_rows(want, from, n);
    assert_memory_equal(found.data, expected.data, sa2_tensor_bytes(&found));
}

static void a_long_sound_is_its_windows_without_the_tokens_they_share(void **state)
{
    env *e = *state;
    size_t mark = sa2_arena_mark(&e->arena);
    sa2_tensor mel = some_mel(e, LONGEST), all = project(e, mel);
    assert_int_equal(all.shape[0], 1425);
    sa2_tensor first = project(e, sa2_tensor_rows(mel, 0, 3000));
    assert_rows(all, 0, first, 0, 700);
    sa2_tensor middle = project(e, sa2_tensor_rows(mel, 2600, 3000));
    assert_rows(all, 700, middle, 50, 650);
    sa2_tensor last = project(e, sa2_tensor_rows(mel, 5200, 500));
    assert_rows(all, 1350, last, 50, 75);
    sa2_arena_rewind(&e->arena, mark);
}

static void a_last_window_of_shared_frames_alone_adds_nothing(void **state)
{
    env *e = *state;
    size_t mark = sa2_arena_mark(&e->arena);
    sa2_tensor mel = some_mel(e, 5300), all = project(e, mel);
    assert_int_equal(all.shape[0], 700 + 600 - 25); /* the middle one has 2700 frames */
    sa2_tensor middle = project(e, sa2_tensor_rows(mel, 2600, 2700));
    assert_rows(all, 700, middle, 50, 575);
    sa2_arena_rewind(&e->arena, mark);
}

static void too_little_memory_is_refused(void **state)
{
    env *e = *state;
    char few[4096];
    sa2_error err = {0};
    sa2_arena small;
    size_t mark = sa2_arena_mark(&e->arena);
    sa2_tensor mel = some_mel(e, 9), out = take(e, 3, e->tokenizer.dims.digits);
    sa2_arena_init(&small, few + 64 - (uintptr_t)few % 64, 2048);
    assert_int_equal(sa2_speech_tokenizer_forward(e->stream, &e->tokenizer, &small, out, mel, &err),
                     SA2_ERR_NOMEM);
    assert_non_null(strstr(err.message, "of work memory needed, 2048 left"));
    sa2_arena_rewind(&e->arena, mark);
}

static void count_failures(void *user, const sa2_golden_result *result)
{
    *(int *)user += result->ok ? 1 : 1000;
}

static void the_long_golden_case_passes(void **state)
{
    env *e = *state;
    char path[1024];
    if (!test_shared(path, sizeof path, "golden/token2wav/speech_tokenizer_long.safetensors"))
        return;
    sa2_golden_case *golden;
    sa2_error err = {0};
    int n_failed, judged = 0;
    const sa2_check_context context = {.backend = e->backend};
    if (sa2_golden_case_open(&golden, path, &err) != SA2_OK ||
        sa2_check_case(golden, &context, count_failures, &judged, &n_failed, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(judged, 2);
    sa2_golden_case_close(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_merge_to_as_many_tokens_as_the_reference_keeps),
        cmocka_unit_test(the_number_of_tokens_follows_the_last_window),
        cmocka_unit_test(a_token_counts_its_digits_from_the_first),
        cmocka_unit_test(a_long_sound_is_its_windows_without_the_tokens_they_share),
        cmocka_unit_test(a_last_window_of_shared_frames_alone_adds_nothing),
        cmocka_unit_test(the_long_golden_case_passes),
        cmocka_unit_test(too_little_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, open_env, close_env);
}
