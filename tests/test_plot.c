/* Pictures of sounds: well-formed, bounded, inside their page, whatever the sound is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/test_files.h"
#include "tests/support/xml.h"
#include "tools/plot.h"
#include "tools/sound_log.h"
#include "tools/svg.h"

enum { RATE = 24000, HOP = 480, BINS = 80, MOST_BYTES = 500 * 1000 };

static const double PI = 3.14159265358979323846;

typedef struct fixture {
    char folder[256];
} fixture;

static int setup(void **state)
{
    static fixture f;
    test_folder_create(f.folder, sizeof f.folder);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    test_folder_remove(f->folder);
    return 0;
}

/* ---- reading a picture ---- */

static double attribute(const char *tag, const char *name)
{
    char key[32];
    snprintf(key, sizeof key, " %s='", name);
    const char *at = strstr(tag, key);
    assert_non_null(at);
    return strtod(at + strlen(key), NULL);
}

static void assert_inside(double x, double y, double width, double height, const char *where)
{
    if (!(x >= 0.0 && x <= width && y >= 0.0 && y <= height))
        fail_msg("%g, %g is outside of %g, %g: %.60s", x, y, width, height, where);
}

/* The absolute places of a path: M x y, L x y, H x; h is relative. */
static void assert_path_inside(const char *d, double width, double height)
{
    double x = 0.0, y = 0.0;
    char mode = 'M';
    while (*d != '\'') {
        char *end;
        if (strchr("MLHhz", *d) != NULL) {
            mode = *d++;
            continue;
        }
        double number = strtod(d, &end);
        if (end == d) {
            assert_int_equal(*d, ' ');
            d++;
            continue;
        }
        x = mode == 'h' ? x + number : number;
        if (mode == 'M' || mode == 'L')
            y = strtod(end, &end);
        /* a run of the spectrogram overlaps the next by 0.1 */
        assert_inside(x, y, width, height, d);
        d = end;
    }
}

/* Everything lies on the page; the cells of the spectrogram in their grid. */
static void assert_on_page(const char *text)
{
    const char *svg = strstr(text, "<svg ");
    double width = attribute(svg, "width"), height = attribute(svg, "height");
    double path_width = width, path_height = height;
    for (const char *at = svg + 1; (at = strchr(at, '<')) != NULL; at++) {
        if (strncmp(at, "<g ", 3) == 0) {
            path_width = 480.0;
            path_height = 79.0;
        } else if (strncmp(at, "</g>", 4) == 0) {
            path_width = width;
            path_height = height;
        } else if (strncmp(at, "<path ", 6) == 0) {
            assert_path_inside(strstr(at, " d='") + 4, path_width, path_height);
        } else if (strncmp(at, "<text ", 6) == 0) {
            assert_inside(attribute(at, "x"), attribute(at, "y"), width, height, at);
        } else if (strncmp(at, "<rect x", 7) == 0) {
            assert_inside(attribute(at, "x"), attribute(at, "y"), width, height, at);
            assert_inside(attribute(at, "x") + attribute(at, "width"),
                          attribute(at, "y") + attribute(at, "height"), width, height + 1.0, at);
        }
    }
}

/* Draws, judges what every picture must be, and returns the text, malloc'ed. */
static char *drawn(const fixture *f, const sa2_plot *plot)
{
    char path[512];
    size_t n;
    sa2_error err = {0};
    snprintf(path, sizeof path, "%s/plot.svg", f->folder);
    if (sa2_plot_write(plot, path, &err) != SA2_OK)
        fail_msg("%s", err.message);
    char *text = test_read_file(path, &n);
    assert_well_formed(text, n);
    assert_true(n < MOST_BYTES);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    assert_null(strstr(text, ">-0<"));
    assert_on_page(text);
    return text;
}

/* ---- sounds ---- */

