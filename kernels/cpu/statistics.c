/* statistics.c - contracts: sa2_segment_context() and sa2_mean_deviation() in kernels/ops.h.
 *
 * Work is dealt by channels, so that a sum over rows has one order whatever the threads.
 */
#include <math.h>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { CHANNELS = 64 }; /* in a piece of work */

typedef struct statistics {
    const sa2_floats *floats;
    sa2_tensor y, x;
    sa2_rows sequences;
    int segment;
    sa2_partial_rule partial;
} statistics;

/* sum [n] = rows [first, end) of channels [c, c + n). */
static void sum_rows(const statistics *a, float *sum, int64_t first, int64_t end, int64_t c,
                     int64_t n)
{
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t t = first; t < end; t++)
        a->floats->add(sum, sum, sa2_element(&a->x, t, c), n);
}

/* ---- segments ---- */

/* Sums of the segments first, then what they are divided by, and the mean of all of them added. */
static void context_of_sequence(const statistics *a, int64_t row, int64_t first, int64_t end,
                                int64_t c, int64_t n)
{
    float mean[CHANNELS] = {0};
    int64_t to = row;
    for (int64_t t = first; t < end; t += a->segment, to++) {
        float *sum = sa2_element(&a->y, to, c);
        sum_rows(a, sum, t, end - t < a->segment ? end : t + a->segment, c, n);
        a->floats->add(mean, mean, sum, n);
    }
    a->floats->scale(mean, mean, 1.0f / (float)(end - first), n);
    to = row;
    for (int64_t t = first; t < end; t += a->segment, to++) {
        float *y = sa2_element(&a->y, to, c);
        bool whole = a->partial == SA2_PARTIAL_KERNEL || end - t >= a->segment;
        a->floats->scale(y, y, 1.0f / (float)(whole ? a->segment : end - t), n);
        a->floats->add(y, y, mean, n);
    }
}

static void context_pieces(const void *context, int64_t first, int64_t end)
{
    const statistics *a = context;
    int64_t channels = a->x.shape[1];
    for (int64_t c = first * CHANNELS; c < end * CHANNELS && c < channels; c += CHANNELS) {
        int64_t n = channels - c < CHANNELS ? channels - c : CHANNELS, row = 0;
        for (int i = 0; i < a->sequences.n; i++) {
            int64_t from = a->sequences.offsets[i], to = a->sequences.offsets[i + 1];
            if (from < to)
                context_of_sequence(a, row, from, to, c, n);
            row += (to - from + a->segment - 1) / a->segment;
        }
    }
}

/* ---- deviations ---- */

static void deviation_of_sequence(const statistics *a, int i, int64_t c, int64_t n)
{
    int64_t first = a->sequences.offsets[i], end = a->sequences.offsets[i + 1];
    float *mean = sa2_element(&a->y, i, c), *deviation = sa2_element(&a->y, i, a->x.shape[1] + c);
    float minus[CHANNELS], apart[CHANNELS], squares[CHANNELS] = {0};
    sum_rows(a, mean, first, end, c, n);
    a->floats->scale(mean, mean, 1.0f / (float)(end - first), n);
    a->floats->scale(minus, mean, -1.0f, n);
    for (int64_t t = first; t < end; t++) {
        a->floats->add(apart, sa2_element(&a->x, t, c), minus, n);
        a->floats->add_product(squares, apart, apart, n);
    }
    for (int64_t k = 0; k < n; k++)
        deviation[k] = sqrtf(squares[k] / (float)(end - first - 1));
}

static void deviation_pieces(const void *context, int64_t first, int64_t end)
{
    const statistics *a = context;
    int64_t channels = a->x.shape[1];
    for (int64_t c = first * CHANNELS; c < end * CHANNELS && c < channels; c += CHANNELS)
        for (int i = 0; i < a->sequences.n; i++)
            deviation_of_sequence(a, i, c, channels - c < CHANNELS ? channels - c : CHANNELS);
}

static void run(sa2_stream *s, const statistics *a, double cost, sa2_row_task task)
{
    int64_t pieces = (a->x.shape[1] + CHANNELS - 1) / CHANNELS;
    sa2_row_loop(sa2_cpu_of(s), pieces, cost * (double)(CHANNELS * a->x.shape[0]), task, a);
}

sa2_status sa2_cpu_segment_context(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                                   int segment, sa2_partial_rule partial, sa2_error *err)
{
    (void)err;
    statistics a = {.floats = sa2_cpu_of(s)->floats,
                    .y = y,
                    .x = x,
                    .sequences = sequences,
                    .segment = segment,
                    .partial = partial};
    run(s, &a, 0.1, context_pieces);
    return SA2_OK;
}

sa2_status sa2_cpu_mean_deviation(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences,
                                  sa2_error *err)
{
    (void)err;
    statistics a = {.floats = sa2_cpu_of(s)->floats, .y = y, .x = x, .sequences = sequences};
    run(s, &a, 0.3, deviation_pieces);
    return SA2_OK;
}
