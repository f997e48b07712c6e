/* Resampling: the taps and the sums are torchaudio's, and a stream gives what the whole clip gives. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/audio/resample.h"
#include "tests/support/golden.h"

static const double PI = 3.14159265358979323846;

static sa2_resample_table table_of(int rate_in, int rate_out)
{
    sa2_resample_table table;
    sa2_error err = {0};
    if (sa2_resample_table_create(&table, rate_in, rate_out, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return table;
}

static float *noise(int64_t n, unsigned seed)
{
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    return x;
}

static float *whole(const sa2_resample_table *table, const float *x, int64_t n_in)
{
    float *y = malloc((size_t)(sa2_resample_count(table, n_in) + 1) * sizeof *y);
    assert_non_null(y);
    assert_int_equal(sa2_resample(table, x, n_in, y, NULL), SA2_OK);
    return y;
}

static void taps_are_those_of_the_formula(void **state)
{
    (void)state;
    static const struct {
        int in, out, o, n, width;
        float taps[4]; /* h_0[0..3] */
    } rows[] = {
        {48000, 16000, 3, 1, 19, {0.330000013f, 0.271942794f, 0.135345906f, 0.003113874f}},
        {44100, 16000, 441, 160, 17, {0.359183669f, 0.285130709f, 0.118845075f, -0.023611905f}},
        {32000, 16000, 2, 1, 13, {0.495000005f, 0.312955528f, 0.004670810f, -0.090757430f}},
        {24000, 16000, 3, 2, 10, {0.660000026f, 0.270691812f, -0.118959866f, -0.005026829f}},
        {22050, 16000, 441, 320, 9, {0.718367338f, 0.237690151f, -0.134969547f, 0.035473216f}},
        {8000, 16000, 1, 2, 7, {0.990000010f, 0.009341621f, -0.007540244f, 0.005071022f}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sa2_resample_table table = table_of(rows[i].in, rows[i].out);
        assert_int_equal(table.o, rows[i].o);
        assert_int_equal(table.n, rows[i].n);
        assert_int_equal(table.width, rows[i].width);
        for (int k = 0; k < 4; k++) /* nine decimals are printed */
            assert_float_equal(table.taps[table.width + k], rows[i].taps[k], 1e-9);
        sa2_resample_table_destroy(&table);
    }
}

/* y[i n + j] by the definition, every tap of the 2 W + o, in double. */
static double by_definition(int o, int n, int width, const float *x, int64_t n_in, int64_t at,
                            double *magnitude)
{
    int64_t i = at / n, j = at % n;
    double base = 0.99 * (o < n ? o : n), sum = 0.0;
    *magnitude = 0.0;
    for (int64_t k = -width; k < width + o; k++) {
        if (i * o + k < 0 || i * o + k >= n_in)
            continue;
        double t = ((double)k / o - (double)((float)j / (float)n)) * base;
        t = fmin(fmax(t, -6.0), 6.0);
        double w = cos(PI * t / 12.0), sinc = t == 0.0 ? 1.0 : sin(PI * t) / (PI * t);
        double term = (double)(float)(w * w * sinc * base / o) * (double)x[i * o + k];
        sum += term;
        *magnitude += fabs(term);
    }
    return sum;
}