static float random_value(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

typedef struct sound {
    float *samples, *mel, *f0;
    sa2_plot_chunk *chunks;
    sa2_plot plot;
} sound;

/* Noise everywhere: no two cells of the spectrogram are alike, no frame's F0 is that of its neighbour. */
static sound make_noise(int seconds, int bins, int n_chunks)
{
    sound s = {0};
    int n = seconds * RATE, frames = n / HOP;
    uint32_t random = 1;
    s.samples = malloc((size_t)n * sizeof *s.samples);
    s.mel = malloc((size_t)frames * (size_t)bins * sizeof *s.mel);
    s.f0 = malloc((size_t)frames * sizeof *s.f0);
    s.chunks = malloc((size_t)n_chunks * sizeof *s.chunks);
    assert_true(s.samples != NULL && s.mel != NULL && s.f0 != NULL && s.chunks != NULL);
    for (int i = 0; i < n; i++)
        s.samples[i] = random_value(&random);
    for (int i = 0; i < frames * bins; i++)
        s.mel[i] = 5.0f * random_value(&random);
    for (int t = 0; t < frames; t++)
        s.f0[t] = t % 3 == 0 ? 0.0f : 300.0f + 200.0f * random_value(&random);
    for (int i = 0; i < n_chunks; i++)
        s.chunks[i] = (sa2_plot_chunk){.first = (int64_t)i * n / n_chunks,
                                       .n = n / n_chunks,
                                       .ready_s = 0.3 + 0.9 * seconds * i / n_chunks};
    s.plot = (sa2_plot){.title = "noise",
                        .samples = s.samples,
                        .n_samples = n,
                        .rate = RATE,
                        .mel = s.mel,
                        .f0 = s.f0,
                        .n_frames = frames,
                        .bins = bins,
                        .frame_s = (double)HOP / RATE,
                        .top_hz = 8000.0,
                        .chunks = s.chunks,
                        .n_chunks = n_chunks};
    return s;
}

static void free_sound(sound *s)
{
    free(s->samples);
    free(s->mel);
    free(s->f0);
    free(s->chunks);
}

/* ---- tests ---- */

static void a_picture_of_noise_of_any_length_is_small(void **state)
{
    static const struct {
        int seconds, bins, n_chunks;
    } shapes[] = {{1, BINS, 1}, {10, BINS, 13}, {600, BINS, 5000}, {20, 128, 20}, {3, 7, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        sound s = make_noise(shapes[i].seconds, shapes[i].bins, shapes[i].n_chunks);
        free(drawn(*state, &s.plot));
        free_sound(&s);
    }
}

static void panels_are_drawn_for_what_is_there(void **state)
{
    sound s = make_noise(2, BINS, 3);
    char *text = drawn(*state, &s.plot);
    assert_non_null(strstr(text, "Waveform"));
    assert_non_null(strstr(text, "spectrogram"));
    assert_non_null(strstr(text, "Fundamental frequency"));
    assert_non_null(strstr(text, "first sound after 0.30 s"));
    assert_non_null(strstr(text, "none too late"));
    free(text);
    s.plot.mel = NULL;
    s.plot.f0 = NULL;
    s.plot.n_chunks = 0;
    text = drawn(*state, &s.plot);
    assert_non_null(strstr(text, "Waveform"));
    assert_null(strstr(text, "spectrogram"));
    assert_null(strstr(text, "Fundamental frequency"));
    assert_null(strstr(text, "Chunks"));
    free(text);
    free_sound(&s);
}

static void a_chunk_is_late_when_the_ones_before_it_are_played_already(void **state)
{
    sound s = make_noise(3, BINS, 3);
    s.chunks[0].ready_s = 0.5;
    s.chunks[1].ready_s = 1.5; /* just when it is played */
    s.chunks[2].ready_s = 2.75;
    assert_true(sa2_plot_chunk_late(s.chunks, 0, RATE) == 0.0);
    assert_true(sa2_plot_chunk_late(s.chunks, 1, RATE) == 0.0);
    assert_true(sa2_plot_chunk_late(s.chunks, 2, RATE) == 0.25);
    char *text = drawn(*state, &s.plot);
    assert_non_null(strstr(text, "3 chunks, 1 too late, by up to 0.25 s"));
    free(text);
    free_sound(&s);
}

static void what_is_no_number_is_drawn_as_nothing(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0.0f};
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        sound s = make_noise(1, BINS, 1);
        for (int i = 0; i < RATE; i += 3)
            s.samples[i] = bad[k];
        for (int i = 0; i < s.plot.n_frames * BINS; i += 2)
            s.mel[i] = bad[k];
        for (int t = 0; t < s.plot.n_frames; t += 2)
            s.f0[t] = bad[k];
        free(drawn(*state, &s.plot));
        for (int i = 0; i < s.plot.n_frames * BINS; i++)
            s.mel[i] = bad[k];
        for (int t = 0; t < s.plot.n_frames; t++)
            s.f0[t] = bad[k];
        for (int i = 0; i < RATE; i++)
            s.samples[i] = bad[k];
        free(drawn(*state, &s.plot));
        free_sound(&s);
    }
}

static void one_sample_is_a_sound_and_none_is_not(void **state)
{
    const fixture *f = *state;
    const float sample = 0.5f;
    sa2_error err = {0};
    sa2_plot plot = {.title = "one", .samples = &sample, .n_samples = 1, .rate = RATE};
    free(drawn(f, &plot));
    plot.n_samples = 0;
    assert_int_equal(sa2_plot_write(&plot, "/tmp/none.svg", &err), SA2_ERR_ARG);
    assert_non_null(strstr(err.message, "no sound"));
}

