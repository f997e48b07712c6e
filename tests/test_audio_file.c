/* Sound files: every way in gives the samples that the format defines, and what is no sound is refused. */
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
#include <sndfile.h>

#include "kernels/base/limits.h"
#include "runtime/audio/audio_file.h"
#include "runtime/audio/resample.h"
#include "tests/support/test_files.h"

static const double PI = 3.14159265358979323846;

typedef struct folder {
    char path[256];
} folder;

static int setup(void **state)
{
    folder *made = malloc(sizeof *made);
    assert_non_null(made);
    test_folder_create(made->path, sizeof made->path);
    *state = made;
    return 0;
}

static int teardown(void **state)
{
    folder *made = *state;
    test_folder_remove(made->path);
    free(made);
    return 0;
}

/* A path inside the test's folder. */
static const char *place(void **state, char path[512], const char *name)
{
    const folder *in = *state;
    snprintf(path, 512, "%s/%s", in->path, name);
    return path;
}

/* A sound file of frames [n, channels]; the scale of floats is the format's. */
static void make(const char *path, int format, int rate, int channels, const float *frames,
                 int64_t n)
{
    SF_INFO info = {.samplerate = rate, .channels = channels, .format = format};
    SNDFILE *file = sf_open(path, SFM_WRITE, &info);
    if (file == NULL)
        fail_msg("%s: %s", path, sf_strerror(NULL));
    assert_int_equal(sf_writef_float(file, frames, n), n);
    assert_int_equal(sf_close(file), 0);
}

/* All samples of a source at its own rate. */
static float *read_all(const sa2_audio_source *source, sa2_audio_channel channel, int64_t *n)
{
    sa2_audio_reader *reader;
    sa2_error err = {0};
    if (sa2_audio_reader_open(&reader, source, &err) != SA2_OK)
        fail_msg("%s", err.message);
    int64_t room = 1 << 20, got;
    float *samples = malloc((size_t)room * sizeof *samples);
    assert_non_null(samples);
    *n = 0;
    do {
        if (sa2_audio_reader_read(reader, channel, samples + *n, room - *n, &got, &err) != SA2_OK)
            fail_msg("%s", err.message);
        *n += got;
    } while (got > 0);
    sa2_audio_reader_close(reader);
    return samples;
}

/* What reading the source whole says. */
static sa2_status read_error(const sa2_audio_source *source, sa2_error *err)
{
    sa2_audio audio;
    *err = (sa2_error){0};
    sa2_status st = sa2_audio_read(&audio, source, SA2_CHANNEL_FIRST, 16000, err);
    if (st == SA2_OK)
        sa2_audio_destroy(&audio);
    else
        assert_null(audio.samples);
    return st;
}

static void assert_refused(const sa2_audio_source *source, sa2_status want, const char *words)
{
    sa2_error err;
    assert_int_equal(read_error(source, &err), want);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", words, err.message);
}

static float *tone(int64_t n, int rate, int channels)
{
    float *x = malloc((size_t)(n * channels) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < channels; c++)
            x[i * channels + c] = (float)(0.5 * sin(2.0 * PI * 440.0 * (double)i / rate));
    return x;
}

/* ---- what samples are ---- */

