/* sa2 vocode computes what the reference does, and what tensor files hold is judged before it is used. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/checkpoint_writer.h"
#include "runtime/audio/audio_file.h"
#include "tests/support/golden.h"
#include "tests/support/test_files.h"
#include "tools/commands.h"
#include "tools/tensor_file.h"

enum { RATE = 24000, MAX_ARGUMENTS = 24 };

typedef struct env {
    char folder[256], model[512], out[512];
} env;

static int setup(void **state)
{
    static env e;
    sa2_preset preset;
    const sa2_checkpoint_options options = {.n_threads = 1};
    sa2_error err = {0};
    test_folder_create(e.folder, sizeof e.folder);
    snprintf(e.model, sizeof e.model, "%s/tiny", e.folder);
    snprintf(e.out, sizeof e.out, "%s/out.wav", e.folder);
    assert_int_equal(sa2_preset_find(&preset, "tiny", &err), SA2_OK);
    if (sa2_checkpoint_write(e.model, &preset, &options, &err) != SA2_OK)
        fail_msg("%s", err.message);
    *state = &e;
    return 0;
}

static int teardown(void **state)
{
    env *e = *state;
    test_folder_remove(e->folder);
    return 0;
}

/* Runs the command with float samples, no noise in the source and the arguments that follow, up to NULL. */
static int vocode(env *e, ...)
{
    char *argv[MAX_ARGUMENTS];
    const char *first[] = {"vocode", "-q",   "-m",      e->model,
                           "-o",     e->out, "--float", "--no-source-noise"};
    int n = 0;
    va_list more;
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        assert_non_null(argv[n++] = strdup(first[i]));
    va_start(more, e);
    for (const char *text; (text = va_arg(more, const char *)) != NULL;)
        assert_non_null(argv[n++] = strdup(text));
    va_end(more);
    char *kept[MAX_ARGUMENTS]; /* the command moves its arguments */
    memcpy(kept, argv, sizeof kept);
    int code = sa2_command_vocode(n, argv);
    for (int i = 0; i < n; i++)
        free(kept[i]);
    return code;
}

static void read_sound(const env *e, sa2_audio *audio)
{
    sa2_error err = {0};
    if (sa2_audio_read(audio, &(sa2_audio_source){.path = e->out}, SA2_CHANNEL_FIRST, RATE, &err) !=
        SA2_OK)
        fail_msg("%s", err.message);
}

static void tokens_sound_as_in_the_golden_case(void **state)
{
    env *e = *state;
    char path[1024];
    sa2_audio audio;
    test_data(path, sizeof path, "golden/token2wav/token2wav.safetensors");
    sa2_golden_case *golden = golden_open("token2wav/token2wav.safetensors");
    assert_int_equal(vocode(e, "--voice", path, "--noise", path, path, NULL), 0);
    read_sound(e, &audio);
    assert_golden(golden, "wav", SA2_F32, sa2_tensor_1d(audio.samples, SA2_F32, audio.n_samples));
    sa2_audio_destroy(&audio);
    sa2_golden_case_close(golden);
}

/* The chunks of the case are 25 codes and what is left, as those of the command are. */
static void a_stream_sounds_as_in_the_golden_case(void **state)
{
    env *e = *state;
    char path[1024], name[32];
    sa2_audio audio;
    test_data(path, sizeof path, "golden/token2wav/token2wav_stream.safetensors");
    sa2_golden_case *golden = golden_open("token2wav/token2wav_stream.safetensors");
    assert_int_equal(vocode(e, "--stream", "--voice", path, "--noise", path, path, NULL), 0);
    read_sound(e, &audio);
    int64_t from = 0;
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "samples.%d", i);
        int64_t n = golden_output(golden, name).shape[0];
        assert_true(n <= audio.n_samples - from);
        assert_golden(golden, name, SA2_F32, sa2_tensor_1d(audio.samples + from, SA2_F32, n));
        from += n;
    }
    assert_int_equal(from, audio.n_samples);
    sa2_audio_destroy(&audio);
    sa2_golden_case_close(golden);
}

static void a_mel_sounds_as_in_the_golden_case(void **state)
{
    env *e = *state;
    char path[1024];
    sa2_audio audio;
    test_data(path, sizeof path, "golden/token2wav/vocoder_zero_noise.safetensors");
    sa2_golden_case *golden = golden_open("token2wav/vocoder_zero_noise.safetensors");
    assert_int_equal(vocode(e, "--mel", path, NULL), 0);
    read_sound(e, &audio);
    assert_golden(golden, "wav", SA2_F32, sa2_tensor_1d(audio.samples, SA2_F32, audio.n_samples));
    sa2_audio_destroy(&audio);
    sa2_golden_case_close(golden);
}