static void a_title_may_hold_anything(void **state)
{
    static const char *const titles[] = {"",
                                         "<a href='x'>&amp;\"",
                                         "\xff\xfe\x80 \x01\x1f\x7f",
                                         "caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd",
                                         "\xef\xbf\xbf\xed\xa0\x80",
                                         "cut \xe4\xbd"};
    const float sample = 0.5f;
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        const sa2_plot plot = {
            .title = titles[i], .samples = &sample, .n_samples = 1, .rate = RATE};
        char *text = drawn(*state, &plot);
        if (i == 1)
            assert_non_null(strstr(text, "&lt;a href='x'&gt;&amp;amp;\"</text>"));
        if (i == 3)
            assert_non_null(strstr(text, titles[i]));
        free(text);
    }
}

static void a_folder_that_is_not_there_is_named(void **state)
{
    (void)state;
    const float sample = 0.5f;
    sa2_error err = {0};
    const sa2_plot plot = {.title = "", .samples = &sample, .n_samples = 1, .rate = RATE};
    assert_int_equal(sa2_plot_write(&plot, "/nowhere/at/all.svg", &err), SA2_ERR_IO);
    assert_non_null(strstr(err.message, "/nowhere/at/all.svg"));
}

static void steps_of_an_axis_are_round_and_few_enough(void **state)
{
    (void)state;
    static const struct {
        double span;
        int most;
        double step;
    } rows[] = {{3.8, 12, 0.5},    {1.0, 1, 1.0},     {0.38, 1, 0.5},    {9.04, 12, 1.0},
                {600.0, 12, 50.0}, {0.04, 12, 0.005}, {437.0, 4, 200.0}, {5.01, 1, 10.0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_true(fabs(sa2_svg_step(rows[i].span, rows[i].most) / rows[i].step - 1.0) < 1e-9);
}

static void a_log_keeps_what_came_and_draws_it(void **state)
{
    const fixture *f = *state;
    float tone[RATE];
    char path[512];
    size_t n;
    for (int i = 0; i < RATE; i++)
        tone[i] = (float)(0.4 * sin(2.0 * PI * 200.0 * i / RATE));
    sa2_sound_log log;
    sa2_error err = {0};
    sa2_sound_log_start(&log);
    assert_int_equal(sa2_sound_log_append(&log, tone, 0, &err), SA2_OK);
    for (int from = 0; from < RATE; from += 1000)
        assert_int_equal(sa2_sound_log_append(&log, tone + from, 1000, &err), SA2_OK);
    assert_int_equal(log.n_samples, RATE);
    assert_memory_equal(log.samples, tone, sizeof tone);
    assert_int_equal(log.n_chunks, RATE / 1000);
    for (int i = 0; i < log.n_chunks; i++) {
        assert_int_equal(log.chunks[i].first, 1000 * i);
        assert_int_equal(log.chunks[i].n, 1000);
        assert_true(log.chunks[i].ready_s >= (i > 0 ? log.chunks[i - 1].ready_s : 0.0));
    }
    snprintf(path, sizeof path, "%s/log.svg", f->folder);
    if (sa2_sound_log_plot(&log, path, "a tone", NULL, &err) != SA2_OK)
        fail_msg("%s", err.message);
    char *text = test_read_file(path, &n);
    assert_well_formed(text, n);
    assert_on_page(text);
    assert_non_null(strstr(text, "spectrogram"));
    free(text);
    log.n_samples = 100; /* too short for a mel */
    log.n_chunks = 1;
    assert_int_equal(sa2_sound_log_plot(&log, path, "a blip", NULL, &err), SA2_OK);
    text = test_read_file(path, &n);
    assert_null(strstr(text, "spectrogram"));
    free(text);
    sa2_sound_log_free(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_of_noise_of_any_length_is_small),
        cmocka_unit_test(panels_are_drawn_for_what_is_there),
        cmocka_unit_test(a_chunk_is_late_when_the_ones_before_it_are_played_already),
        cmocka_unit_test(what_is_no_number_is_drawn_as_nothing),
        cmocka_unit_test(one_sample_is_a_sound_and_none_is_not),
        cmocka_unit_test(a_title_may_hold_anything),
        cmocka_unit_test(a_folder_that_is_not_there_is_named),
        cmocka_unit_test(steps_of_an_axis_are_round_and_few_enough),
        cmocka_unit_test(a_log_keeps_what_came_and_draws_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
