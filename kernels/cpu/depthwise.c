/* depthwise.c - contract: sa2_depthwise_memory() in kernels/ops.h. */
#include "kernels/base/limits.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { CHANNELS = 64 }; /* at a time: their weights, turned to [kernel, channels], stay in cache */

typedef struct memory {
    const sa2_floats *floats;
    sa2_tensor y, x, w;
    sa2_rows sequences;
    int pad_left;
} memory;

/* Rows [first, end) of the sequence that has rows [begin, stop), channels [c, c + n). */
static void stretch(const memory *a, int64_t first, int64_t end, int64_t begin, int64_t stop,
                    int64_t c, int64_t n, float (*w)[CHANNELS])
{
    for (int64_t t = first; t < end; t++) {
        float *y = sa2_element(&a->y, t, c);
        memcpy(y, sa2_element(&a->x, t, c), (size_t)n * sizeof *y);
        for (int64_t k = 0; k < a->w.shape[1]; k++) {
            int64_t from = t + k - a->pad_left;
            if (from >= begin && from < stop)
                a->floats->add_product(y, w[k], sa2_element(&a->x, from, c), n);
        }
    }
}

static void rows(const void *context, int64_t first, int64_t end)
{
    const memory *a = context;
    int64_t channels = a->x.shape[1];
    float w[SA2_LIMIT_KERNEL][CHANNELS];
    for (int64_t c = 0; c < channels; c += CHANNELS) {
        int64_t n = channels - c < CHANNELS ? channels - c : CHANNELS;
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = 0; k < a->w.shape[1]; k++)
                w[k][i] = *(const float *)sa2_element(&a->w, c + i, k);
        for (int i = 0; i < a->sequences.n; i++) {
            int64_t begin = a->sequences.offsets[i], stop = a->sequences.offsets[i + 1];
            stretch(a, first > begin ? first : begin, end < stop ? end : stop, begin, stop, c, n,
                    w);
        }
    }
}

sa2_status sa2_cpu_depthwise_memory(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor w,
                                    sa2_rows sequences, int pad_left, sa2_error *err)
{
    int64_t kernel = w.shape[1];
    if (kernel > SA2_LIMIT_KERNEL)
        return sa2_fail(err, SA2_ERR_LIMIT, "depthwise_memory: kernel %lld, up to %d are possible",
                        (long long)kernel, SA2_LIMIT_KERNEL);
    memory a = {.floats = sa2_cpu_of(s)->floats,
                .y = y,
                .x = x,
                .w = w,
                .sequences = sequences,
                .pad_left = pad_left};
    sa2_row_loop(sa2_cpu_of(s), x.shape[0], 0.1 * (double)(x.shape[1] * kernel), rows, &a);
    return SA2_OK;
}