static void every_integer_format_is_scaled_by_a_power_of_two(void **state)
{
    /* Multiples of 1/128: exact in 8 bits and in all others. */
    static const float frames[] = {0.0f, 0.5f, -0.5f, 0.9921875f, -1.0f, 0.0078125f, -0.0078125f};
    enum { N = sizeof frames / sizeof frames[0] };
    static const struct {
        const char *name;
        int format;
    } rows[] = {
        {"u8.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_U8},
        {"s16.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16},
        {"s24.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_24},
        {"s32.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_32},
        {"f32.wav", SF_FORMAT_WAV | SF_FORMAT_FLOAT},
        {"f64.wav", SF_FORMAT_WAV | SF_FORMAT_DOUBLE},
        {"s16.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16},
        {"s24.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_24},
        {"s16.aiff", SF_FORMAT_AIFF | SF_FORMAT_PCM_16},
        {"s16.au", SF_FORMAT_AU | SF_FORMAT_PCM_16},
        {"s16.caf", SF_FORMAT_CAF | SF_FORMAT_PCM_16},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[512];
        SF_INFO info = {.samplerate = 16000, .channels = 1, .format = rows[i].format};
        SNDFILE *file = sf_open(place(state, path, rows[i].name), SFM_WRITE, &info);
        assert_non_null(file);
        int kind = rows[i].format & SF_FORMAT_SUBMASK;
        if (kind == SF_FORMAT_FLOAT || kind == SF_FORMAT_DOUBLE) {
            assert_int_equal(sf_write_float(file, frames, N), N);
        } else { /* as integers of 32 bits, so that no scaling of the writer is relied on */
            for (int k = 0; k < N; k++) {
                int value = (int)lrint((double)frames[k] * 0x1p31);
                assert_int_equal(sf_write_int(file, &value, 1), 1);
            }
        }
        sf_close(file);
        int64_t n;
        float *found = read_all(&(sa2_audio_source){.path = path}, SA2_CHANNEL_FIRST, &n);
        assert_int_equal(n, N);
        assert_memory_equal(found, frames, sizeof frames);
        free(found);
    }
}

static void the_first_channel_is_kept_or_the_mean_taken(void **state)
{
    static const float frames[3][2] = {{0.5f, -0.25f}, {-1.0f, 0.5f}, {0.25f, 0.75f}};
    char path[512];
    make(place(state, path, "stereo.wav"), SF_FORMAT_WAV | SF_FORMAT_FLOAT, 24000, 2, frames[0], 3);
    sa2_audio_source source = {.path = path};
    int64_t n;
    float *first = read_all(&source, SA2_CHANNEL_FIRST, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(first, ((float[]){0.5f, -1.0f, 0.25f}), 3 * sizeof *first);
    free(first);
    float *mean = read_all(&source, SA2_CHANNEL_MEAN, &n);
    assert_memory_equal(mean, ((float[]){0.125f, -0.25f, 0.5f}), 3 * sizeof *mean);
    free(mean);
}

static void a_whole_sound_is_the_resampled_first_channel(void **state)
{
    char path[512];
    enum { N = 44100 };
    float *x = tone(N, 44100, 2);
    for (int i = 0; i < N; i++)
        x[2 * i + 1] = 1.0f; /* must not be heard */
    make(place(state, path, "tone.wav"), SF_FORMAT_WAV | SF_FORMAT_FLOAT, 44100, 2, x, N);
    for (int i = 0; i < N; i++)
        x[i] = x[2 * i];
    sa2_resample_table table;
    assert_int_equal(sa2_resample_table_create(&table, 44100, 16000, NULL), SA2_OK);
    float *want = malloc(16000 * sizeof *want);
    assert_non_null(want);
    assert_int_equal(sa2_resample(&table, x, N, want, NULL), SA2_OK);
    sa2_audio audio;
    assert_int_equal(
        sa2_audio_read(&audio, &(sa2_audio_source){.path = path}, SA2_CHANNEL_FIRST, 16000, NULL),
        SA2_OK);
    assert_int_equal(audio.rate, 16000);
    assert_int_equal(audio.n_samples, 16000);
    assert_memory_equal(audio.samples, want, 16000 * sizeof *want);
    sa2_audio_destroy(&audio);
    sa2_resample_table_destroy(&table);
    free(want);
    free(x);
}

/* A lossy codec keeps a tone of 440 Hz: half a second in the middle correlates with it. */
static double tone_level(const float *x, int64_t n)
{
    double sine = 0.0, cosine = 0.0;
    int64_t from = n / 4, count = 8000;
    assert_true(from + count <= n);
    for (int64_t i = 0; i < count; i++) {
        sine += (double)x[from + i] * sin(2.0 * PI * 440.0 * (double)i / 16000);
        cosine += (double)x[from + i] * cos(2.0 * PI * 440.0 * (double)i / 16000);
    }
    return 2.0 / (double)count * sqrt(sine * sine + cosine * cosine);
}

static void compressed_sounds_keep_a_tone(void **state)
{
    static const struct {
        const char *name;
        int format, rate, channels;
        int64_t padding; /* samples at 16 kHz that the codec may add */
    } rows[] = {
        {"tone.mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, 44100, 2, 1300},
        {"tone.ogg", SF_FORMAT_OGG | SF_FORMAT_VORBIS, 44100, 2, 0},
        {"tone.opus", SF_FORMAT_OGG | SF_FORMAT_OPUS, 48000, 1, 0},
        {"ulaw.wav", SF_FORMAT_WAV | SF_FORMAT_ULAW, 8000, 1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[512];
        float *x = tone(rows[i].rate, rows[i].rate, rows[i].channels);
        make(place(state, path, rows[i].name), rows[i].format, rows[i].rate, rows[i].channels, x,
             rows[i].rate);
        sa2_audio audio;
        sa2_error err = {0};
        if (sa2_audio_read(&audio, &(sa2_audio_source){.path = path}, SA2_CHANNEL_FIRST, 16000,
                           &err) != SA2_OK)
            fail_msg("%s", err.message);
        assert_in_range(audio.n_samples, 16000, 16000 + rows[i].padding);
        assert_float_equal(tone_level(audio.samples, audio.n_samples), 0.5, 0.025); /* 0.4 dB */
        sa2_audio_destroy(&audio);
        free(x);
    }
}

static void a_sound_of_three_samples_is_a_sound(void **state)
{
    char path[512];
    make(place(state, path, "three.wav"), SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 1,
         (float[]){0.5f, 0.25f, 0.0f}, 3);
    sa2_audio audio;
    assert_int_equal(
        sa2_audio_read(&audio, &(sa2_audio_source){.path = path}, SA2_CHANNEL_FIRST, 16000, NULL),
        SA2_OK);
    assert_int_equal(audio.n_samples, 6);
    sa2_audio_destroy(&audio);
}

/* ---- where sounds come from ---- */

/* The bytes as what a pipe holds, at the other end of which nobody writes any more. */
static int pipe_with(const void *bytes, size_t n)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], bytes, n), n);
    close(ends[1]);
    return ends[0];
}

static void memory_a_pipe_and_standard_input_give_what_the_path_gives(void **state)
{
    static const struct {
        const char *name;
        int format;
    } rows[] = {
        {"a.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16},
        {"a.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16},
        {"a.ogg", SF_FORMAT_OGG | SF_FORMAT_VORBIS},
        {"a.mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III},
    };
    float *x = tone(16000, 16000, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[512], from[64];
        int64_t n, n_want;
        size_t n_bytes;
        make(place(state, path, rows[i].name), rows[i].format, 16000, 1, x, 16000);
        char *bytes = test_read_file(path, &n_bytes);
        assert_true(n_bytes < 65536); /* what a pipe holds */
        float *want = read_all(&(sa2_audio_source){.path = path}, SA2_CHANNEL_FIRST, &n_want);

        float *memory = read_all(&(sa2_audio_source){.bytes = bytes, .n_bytes = n_bytes},
                                 SA2_CHANNEL_FIRST, &n);
        assert_int_equal(n, n_want);
        assert_memory_equal(memory, want, (size_t)n * sizeof *want);

        int fd = pipe_with(bytes, n_bytes);
        snprintf(from, sizeof from, "/dev/fd/%d", fd);
        float *piped = read_all(&(sa2_audio_source){.path = from}, SA2_CHANNEL_FIRST, &n);
        close(fd);
        assert_int_equal(n, n_want);
        assert_memory_equal(piped, want, (size_t)n * sizeof *want);

        fd = pipe_with(bytes, n_bytes);
        assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
        float *input = read_all(&(sa2_audio_source){.path = "-"}, SA2_CHANNEL_FIRST, &n);
        close(fd);
        assert_int_equal(n, n_want);
        assert_memory_equal(input, want, (size_t)n * sizeof *want);
        free(bytes);
        free(want);
        free(memory);
        free(piped);
        free(input);
    }
    free(x);
}

static void raw_pcm_is_read_as_it_arrives(void **state)
{
    (void)state;
    int ends[2];
    char from[64];
    assert_int_equal(pipe(ends), 0);
    snprintf(from, sizeof from, "/dev/fd/%d", ends[0]);
    sa2_audio_source source = {
        .path = from, .pcm = SA2_PCM_S16LE, .pcm_rate = 48000, .pcm_channels = 2};
    sa2_audio_reader *reader;
    float x[8];
    int64_t n;
    assert_int_equal(sa2_audio_reader_open(&reader, &source, NULL), SA2_OK);
    assert_int_equal(sa2_audio_reader_rate(reader), 48000);
    assert_int_equal(sa2_audio_reader_channels(reader), 2);
    /* One frame and a half: the first is there at once, though nobody has closed the pipe. */
    assert_int_equal(write(ends[1], "\x00\x40\x00\x00\x00\x80", 6), 6);
    assert_int_equal(sa2_audio_reader_read(reader, SA2_CHANNEL_FIRST, x, 8, &n, NULL), SA2_OK);
    assert_int_equal(n, 1);
    assert_true(x[0] == 0.5f);
    assert_int_equal(write(ends[1], "\xff\x7f\x01\x00\x00\x00\x02", 7), 7);
    close(ends[1]);
    assert_int_equal(sa2_audio_reader_read(reader, SA2_CHANNEL_MEAN, x, 8, &n, NULL), SA2_OK);
    assert_int_equal(n, 2);
    assert_true(x[0] == (-1.0f + 32767.0f / 32768.0f) / 2.0f);
    assert_true(x[1] == 0.5f / 32768.0f);
    /* Three bytes are no frame: the end. */
    assert_int_equal(sa2_audio_reader_read(reader, SA2_CHANNEL_FIRST, x, 8, &n, NULL), SA2_OK);
    assert_int_equal(n, 0);
    sa2_audio_reader_close(reader);
    close(ends[0]);
}

static void raw_float_pcm_is_taken_as_it_is(void **state)
{
    (void)state;
    static const unsigned char bytes[] = {0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc1}; /* 1, -10 */
    sa2_audio_source source = {.bytes = bytes,
                               .n_bytes = sizeof bytes,
                               .pcm = SA2_PCM_F32LE,
                               .pcm_rate = 16000,
                               .pcm_channels = 1};
    int64_t n;
    float *x = read_all(&source, SA2_CHANNEL_FIRST, &n);
    assert_int_equal(n, 2);
    assert_true(x[0] == 1.0f && x[1] == -10.0f);
    free(x);
}

/* ---- headers that lie, and the longest sound ---- */

/* The four bytes after the name of a WAV's data chunk. */
static void set_data_size(char *wav, size_t n, uint32_t size)
{
    for (size_t i = 12; i + 8 <= n; i++)
        if (memcmp(wav + i, "data", 4) == 0) {
            memcpy(wav + i + 4, &size, sizeof size);
            return;
        }
    fail_msg("no data chunk");
}

static void a_wav_whose_header_states_another_length_is_read_to_its_end(void **state)
{
    static const uint32_t sizes[] = {0, 0xffffffffu, 0x7fffffffu, 0x80000000u};
    char path[512];
    float *x = tone(16000, 16000, 1);
    make(place(state, path, "lies.wav"), SF_FORMAT_WAV | SF_FORMAT_PCM_16, 16000, 1, x, 16000);
    size_t n_bytes;
    char *bytes = test_read_file(path, &n_bytes);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        set_data_size(bytes, n_bytes, sizes[i]);
        int64_t n;
        float *found = read_all(&(sa2_audio_source){.bytes = bytes, .n_bytes = n_bytes},
                                SA2_CHANNEL_FIRST, &n);
        assert_int_equal(n, 16000);
        free(found);
        test_write_file(path, bytes, n_bytes);
        found = read_all(&(sa2_audio_source){.path = path}, SA2_CHANNEL_FIRST, &n);
        assert_int_equal(n, 16000);
        free(found);
    }
    free(bytes);
    free(x);
}

static void another_chunk_after_an_empty_data_chunk_is_no_sample(void **state)
{
    (void)state;
    static const char wav[] =
        "RIFF\x34\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0"
        "data\0\0\0\0LIST\4\0\0\0INFO";
    sa2_audio_source source = {.bytes = wav, .n_bytes = sizeof wav - 1};
    assert_refused(&source, SA2_ERR_FORMAT, "no samples");
    source.n_bytes -=
        4; /* "LIST" is now longer than the file: two samples of a stream, and two more */
    int64_t n;
    float *x = read_all(&source, SA2_CHANNEL_FIRST, &n);
    assert_int_equal(n, 4);
    free(x);
}

/* A FLAC stream whose encoder could not go back to write the number of samples: 36 bits of 0. */
static void a_flac_without_a_length_is_read_to_its_end(void **state)
{
    char path[512];
    float *x = tone(16000, 16000, 1);
    make(place(state, path, "stream.flac"), SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 16000, 1, x, 16000);
    size_t n_bytes;
    char *bytes = test_read_file(path, &n_bytes);
    bytes[21] &= (char)0xf0; /* "fLaC", 4 of block header, 13 of STREAMINFO before the number */
    memset(bytes + 22, 0, 4);
    int64_t n;
    float *found =
        read_all(&(sa2_audio_source){.bytes = bytes, .n_bytes = n_bytes}, SA2_CHANNEL_FIRST, &n);
    assert_int_equal(n, 16000);
    free(found);
    free(bytes);
    free(x);
}

/* What reading the source to its end at its own rate says. */
static sa2_status drain(const sa2_audio_source *source, sa2_error *err)
{
    sa2_audio_reader *reader;
    float samples[4096];
    int64_t n = 1;
    *err = (sa2_error){0};
    sa2_status st = sa2_audio_reader_open(&reader, source, err);
    while (st == SA2_OK && n > 0)
        st = sa2_audio_reader_read(reader, SA2_CHANNEL_FIRST, samples, 4096, &n, err);
    sa2_audio_reader_close(reader);
    return st;
}

static void assert_too_long(const sa2_audio_source *source)
{
    sa2_error err;
    assert_int_equal(drain(source, &err), SA2_ERR_LIMIT);
    assert_non_null(strstr(err.message, "longer than 1800 s"));
}

static void thirty_minutes_are_counted_while_decoding(void **state)
{
    int64_t longest = (int64_t)SA2_LIMIT_SOUND_SECONDS * SA2_LIMIT_SOUND_RATE_LEAST_HZ;
    float *x = calloc((size_t)longest + 1, sizeof *x);
    assert_non_null(x);
    char path[512];
    int format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
    make(place(state, path, "long.wav"), format, SA2_LIMIT_SOUND_RATE_LEAST_HZ, 1, x, longest);
    sa2_error err;
    assert_int_equal(drain(&(sa2_audio_source){.path = path}, &err), SA2_OK);
    make(path, format, SA2_LIMIT_SOUND_RATE_LEAST_HZ, 1, x, longest + 1);
    assert_too_long(&(sa2_audio_source){.path = path});

    size_t n_bytes;
    char *bytes = test_read_file(path, &n_bytes);
    set_data_size(bytes, n_bytes, 0);
    sa2_audio_source memory = {.bytes = bytes, .n_bytes = n_bytes};
    assert_too_long(&memory);
    memory.pcm = SA2_PCM_S16LE;
    memory.pcm_rate = SA2_LIMIT_SOUND_RATE_LEAST_HZ;
    memory.pcm_channels = 1;
    assert_too_long(&memory);
    free(bytes);
    free(x);
}

/* ---- what is no sound ---- */

static void what_is_no_sound_is_refused_with_a_reason(void **state)
{
    char path[512];
    assert_refused(&(sa2_audio_source){.path = place(state, path, "none.wav")}, SA2_ERR_IO,
                   "none.wav: No such file or directory");
    assert_refused(&(sa2_audio_source){.path = place(state, path, "")}, SA2_ERR_IO, "a folder");
    test_write_file(place(state, path, "empty.wav"), "", 0);
    assert_refused(&(sa2_audio_source){.path = path}, SA2_ERR_FORMAT, "empty.wav: empty");
    assert_refused(&(sa2_audio_source){.bytes = "", .n_bytes = 0}, SA2_ERR_FORMAT,
                   "sound in memory: empty");
    test_write_file(place(state, path, "text.mp3"), "Once upon a time there was\n", 27);
    assert_refused(&(sa2_audio_source){.path = path}, SA2_ERR_FORMAT, "text.mp3: not a sound file");
    test_write_file(place(state, path, "cut.wav"), "RIFF\x24\x00\x00\x00WAVEfmt ", 16);
    assert_refused(&(sa2_audio_source){.path = path}, SA2_ERR_FORMAT, "cut.wav: ");
    make(place(state, path, "nothing.wav"), SF_FORMAT_WAV | SF_FORMAT_PCM_16, 16000, 1, NULL, 0);
    assert_refused(&(sa2_audio_source){.path = path}, SA2_ERR_FORMAT, "nothing.wav: no samples");
    assert_refused(&(sa2_audio_source){0}, SA2_ERR_ARG, "without path");
}

static void samples_that_are_no_numbers_are_refused(void **state)
{
    static const float values[] = {NAN, INFINITY, -INFINITY, 1e13f};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char path[512];
        make(place(state, path, "bad.wav"), SF_FORMAT_WAV | SF_FORMAT_FLOAT, 16000, 1,
             (float[]){0.0f, values[i], 0.0f}, 3);
        assert_refused(&(sa2_audio_source){.path = path}, SA2_ERR_FORMAT, "bad.wav: sample 1 is ");
    }
}

static void rates_and_channels_out_of_range_are_refused(void **state)
{
    static const struct {
        int rate, channels;
        const char *words;
    } rows[] = {
        {999, 1, "999 Hz, 1000 to 768000 Hz expected"},
        {768001, 1, "768001 Hz"},
        {16000, 65, "65 channels, 1 to 64 expected"},
    };
    float x[65] = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[512];
        make(place(state, path, "odd.wav"), SF_FORMAT_WAV | SF_FORMAT_PCM_16, rows[i].rate,
             rows[i].channels, x, 1);
        assert_refused(&(sa2_audio_source){.path = path}, SA2_ERR_LIMIT, rows[i].words);
    }
    sa2_audio_source raw = {.bytes = x, .n_bytes = sizeof x, .pcm = SA2_PCM_F32LE};
    assert_refused(&raw, SA2_ERR_LIMIT, "0 Hz");
    raw.pcm_rate = 16000;
    assert_refused(&raw, SA2_ERR_LIMIT, "0 channels");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_integer_format_is_scaled_by_a_power_of_two),
        cmocka_unit_test(the_first_channel_is_kept_or_the_mean_taken),
        cmocka_unit_test(a_whole_sound_is_the_resampled_first_channel),
        cmocka_unit_test(compressed_sounds_keep_a_tone),
        cmocka_unit_test(a_sound_of_three_samples_is_a_sound),
        cmocka_unit_test(memory_a_pipe_and_standard_input_give_what_the_path_gives),
        cmocka_unit_test(raw_pcm_is_read_as_it_arrives),
        cmocka_unit_test(raw_float_pcm_is_taken_as_it_is),
        cmocka_unit_test(a_wav_whose_header_states_another_length_is_read_to_its_end),
        cmocka_unit_test(another_chunk_after_an_empty_data_chunk_is_no_sample),
        cmocka_unit_test(a_flac_without_a_length_is_read_to_its_end),
        cmocka_unit_test(thirty_minutes_are_counted_while_decoding),
        cmocka_unit_test(what_is_no_sound_is_refused_with_a_reason),
        cmocka_unit_test(samples_that_are_no_numbers_are_refused),
        cmocka_unit_test(rates_and_channels_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
