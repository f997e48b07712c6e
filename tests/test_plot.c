/* The picture of a sound: whole XML of a bounded size whatever is in it, and a pitch that is right for what has one. */
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
#include "tools/pitch.h"
#include "tools/plot.h"
#include "tools/plot_mel.h"

enum { RATE = 24000 };

static float *tone(double hz, int64_t n, double noise)
{
    float *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    uint32_t random = 7;
    for (int64_t i = 0; i < n; i++) {
        random = random * 1664525u + 1013904223u;
        double t = 6.283185307179586 * hz * (double)i / RATE;
        x[i] = (float)(0.4 * sin(t) + 0.2 * sin(2.0 * t) +
                       noise * ((double)(random >> 8) / (1 << 24) - 0.5));
    }
    return x;
}

/* The picture as text; the caller frees it. */
static char *draw(const sa2_plot *plot)
{
    char folder[200], path[256], *text;
    size_t n;
    sa2_error err = {0};
    test_folder_create(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/picture.svg", folder);
    if (sa2_plot_write(path, plot, &err) != SA2_OK)
        fail_msg("%s", err.message);
    text = test_read_file(path, &n);
    test_folder_remove(folder);
    assert_true(n < 512 * 1024);
    return text;
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        n++;
    return n;
}

/* Every element is closed, nothing is left that XML reserves. */
static void assert_whole(const char *svg)
{
    assert_int_equal(strncmp(svg, "<svg ", 5), 0);
    assert_string_equal(svg + strlen(svg) - 7, "</svg>\n");
    assert_int_equal(count(svg, "<text"), count(svg, "</text>"));
    assert_int_equal(count(svg, "<g "), count(svg, "</g>"));
    assert_int_equal(count(svg, "<"), count(svg, ">"));
    assert_int_equal(count(svg, "nan"), 0);
    assert_int_equal(count(svg, "inf"), 0);
    assert_int_equal(count(svg, "&"), count(svg, "&#"));
}

static void a_picture_is_whole_whatever_it_shows(void **state)
{
    (void)state;
    static const int64_t lengths[] = {0, 1, 700, 12345, 60 * RATE};
    const sa2_plot_chunk chunks[] = {{0, 4800, 0.4}, {4800, 9600, 0.5}, {14400, 9600, 2.0}};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (int n_chunks = 0; n_chunks <= 3; n_chunks += 3) {
            float *x = tone(150.0, lengths[i], 3.0); /* beyond [-1, 1] too */
            const sa2_plot plot = {.title = "a <b> & \"c\" \xff",
                                   .samples = x,
                                   .n = lengths[i],
                                   .chunks = chunks,
                                   .n_chunks = n_chunks};
            char *svg = draw(&plot);
            assert_whole(svg);
            assert_int_equal(count(svg, "<circle"), n_chunks);
            free(svg);
            free(x);
        }
}

static void a_chunk_that_is_late_stands_out(void **state)
{
    (void)state;
    float *x = tone(150.0, RATE, 0.0);
    const sa2_plot_chunk chunks[] = {{0, 12000, 0.4}, {12000, 6000, 0.8}, {18000, 6000, 1.25}};
    const sa2_plot plot = {.title = "", .samples = x, .n = RATE, .chunks = chunks, .n_chunks = 3};
    char *svg = draw(&plot);
    assert_int_equal(count(svg, "#e6b0aa"), 1);
    assert_non_null(strstr(svg, ">+100 ms<"));
    assert_non_null(strstr(svg, ">-100 ms<"));
    free(svg);
    free(x);
}

static void pitch_is_that_of_a_tone_and_none_of_noise(void **state)
{
    (void)state;
    for (double hz = 70.0; hz < 450.0; hz *= 1.3) {
        float *x = tone(hz, RATE, 0.02);
        float found = sa2_pitch_at(x, RATE, RATE, RATE / 2);
        assert_true(fabs(found - hz) < 0.02 * hz); /* a whole number of samples a period */
        assert_true(sa2_pitch_at(x, RATE, RATE, 0) == 0.0f); /* no room for a window */
        free(x);
    }
    float *silence = calloc(RATE, sizeof *silence), *noise = tone(0.0, RATE, 0.5);
    assert_true(sa2_pitch_at(silence, RATE, RATE, RATE / 2) == 0.0f);
    assert_true(sa2_pitch_at(noise, RATE, RATE, RATE / 2) == 0.0f);
    free(noise);
    free(silence);
}

static void the_mel_of_a_tone_is_loud_at_its_bin_only(void **state)
{
    (void)state;
    enum { COLUMNS = 20 };
    uint8_t levels[COLUMNS * SA2_PLOT_BINS];
    float *x = tone(1000.0, RATE, 0.0);
    assert_int_equal(sa2_plot_mel(levels, COLUMNS, x, RATE, NULL), SA2_OK);
    int loudest = 0;
    for (int b = 0; b < SA2_PLOT_BINS; b++)
        if (levels[b * COLUMNS + 10] > levels[loudest * COLUMNS + 10])
            loudest = b;
    /* Slaney's scale: 1 kHz is mel 15, 8 kHz is 45.2; 80 filters have 82 corners. */
    assert_in_range(loudest, 25, 27);
    assert_true(levels[70 * COLUMNS + 10] < SA2_PLOT_LEVELS / 2);
    free(x);
}

static void a_picture_that_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    sa2_error err = {0};
    const sa2_plot plot = {.title = ""};
    assert_int_equal(sa2_plot_write("/proc/nowhere/x.svg", &plot, &err), SA2_ERR_IO);
    assert_non_null(strstr(err.message, "/proc/nowhere/x.svg"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_is_whole_whatever_it_shows),
        cmocka_unit_test(a_chunk_that_is_late_stands_out),
        cmocka_unit_test(pitch_is_that_of_a_tone_and_none_of_noise),
        cmocka_unit_test(the_mel_of_a_tone_is_loud_at_its_bin_only),
        cmocka_unit_test(a_picture_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