static void a_streamed_mel_is_as_long_as_a_whole_one(void **state)
{
    static const char *const chunks[] = {"4", "7", "24", "25", "50"};
    env *e = *state;
    char path[1024];
    test_data(path, sizeof path, "golden/token2wav/vocoder_zero_noise.safetensors");
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++)
        for (size_t k = 0; k < sizeof chunks / sizeof chunks[0]; k++) {
            sa2_audio audio;
            assert_int_equal(vocode(e, "--mel", path, "--stream", "--chunk", chunks[i],
                                    "--first-chunk", chunks[k], NULL),
                             0);
            read_sound(e, &audio);
            assert_int_equal(audio.n_samples, 24000);
            sa2_audio_destroy(&audio);
        }
}

/* ---- tensor files ---- */

/* A safetensors file of one tensor of four-byte values. */
static const char *write_tensor(const env *e, char path[512], const char *name, const char *dtype,
                                const char *shape, const void *values, size_t n)
{
    char bytes[4096];
    snprintf(path, 512, "%s/one.safetensors", e->folder);
    int header = snprintf(bytes + 8, sizeof bytes - 8,
                          "{\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,%zu]}}", name,
                          dtype, shape, 4 * n);
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)((uint64_t)header >> 8 * i & 0xff);
    assert_true(8 + (size_t)header + 4 * n <= sizeof bytes);
    memcpy(bytes + 8 + header, values, 4 * n);
    test_write_file(path, bytes, 8 + (size_t)header + 4 * n);
    return path;
}

static void a_tensor_is_found_under_both_names(void **state)
{
    static const char *const names[] = {"mel", "in.mel"};
    const env *e = *state;
    const float values[] = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f};
    for (int i = 0; i < 2; i++) {
        char path[512];
        void *found;
        sa2_error err = {0};
        sa2_tensor form = sa2_tensor_2d(NULL, SA2_F32, -1, 3);
        write_tensor(e, path, names[i], "F32", "[2,3]", values, 6);
        if (sa2_tensor_file_read(path, "mel", &form, &found, &err) != SA2_OK)
            fail_msg("%s", err.message);
        assert_int_equal(form.shape[0], 2);
        assert_memory_equal(found, values, sizeof values);
        free(found);
    }
}

static void what_is_wrong_with_a_tensor_is_told(void **state)
{
    static const float values[] = {1.0f, 2.0f, 3.0f, 4.0f, NAN, 6.0f};
    static const struct {
        const char *name, *dtype, *shape, *message;
        size_t n;
    } rows[] = {
        {"noise", "F32", "[2,3]", "tensor mel expected, not there", 6},
        {"mel", "F32", "[3,2]", "mel: f32 [-1, 3] expected (-1: any), f32 [3, 2] found", 6},
        {"mel", "F32", "[6]", "f32 [6] found", 6},
        {"mel", "I32", "[2,3]", "i32 [2, 3] found", 6},
        {"mel", "F32", "[0,3]", "f32 [0, 3] found", 0},
        {"mel", "F32", "[2,3]", "mel: element 4 is no number", 6},
        {"mel", "F32", "[2,4]", "one.safetensors", 6},
    };
    const env *e = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[512];
        void *found;
        sa2_error err = {0};
        sa2_tensor form = sa2_tensor_2d(NULL, SA2_F32, -1, 3);
        write_tensor(e, path, rows[i].name, rows[i].dtype, rows[i].shape, values, rows[i].n);
        assert_int_equal(sa2_tensor_file_read(path, "mel", &form, &found, &err), SA2_ERR_FORMAT);
        assert_null(found);
        if (strstr(err.message, rows[i].message) == NULL || strstr(err.message, path) == NULL)
            fail_msg("\"%s\" expected in \"%s\"", rows[i].message, err.message);
    }
}

static void tokens_that_are_none_are_refused(void **state)
{
    static const int32_t values[][2] = {{5, 6561}, {5, -1}, {INT32_MAX, 5}, {INT32_MIN, 5}};
    env *e = *state;
    char voice[1024], path[512];
    test_data(voice, sizeof voice, "golden/token2wav/token2wav.safetensors");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        write_tensor(e, path, "tokens", "I32", "[2]", values[i], 2);
        assert_int_equal(vocode(e, "--voice", voice, path, NULL), 65);
    }
    write_tensor(e, path, "tokens", "I32", "[0]", values, 0);
    assert_int_equal(vocode(e, "--voice", voice, path, NULL), 65);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_sound_as_in_the_golden_case),
        cmocka_unit_test(a_stream_sounds_as_in_the_golden_case),
        cmocka_unit_test(a_mel_sounds_as_in_the_golden_case),
        cmocka_unit_test(a_streamed_mel_is_as_long_as_a_whole_one),
        cmocka_unit_test(a_tensor_is_found_under_both_names),
        cmocka_unit_test(what_is_wrong_with_a_tensor_is_told),
        cmocka_unit_test(tokens_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