static void every_pair_of_rates_matches_the_definition(void **state)
{
    (void)state;
    static const int rates[][2] = {
        {48000, 16000}, {44100, 16000},  {44100, 24000}, {24000, 16000},
        {16000, 24000}, {8000, 16000},   {11025, 24000}, {1000, 16000},
        {16001, 16000}, {192000, 16000}, {384000, 7},
    };
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        sa2_resample_table table = table_of(rates[r][0], rates[r][1]);
        static const int64_t lengths[] = {0, 1, 3, 700, 5001};
        for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
            int64_t n_in = lengths[l], n_out = sa2_resample_count(&table, n_in);
            assert_int_equal(n_out, (n_in * table.n + table.o - 1) / table.o);
            float *x = noise(n_in, 7), *y = whole(&table, x, n_in);
            for (int64_t at = 0; at < n_out; at += 1 + n_out / 300) {
                double magnitude,
                    want = by_definition(table.o, table.n, table.width, x, n_in, at, &magnitude);
                /* A term is rounded once and passes row / 16 + 4 additions, each 2^-24 of a partial sum. */
                double bound = (table.row / 16 + 5) * 0x1p-24 * magnitude + 1e-30;
                if (!(fabs((double)y[at] - want) <= bound))
                    fail_msg("%d to %d Hz, %lld samples, [%lld]: %.9g, %.9g expected", rates[r][0],
                             rates[r][1], (long long)n_in, (long long)at, (double)y[at], want);
            }
            free(x);
            free(y);
        }
        sa2_resample_table_destroy(&table);
    }
}

static void a_tone_has_the_known_samples(void **state)
{
    (void)state;
    static const struct {
        int rate, n_in;
        float first[4], middle[3], last; /* y[0..3], y[80..82], y[159] */
    } rows[] = {
        {48000,
         480,
         {0.0082758f, 0.0848523f, 0.1700099f, 0.2475659f},
         {0.4756342f, 0.4951221f, 0.4998646f},
         0.3794748f},
        {44100,
         441,
         {0.0081237f, 0.0848557f, 0.1700100f, 0.2475650f},
         {0.4756342f, 0.4951222f, 0.4998652f},
         0.3789609f},
        {8000,
         80,
         {0.0004534f, 0.0708721f, 0.1689425f, 0.2544254f},
         {0.4754931f, 0.4947739f, 0.4997163f},
         0.1991621f},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        float x[480];
        for (int t = 0; t < rows[i].n_in; t++)
            x[t] = (float)(0.5 * sin(2.0 * PI * 440.0 * t / rows[i].rate));
        sa2_resample_table table = table_of(rows[i].rate, 16000);
        assert_int_equal(sa2_resample_count(&table, rows[i].n_in), 160);
        float *y = whole(&table, x, rows[i].n_in);
        for (int k = 0; k < 4; k++)
            assert_float_equal(y[k], rows[i].first[k], 2e-6);
        for (int k = 0; k < 3; k++)
            assert_float_equal(y[80 + k], rows[i].middle[k], 2e-6);
        assert_float_equal(y[159], rows[i].last, 2e-6);
        free(y);
        sa2_resample_table_destroy(&table);
    }
}

static void check_golden(const char *name, int rate_in, int rate_out)
{
    sa2_golden_case *golden = golden_open(name);
    sa2_tensor x = golden_input(golden, "samples");
    sa2_resample_table table = table_of(rate_in, rate_out);
    float *y = whole(&table, x.data, x.shape[0]);
    assert_golden(golden, "samples", SA2_F32,
                  sa2_tensor_1d(y, SA2_F32, sa2_resample_count(&table, x.shape[0])));
    free(y);
    sa2_resample_table_destroy(&table);
    sa2_golden_case_close(golden);
}

static void resampled_sounds_are_golden(void **state)
{
    (void)state;
    static const int to_16k[] = {8000, 22050, 24000, 32000, 44100, 48000};
    for (size_t i = 0; i < sizeof to_16k / sizeof to_16k[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "language_model/resample_%d.safetensors", to_16k[i]);
        check_golden(name, to_16k[i], 16000);
    }
    static const int pairs[][2] = {{16000, 24000}, {22050, 16000}, {24000, 16000}, {44100, 16000},
                                   {44100, 24000}, {48000, 16000}, {48000, 24000}, {8000, 24000}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "token2wav/resample_%d_%d.safetensors", pairs[i][0],
                 pairs[i][1]);
        check_golden(name, pairs[i][0], pairs[i][1]);
    }
}

