/* conv2d.c - contract: sa2_conv2d() in kernels/ops.h.
 *
 * In a copy of x with a border of zeros the patch of one output is three stretches of three
 * frequencies by all channels, a frame apart: a row of a product with three taps.
 */
#include <string.h>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/row_loop.h"

size_t sa2_conv2d_scratch_bytes(int64_t frames, int64_t bins, int64_t in)
{
    return sa2_arena_round((size_t)((frames + 2) * (bins + 2) * in) * sizeof(float)) +
           sa2_arena_round((size_t)frames * sizeof(sa2_row_span));
}

typedef struct border_job {
    float *copy;
    const float *x;
    int64_t frames, frame; /* of x; floats in one */
    int64_t border;        /* floats at each end of a frame */
} border_job;

/* Frames [first, end) of the copy, which has one more at each end. */
static void copy_frames(const void *context, int64_t first, int64_t end)
{
    const border_job *job = context;
    int64_t whole = job->frame + 2 * job->border;
    for (int64_t t = first; t < end; t++) {
        float *to = job->copy + t * whole;
        memset(to, 0, (size_t)whole * sizeof *to);
        if (t > 0 && t <= job->frames)
            memcpy(to + job->border, job->x + (t - 1) * job->frame,
                   (size_t)job->frame * sizeof *to);
    }
}

sa2_status sa2_cpu_conv2d(sa2_stream *s, const sa2_conv2d_args *a, sa2_error *err)
{
    int64_t frames = a->x.shape[0], bins = a->x.shape[1], in = a->x.shape[2];
    int64_t bins_out = a->y.shape[1], out = a->y.shape[2];
    size_t need = sa2_conv2d_scratch_bytes(frames, bins, in);
    if (need > s->scratch.bytes - s->scratch.used)
        return sa2_fail(err, SA2_ERR_NOMEM, "conv2d: %zu bytes of scratch needed, %zu left", need,
                        s->scratch.bytes - s->scratch.used);
    size_t mark = sa2_arena_mark(&s->scratch);
    sa2_row_span *spans = sa2_arena_take(&s->scratch, (size_t)frames * sizeof *spans);
    const float *x = a->x.data;
    int64_t frame = bins * in;
    if (a->kernel == 3) {
        border_job job = {.x = x, .frames = frames, .frame = frame, .border = in};
        frame += 2 * in;
        job.copy = sa2_arena_take(&s->scratch, (size_t)((frames + 2) * frame) * sizeof *job.copy);
        sa2_row_loop(sa2_cpu_of(s), frames + 2, 0.1 * (double)frame, copy_frames, &job);
        x = job.copy;
    }
    for (int64_t t = 0; t < frames; t++)
        spans[t] = (sa2_row_span){
            .first = t * bins_out, .x = t * frame, .y = t * bins_out * out, .y_last = INT64_MAX};
    sa2_product p = {
        .x = x,
        .y = a->y.data,
        .w = a->w,
        .rows = frames * bins_out,
        .x_step = a->stride * in,
        .y_step = out,
        .spans = spans,
        .n_spans = (int)frames,
        .taps = a->kernel,
        .tap_cols = a->kernel * in,
        .tap_step = frame,
        .epilogue = {.bias = a->bias.data, .residual = a->accumulate, .activation = a->activation},
    };
    sa2_status st = sa2_product_run(s, &p, err);
    sa2_arena_rewind(&s->scratch, mark);
    return st;
}
