/* The speaker encoder beside its golden cases: stretches of its head, the two rules of a last segment, lengths. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "loader/token2wav_writer.h"
#include "tests/support/small_voice.h"

typedef struct env {
    sa2_backend *backend;
    sa2_stream *stream;
    sa2_arena arena;
    sa2_speaker_encoder speaker;
} env;

enum { LONGEST = 900 }; /* frames */

static int open_env(void **state)
{
    static env e;
    sa2_error err = {0};
    sa2_tensor_map *map = test_voice_map(SA2_SPEAKER_FILE);
    sa2_speaker_dims dims;
    assert_int_equal(sa2_backend_open(&e.backend, &(sa2_backend_options){.n_threads = 2}, NULL), 0);
    assert_int_equal(sa2_speaker_dims_find(&dims, map, NULL), SA2_OK);
    assert_int_equal(sa2_stream_create(&e.stream, e.backend,
                                       sa2_speaker_encoder_scratch_bytes(&dims, LONGEST), NULL),
                     SA2_OK);
    sa2_weights w = {.stream = e.stream, .err = &err};
    sa2_speaker_encoder_load(&e.speaker, &dims, LONGEST, &w);
    size_t bytes =
        w.bytes + w.host_bytes + sa2_speaker_encoder_work_bytes(&dims, LONGEST) + (4 << 20);
    assert_int_equal(sa2_backend_arena_create(e.backend, &e.arena, bytes, NULL), SA2_OK);
    assert_int_equal(sa2_speaker_encoder_fold(map, NULL), SA2_OK);
    w.arena = &e.arena;
    w.map = map;
    sa2_speaker_encoder_load(&e.speaker, &dims, LONGEST, &w);
    if (w.status != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sa2_tensor_map_unused(map, NULL), SA2_OK);
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

static sa2_tensor take(env *e, int64_t rows, int64_t cols)
{
    void *data = sa2_arena_take(&e->arena, (size_t)(rows * cols) * sizeof(float));
    assert_non_null(data);
    memset(data, 0xff, (size_t)(rows * cols) * sizeof(float)); /* NaN */
    return sa2_tensor_2d(data, SA2_F32, rows, cols);
}

static sa2_tensor some_fbank(env *e, int64_t frames)
{
    sa2_tensor x = take(e, frames, e->speaker.dims.mel);
    float *values = x.data;
    for (int64_t i = 0; i < sa2_tensor_count(&x); i++)
        values[i] = (float)(2.0 * sin(0.61 * (double)i + 1e-4 * (double)(i * i % 32768)));
    return x;
}

static void assert_worked(env *e, sa2_status st, const sa2_error *err)
{
    sa2_error later = {0};
    if (st != SA2_OK)
        fail_msg("%s", err->message);
    if (sa2_stream_finish(e->stream, &later) != SA2_OK)
        fail_msg("%s", later.message);
}

static sa2_tensor head_of(env *e, sa2_tensor fbank)
{
    sa2_error err = {0};
    const sa2_speaker_dims *d = &e->speaker.dims;
    sa2_tensor out =
        take(e, fbank.shape[0], (int64_t)d->head_channels * d->mel / SA2_SPEAKER_HEAD_REDUCTION);
    assert_worked(
        e, sa2_speaker_encoder_head_forward(e->stream, &e->speaker, &e->arena, out, fbank, &err),
        &err);
    return out;
}

static const float *vector_of(env *e, sa2_tensor fbank, sa2_partial_rule partial)
{
    sa2_error err = {0};
    sa2_tensor out = take(e, 1, e->speaker.dims.embedding);
    assert_worked(
        e,
        sa2_speaker_encoder_forward(e->stream, &e->speaker, partial, &e->arena, out, fbank, &err),
        &err);
    const float *values = out.data;
    for (int i = 0; i < e->speaker.dims.embedding; i++)
        assert_true(isfinite(values[i]));
    return values;
}

/* A frame of the head sees ten frames to each side: what lies further away cannot matter. */
static void the_head_of_a_stretch_is_that_of_the_whole(void **state)
{
    env *e = *state;
    size_t mark = sa2_arena_mark(&e->arena);
    static const int pieces[][2] = {{0, 120}, {100, 220}, {150, 170}, {250, 390}, {400, 500}};
    sa2_tensor fbank = some_fbank(e, 500), whole = head_of(e, fbank);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        int from = pieces[i][0], to = pieces[i][1];
        sa2_tensor part = head_of(e, sa2_tensor_rows(fbank, from, to - from));
        int first = from == 0 ? 0 : from + 10, end = to == 500 ? 500 : to - 10;
        if (first >= end)
            continue;
        sa2_tensor found = sa2_tensor_rows(part, first - from, end - first);
        sa2_tensor want = sa2_tensor_rows(whole, first, end - first);
        assert_memory_equal(found.data, want.data, sa2_tensor_bytes(&want));
    }
    sa2_arena_rewind(&e->arena, mark);
}

