/* Writing sounds: files and pipes hold the samples that were given, by one rule of rounding. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/audio/audio_file.h"
#include "runtime/audio/audio_writer.h"
#include "tests/support/test_files.h"

static const double PI = 3.14159265358979323846;

enum { N = 24000 };

typedef struct fixture {
    char folder[256];
    float tone[N]; /* one second at 24 kHz, 1.25 loud: some of it must be clipped */
    int16_t s16[N];
} fixture;

static int setup(void **state)
{
    fixture *f = malloc(sizeof *f);
    assert_non_null(f);
    test_folder_create(f->folder, sizeof f->folder);
    for (int i = 0; i < N; i++) {
        f->tone[i] = (float)(1.25 * sin(2.0 * PI * 440.0 * i / 24000.0));
        double clipped = f->tone[i] > 1.0f ? 1.0 : f->tone[i] < -1.0f ? -1.0 : (double)f->tone[i];
        f->s16[i] = (int16_t)trunc((double)((float)clipped * 32767.0f));
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

static const char *place(const fixture *f, char path[512], const char *name)
{
    snprintf(path, 512, "%s/%s", f->folder, name);
    return path;
}

/* In pieces of growing size, as speech comes out. */
static void write_tone(const fixture *f, const char *path, sa2_audio_sample sample)
{
    sa2_audio_writer *writer;
    sa2_error err = {0};
    if (sa2_audio_writer_create(&writer, path, 24000, sample, &err) != SA2_OK)
        fail_msg("%s", err.message);
    int64_t piece = 1;
    for (int64_t from = 0; from < N; from += piece) {
        piece = from + 1 < N - from ? from + 1 : N - from;
        assert_int_equal(sa2_audio_writer_append(writer, f->tone + from, piece, &err), SA2_OK);
    }
    if (sa2_audio_writer_finish(writer, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_audio_writer_destroy(writer);
}

static void read_tone(const char *path, sa2_audio *audio)
{
    sa2_error err = {0};
    if (sa2_audio_read(audio, &(sa2_audio_source){.path = path}, SA2_CHANNEL_FIRST, 24000, &err) !=
        SA2_OK)
        fail_msg("%s", err.message);
}

static void lossless_files_hold_the_clipped_16_bit_samples(void **state)
{
    static const char *const names[] = {"a.wav", "a.flac", "UPPER.WAV"};
    const fixture *f = *state;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        char path[512];
        sa2_audio audio;
        write_tone(f, place(f, path, names[k]), SA2_SAMPLE_S16);
        read_tone(path, &audio);
        assert_int_equal(audio.n_samples, N);
        for (int i = 0; i < N; i++)
            assert_true(audio.samples[i] == (float)f->s16[i] / 32768.0f);
        sa2_audio_destroy(&audio);
    }
}

static void a_float_wav_holds_the_samples_themselves(void **state)
{
    const fixture *f = *state;
    char path[512];
    sa2_audio audio;
    write_tone(f, place(f, path, "f.wav"), SA2_SAMPLE_F32);
    read_tone(path, &audio);
    assert_int_equal(audio.n_samples, N);
    assert_memory_equal(audio.samples, f->tone, sizeof f->tone);
    sa2_audio_destroy(&audio);
}

static void lossy_files_keep_the_tone(void **state)
{
    static const char *const names[] = {"a.ogg", "a.opus", "a.mp3"};
    const fixture *f = *state;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        char path[512];
        sa2_audio audio;
        write_tone(f, place(f, path, names[k]), SA2_SAMPLE_S16);
        read_tone(path, &audio);
        /* A tone clipped at 1 has 0.5, the codec may lose 0.4 dB of it; MP3 adds up to 1.5 frames of 1152. */
        assert_in_range(audio.n_samples, N, N + 2000);
        double power = 0.0, want = 0.0;
        for (int i = N / 4; i < 3 * N / 4; i++) {
            power += (double)audio.samples[i] * (double)audio.samples[i];
            want += (double)f->s16[i] * (double)f->s16[i] / (32768.0 * 32768.0);
        }
        assert_float_equal(sqrt(power / want), 1.0, 0.05);
        sa2_audio_destroy(&audio);
    }
}

static void standard_output_gets_raw_little_endian_samples(void **state)
{
    const fixture *f = *state;
    char path[512];
    for (int sample = SA2_SAMPLE_S16; sample <= SA2_SAMPLE_F32; sample++) {
        fflush(stdout);
        int saved = dup(STDOUT_FILENO);
        FILE *file = fopen(place(f, path, "raw"), "wb");
        assert_non_null(file);
        assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
        write_tone(f, "-", (sa2_audio_sample)sample);
        assert_true(dup2(saved, STDOUT_FILENO) >= 0);
        close(saved);
        fclose(file);
        size_t n;
        char *bytes = test_read_file(path, &n);
        assert_int_equal(n, sample == SA2_SAMPLE_S16 ? sizeof f->s16 : sizeof f->tone);
        assert_memory_equal(bytes, sample == SA2_SAMPLE_S16 ? (const void *)f->s16 : f->tone, n);
        free(bytes);
    }
}

static void what_cannot_be_written_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *name;
        int rate;
        sa2_audio_sample sample;
        sa2_status want;
        const char *words;
    } rows[] = {
        {"a.txt", 24000, SA2_SAMPLE_S16, SA2_ERR_ARG, "a name that ends in .wav"},
        {"wav", 24000, SA2_SAMPLE_S16, SA2_ERR_ARG, "a name that ends in .wav"},
        {"a.flac", 24000, SA2_SAMPLE_F32, SA2_ERR_ARG, "float samples go into .wav only"},
        {"a.opus", 22050, SA2_SAMPLE_S16, SA2_ERR_ARG, ".opus of 22050 Hz: "},
        {"none/a.wav", 24000, SA2_SAMPLE_S16, SA2_ERR_IO, "No such file or directory"},
    };
    const fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[512];
        sa2_audio_writer *writer;
        sa2_error err = {0};
        assert_int_equal(sa2_audio_writer_create(&writer, place(f, path, rows[i].name),
                                                 rows[i].rate, rows[i].sample, &err),
                         rows[i].want);
        assert_null(writer);
        if (strstr(err.message, rows[i].words) == NULL)
            fail_msg("\"%s\" expected in \"%s\"", rows[i].words, err.message);
    }
}

