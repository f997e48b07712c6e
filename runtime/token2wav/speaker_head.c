/* speaker_head.c - the 2-d convolutions of speaker_encoder.h, a stretch of time after the other.
 *
 * Ten convolutions of three frames each see HALO frames to both sides. A stretch is computed with so many more and
 * gives the same bits as the whole clip, in memory that does not grow with it.
 */
#include "runtime/token2wav/speaker_head.h"

#include "kernels/backend.h"
#include "runtime/work.h"

enum {
    HALO = 10,
    STRETCH = 160, /* frames; the largest map of a stretch is 1.8 MB in the release */
    KERNEL = 3,
};

static const int strides[] = {2, 1, 2, 1}; /* of frequency, in the residuals */

/* ---- weights ---- */

static sa2_speaker_conv load_conv(sa2_weights *w, int64_t out, int64_t in, int64_t kernel,
                                  const char *name)
{
    return (sa2_speaker_conv){
        .w = sa2_weights_conv2d(w, out, in, kernel, "head.%s.weight", name),
        .bias = sa2_weights_vector(w, out, "head.%s.bias", name),
    };
}

void sa2_speaker_head_load(sa2_speaker_head *head, const sa2_speaker_dims *dims, sa2_weights *w)
{
    static const char *const names[4][3] = {
        {"layer1.0.conv1", "layer1.0.conv2", "layer1.0.shortcut.0"},
        {"layer1.1.conv1", "layer1.1.conv2", NULL},
        {"layer2.0.conv1", "layer2.0.conv2", "layer2.0.shortcut.0"},
        {"layer2.1.conv1", "layer2.1.conv2", NULL},
    };
    int64_t maps = dims->head_channels;
    head->conv1 = load_conv(w, maps, 1, KERNEL, "conv1");
    for (int i = 0; i < 4; i++) {
        sa2_speaker_residual *r = &head->residuals[i];
        r->conv1 = load_conv(w, maps, maps, KERNEL, names[i][0]);
        r->conv2 = load_conv(w, maps, maps, KERNEL, names[i][1]);
        if (names[i][2] != NULL)
            r->shortcut = load_conv(w, maps, maps, 1, names[i][2]);
    }
    head->conv2 = load_conv(w, maps, maps, KERNEL, "conv2");
}

/* ---- forward ---- */

/* Maps of one stretch, each as long as the largest that it holds. */
typedef struct maps {
    sa2_tensor wide;             /* after the first convolution */
    sa2_tensor x, inner, spared; /* of half the frequencies and less */
} maps;

static maps take_maps(sa2_work *work, const sa2_speaker_dims *d, int64_t frames)
{
    int64_t whole = (int64_t)d->mel * d->head_channels, half = whole / 2;
    return (maps){
        .wide = sa2_work_take(work, SA2_F32, frames, whole),
        .x = sa2_work_take(work, SA2_F32, frames, half),
        .inner = sa2_work_take(work, SA2_F32, frames, half),
        .spared = sa2_work_take(work, SA2_F32, frames, half),
    };
}

static int64_t longest_stretch(int64_t frames)
{
    return frames < STRETCH + 2 * HALO ? frames : STRETCH + 2 * HALO;
}

size_t sa2_speaker_head_work_bytes(const sa2_speaker_dims *dims, int64_t frames)
{
    sa2_work work = {0};
    take_maps(&work, dims, longest_stretch(frames));
    return work.bytes;
}

size_t sa2_speaker_head_scratch_bytes(const sa2_speaker_dims *dims, int64_t frames)
{
    return sa2_conv2d_scratch_bytes(longest_stretch(frames), dims->mel, dims->head_channels);
}

/* [frames, bins, maps] at the front of a buffer. */
static sa2_tensor seen(sa2_tensor buffer, int64_t frames, int64_t bins, int64_t n_maps)
{
    return sa2_tensor_3d(buffer.data, SA2_F32, frames, bins, n_maps);
}