static void both_rules_agree_where_the_last_segment_is_whole(void **state)
{
    env *e = *state;
    size_t bytes = (size_t)e->speaker.dims.embedding * sizeof(float);
    static const struct {
        int frames;
        bool same;
    } rows[] = {{199, true}, {200, true}, {400, true}, {201, false}, {398, false}, {3, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t mark = sa2_arena_mark(&e->arena);
        sa2_tensor fbank = some_fbank(e, rows[i].frames);
        const float *kernel = vector_of(e, fbank, SA2_PARTIAL_KERNEL);
        const float *rest = vector_of(e, fbank, SA2_PARTIAL_TRUE);
        assert_int_equal(memcmp(kernel, rest, bytes) == 0, rows[i].same);
        sa2_arena_rewind(&e->arena, mark);
    }
}

static void silence_has_a_vector_too(void **state)
{
    env *e = *state;
    size_t mark = sa2_arena_mark(&e->arena);
    sa2_tensor fbank = take(e, 50, e->speaker.dims.mel);
    memset(fbank.data, 0, sa2_tensor_bytes(&fbank));
    vector_of(e, fbank, SA2_PARTIAL_KERNEL);
    sa2_arena_rewind(&e->arena, mark);
}

static void other_lengths_are_refused_with_the_ones_possible(void **state)
{
    env *e = *state;
    static const struct {
        int frames;
        sa2_status want;
        const char *words;
    } rows[] = {
        {2, SA2_ERR_ARG, "speaker encoder: 2 frames, 3 or more expected"},
        {902, SA2_ERR_LIMIT, "speaker encoder: 902 frames, up to 900 are possible"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t mark = sa2_arena_mark(&e->arena);
        sa2_error err = {0};
        sa2_tensor out = take(e, 1, e->speaker.dims.embedding);
        assert_int_equal(sa2_speaker_encoder_forward(e->stream, &e->speaker, SA2_PARTIAL_KERNEL,
                                                     &e->arena, out, some_fbank(e, rows[i].frames),
                                                     &err),
                         rows[i].want);
        if (strstr(err.message, rows[i].words) == NULL)
            fail_msg("\"%s\" expected in \"%s\"", rows[i].words, err.message);
        sa2_arena_rewind(&e->arena, mark);
    }
}

static void too_little_memory_is_refused(void **state)
{
    env *e = *state;
    size_t mark = sa2_arena_mark(&e->arena);
    sa2_tensor fbank = some_fbank(e, 30), out = take(e, 1, e->speaker.dims.embedding);
    size_t need = sa2_speaker_encoder_work_bytes(&e->speaker.dims, 30);
    for (size_t bytes = 0; bytes < need; bytes += need / 7) {
        sa2_error err = {0};
        sa2_arena small;
        sa2_arena_init(&small, e->arena.base + e->arena.used, bytes);
        assert_int_equal(sa2_speaker_encoder_forward(e->stream, &e->speaker, SA2_PARTIAL_KERNEL,
                                                     &small, out, fbank, &err),
                         SA2_ERR_NOMEM);
        assert_non_null(strstr(err.message, "of work memory needed"));
        assert_int_equal(small.used, 0);
        sa2_stream_finish(e->stream, NULL);
    }
    sa2_arena_rewind(&e->arena, mark);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head_of_a_stretch_is_that_of_the_whole),
        cmocka_unit_test(both_rules_agree_where_the_last_segment_is_whole),
        cmocka_unit_test(silence_has_a_vector_too),
        cmocka_unit_test(other_lengths_are_refused_with_the_ones_possible),
        cmocka_unit_test(too_little_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, open_env, close_env);
}