static void a_stream_gives_the_bits_of_the_whole_clip(void **state)
{
    (void)state;
    static const int rates[][2] = {
        {44100, 16000}, {48000, 24000}, {16000, 24000}, {8000, 16000}, {192000, 1000}, {5, 5},
    };
    static const int64_t pieces[] = {1, 7, 160, 4999, 100000};
    enum { N_IN = 30011 };
    float *x = noise(N_IN, 3);
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        sa2_resample_table table = table_of(rates[r][0], rates[r][1]);
        int64_t n_out = sa2_resample_count(&table, N_IN);
        float *want = whole(&table, x, N_IN);
        float *found = malloc((size_t)(n_out + 1) * sizeof *found);
        assert_non_null(found);
        sa2_resampler stream;
        assert_int_equal(sa2_resampler_init(&stream, &table, NULL), SA2_OK);
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) { /* one after the other */
            int64_t n = 0;
            for (int64_t from = 0; from < N_IN; from += pieces[p]) {
                int64_t take = N_IN - from < pieces[p] ? N_IN - from : pieces[p];
                int64_t bound = sa2_resampler_bound(&stream, take);
                int64_t got = sa2_resampler_push(&stream, x + from, take, found + n);
                assert_true(got <= bound && n + got <= n_out);
                n += got;
                /* Certain means: W + 1 inputs after its place, no later. */
                int64_t seen = from + take - table.width - 1;
                if (table.width > 0 && seen > 0)
                    assert_int_equal(n, (seen * table.n + table.o - 1) / table.o);
            }
            assert_int_equal(sa2_resampler_bound(&stream, 0), n_out - n);
            n += sa2_resampler_finish(&stream, found + n);
            assert_int_equal(n, n_out);
            assert_memory_equal(found, want, (size_t)n_out * sizeof *found);
        }
        sa2_resampler_destroy(&stream);
        free(found);
        free(want);
        sa2_resample_table_destroy(&table);
    }
    free(x);
}

static void equal_rates_change_nothing(void **state)
{
    (void)state;
    sa2_resample_table table = table_of(16000, 16000);
    const float x[3] = {-0.0f, 1e-40f, 3.0f};
    float y[3];
    assert_int_equal(sa2_resample(&table, x, 3, y, NULL), SA2_OK);
    assert_memory_equal(x, y, sizeof x);
    sa2_resample_table_destroy(&table);
}

/* A float above 2^18 has steps of 1/32 and loses the 1/441 that would make the ceiling one larger. */
static void the_length_is_rounded_to_float_before_the_ceiling(void **state)
{
    (void)state;
    sa2_resample_table table = table_of(44100, 16000);
    int64_t n_in = 441 * 2500;
    while (160 * n_in % 441 != 1)
        n_in++;
    int64_t exact = (160 * n_in + 440) / 441, short_in = n_in - 441 * 2400;
    assert_true(exact > 262144);
    assert_int_equal(sa2_resample_count(&table, n_in), exact - 1);
    assert_int_equal(sa2_resample_count(&table, short_in), (160 * short_in + 440) / 441);
    float *x = noise(n_in, 5), *y = whole(&table, x, n_in);
    free(x);
    free(y);
    sa2_resample_table_destroy(&table);
}

static void rates_out_of_range_are_refused(void **state)
{
    (void)state;
    static const int rates[][2] = {{0, 16000}, {-8000, 16000}, {16000, 0}, {2147483647, 16000}};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        sa2_resample_table table;
        sa2_error err = {0};
        assert_int_equal(sa2_resample_table_create(&table, rates[i][0], rates[i][1], &err),
                         SA2_ERR_LIMIT);
        assert_non_null(strstr(err.message, "1 to 768000 Hz"));
        assert_null(table.taps);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taps_are_those_of_the_formula),
        cmocka_unit_test(every_pair_of_rates_matches_the_definition),
        cmocka_unit_test(a_tone_has_the_known_samples),
        cmocka_unit_test(resampled_sounds_are_golden),
        cmocka_unit_test(a_stream_gives_the_bits_of_the_whole_clip),
        cmocka_unit_test(equal_rates_change_nothing),
        cmocka_unit_test(the_length_is_rounded_to_float_before_the_ceiling),
        cmocka_unit_test(rates_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