static void convolve(sa2_stream *s, sa2_tensor y, sa2_tensor x, const sa2_speaker_conv *c,
                     int kernel, int stride, sa2_activation activation, bool residual)
{
    sa2_conv2d(s, (sa2_conv2d_args){.y = y,
                                    .x = x,
                                    .w = &c->w,
                                    .bias = c->bias,
                                    .kernel = kernel,
                                    .stride = stride,
                                    .accumulate = residual,
                                    .activation = activation});
}

/* *x, which lies in the buffer `from`, through one residual; the result lies in `to`, or where *x was. */
static void run_residual(sa2_stream *s, const sa2_speaker_residual *r, int stride, sa2_tensor *x,
                         sa2_tensor inner_room, sa2_tensor to)
{
    int64_t frames = x->shape[0], n_maps = x->shape[2];
    int64_t bins = (x->shape[1] - 1) / stride + 1;
    sa2_tensor inner = seen(inner_room, frames, bins, n_maps), y = *x;
    convolve(s, inner, *x, &r->conv1, KERNEL, stride, SA2_ACT_RELU, false);
    if (r->shortcut.w.data != NULL) {
        y = seen(to, frames, bins, n_maps);
        convolve(s, y, *x, &r->shortcut, 1, stride, SA2_ACT_NONE, false);
    }
    convolve(s, y, inner, &r->conv2, KERNEL, 1, SA2_ACT_RELU, true);
    *x = y;
}

/* Frames of fbank with their halo; rows [skip, skip + out rows) of the result are right. */
static void run_stretch(sa2_stream *s, const sa2_speaker_encoder *e, const maps *m, sa2_tensor out,
                        sa2_tensor fbank, int64_t skip)
{
    const sa2_speaker_head *head = &e->head;
    int64_t frames = fbank.shape[0], bins = fbank.shape[1], n_maps = e->dims.head_channels;
    sa2_tensor x = seen(m->wide, frames, bins, n_maps);
    convolve(s, x, sa2_tensor_3d(fbank.data, SA2_F32, frames, bins, 1), &head->conv1, KERNEL, 1,
             SA2_ACT_RELU, false);
    run_residual(s, &head->residuals[0], strides[0], &x, m->inner, m->x);
    run_residual(s, &head->residuals[1], strides[1], &x, m->inner, m->x);
    run_residual(s, &head->residuals[2], strides[2], &x, m->inner, m->spared);
    run_residual(s, &head->residuals[3], strides[3], &x, m->inner, m->spared);
    sa2_tensor last = seen(m->x, frames, (x.shape[1] - 1) / 2 + 1, n_maps);
    convolve(s, last, x, &head->conv2, KERNEL, 2, SA2_ACT_RELU, false);
    sa2_tensor flat = sa2_tensor_2d(last.data, SA2_F32, frames, last.shape[1] * n_maps);
    sa2_copy(s, out, sa2_tensor_rows(flat, skip, out.shape[0]));
}

sa2_status sa2_speaker_encoder_head_forward(sa2_stream *s, const sa2_speaker_encoder *e,
                                            sa2_arena *arena, sa2_tensor out, sa2_tensor fbank,
                                            sa2_error *err)
{
    int64_t frames = fbank.shape[0];
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    maps m = take_maps(&work, &e->dims, longest_stretch(frames));
    if (work.full) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM,
                        "speaker encoder: %zu bytes of work memory needed, %zu left", work.bytes,
                        arena->bytes - mark);
    }
    for (int64_t first = 0; first < frames; first += STRETCH) {
        int64_t end = frames - first < STRETCH ? frames : first + STRETCH;
        int64_t from = first < HALO ? 0 : first - HALO;
        int64_t to = frames - end < HALO ? frames : end + HALO;
        run_stretch(s, e, &m, sa2_tensor_rows(out, first, end - first),
                    sa2_tensor_rows(fbank, from, to - from), first - from);
    }
    sa2_arena_rewind(arena, mark);
    return SA2_OK;
}