static void a_full_disk_is_said_to_be_full(void **state)
{
    static const char *const names[] = {"full.wav", "full.flac"};
    const fixture *f = *state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512];
        if (symlink("/dev/full", place(f, path, names[i])) != 0 || access(path, W_OK) != 0) {
            printf("skipped: /dev/full is not there\n");
            return;
        }
        sa2_audio_writer *writer;
        sa2_error err = {0};
        sa2_status st = sa2_audio_writer_create(&writer, path, 24000, SA2_SAMPLE_S16, &err);
        if (st == SA2_OK)
            st = sa2_audio_writer_append(writer, f->tone, N, &err);
        if (st == SA2_OK)
            st = sa2_audio_writer_finish(writer, &err);
        assert_int_equal(st, SA2_ERR_IO);
        if (strstr(err.message, names[i]) == NULL ||
            strstr(err.message, "No space left on device") == NULL)
            fail_msg("%s", err.message);
        sa2_audio_writer_destroy(writer);
    }
}

static void a_wav_file_is_whole_before_it_is_finished(void **state)
{
    const fixture *f = *state;
    char path[512];
    sa2_audio_writer *writer;
    sa2_error err = {0};
    assert_int_equal(
        sa2_audio_writer_create(&writer, place(f, path, "half.wav"), 24000, SA2_SAMPLE_S16, &err),
        SA2_OK);
    assert_int_equal(sa2_audio_writer_append(writer, f->tone, 1000, &err), SA2_OK);
    size_t n;
    unsigned char *bytes = (unsigned char *)test_read_file(path, &n);
    assert_int_equal(n, 44 + 2000);
    assert_int_equal(bytes[40] | bytes[41] << 8, 2000); /* length of the data chunk */
    free(bytes);
    sa2_audio_writer_destroy(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lossless_files_hold_the_clipped_16_bit_samples),
        cmocka_unit_test(a_float_wav_holds_the_samples_themselves),
        cmocka_unit_test(lossy_files_keep_the_tone),
        cmocka_unit_test(standard_output_gets_raw_little_endian_samples),
        cmocka_unit_test(what_cannot_be_written_is_refused_with_a_reason),
        cmocka_unit_test(a_full_disk_is_said_to_be_full),
        cmocka_unit_test(a_wav_file_is_whole_before_it_is_finished),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
