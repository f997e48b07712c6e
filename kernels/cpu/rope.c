/* rope.c - contract: sa2_rope() in kernels/ops.h.
 *
 * The frequencies are theta^(2i/d) rounded to f32, then its reciprocal, as every implementation of
 * the model forms them: at large positions their last bit decides about the angle.
 */
#include <math.h>

#include "kernels/base/limits.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/floats.h"
#include "kernels/cpu/row_loop.h"

enum { MAX_PAIRS = SA2_LIMIT_HEAD_DIM / 2 };

typedef struct rope {
    const sa2_floats *floats;
    sa2_tensor x;
    const int32_t *positions;
    float frequency[MAX_PAIRS];
} rope;

static void rows(const void *context, int64_t first, int64_t end)
{
    const rope *a = context;
    int64_t heads = a->x.shape[1], d = a->x.shape[2], pairs = d / 2;
    float cosine[MAX_PAIRS], sine[MAX_PAIRS], room[2 * MAX_PAIRS];
    for (int64_t row = first; row < end; row++) {
        a->floats->angles(cosine, sine, (float)a->positions[row], a->frequency, pairs);
        for (int64_t h = 0; h < heads; h++) {
            void *x = sa2_element(&a->x, row, h * d);
            float *turned = sa2_floats_target(room, x, a->x.dtype);
            if (a->x.dtype == SA2_BF16)
                a->floats->from_bf16(room, x, d);
            a->floats->rotate(turned, turned + pairs, cosine, sine, pairs);
            sa2_floats_write(a->floats, x, a->x.dtype, turned, d);
        }
    }
}

sa2_status sa2_cpu_rope(sa2_stream *s, sa2_tensor x, sa2_tensor positions, float theta,
                        sa2_error *err)
{
    int64_t d = x.shape[2];
    if (d > 2 * MAX_PAIRS)
        return sa2_fail(err, SA2_ERR_LIMIT, "rope: heads of %lld, up to %d are possible",
                        (long long)d, 2 * MAX_PAIRS);
    rope a = {.floats = sa2_cpu_of(s)->floats, .x = x, .positions = positions.data};
    for (int64_t i = 0; i < d / 2; i++)
        a.frequency[i] = 1.0f / (float)pow((double)theta, 2.0 * (double)i / (double)d);
    double cost = 2.0 * (double)d + 0.2 * (double)(x.shape[1] * d);
    sa2_row_loop(sa2_cpu_of(s), x.shape[0], cost, rows, &a);
    return SA2_OK;
}
