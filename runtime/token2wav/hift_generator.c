#include "runtime/token2wav/hift_generator.h"

#include "runtime/token2wav/vocoder_rows.h"
#include "runtime/work.h"

static const float slope = 0.1f;            /* of LeakyReLU before each upsampling */
static const float last_slope = 0.01f;      /* before conv_post: PyTorch's default */
static const float most_magnitude = 100.0f; /* of a spectrum */
static const float audio_limit = 0.99f;

enum { EDGE = SA2_VOCODER_EDGE_KERNEL, EDGE_PAD = EDGE / 2, LAST = SA2_VOCODER_STAGES - 1 };

/* ---- sizes ---- */

static int channels_of(const sa2_vocoder_dims *dims, int stage)
{
    return dims->channels >> (stage + 1);
}

/* Rows of a frame behind a stage; the last one has one more for each sound. */
static int rate_of(int stage)
{
    int rate = 1;
    for (int i = 0; i <= stage; i++)
        rate *= sa2_vocoder_up_strides[i];
    return rate;
}

/* So that the length is the stride times the input's. */
static int up_pad(int stage)
{
    return (sa2_vocoder_up_kernels[stage] - sa2_vocoder_up_strides[stage]) / 2;
}

static int down_pad(int stage)
{
    return sa2_vocoder_source_stride(stage) / 2;
}

/* ---- weights ---- */

static void load_stage(sa2_hift_stage *stage, const sa2_vocoder_dims *dims, int i, sa2_weights *w)
{
    int channels = channels_of(dims, i);
    stage->up =
        sa2_weights_conv_transpose1d(w, 2 * (int64_t)channels, channels, sa2_vocoder_up_kernels[i],
                                     sa2_vocoder_up_strides[i], "ups.%d.weight", i);
    stage->up_bias = sa2_weights_vector(w, channels, "ups.%d.bias", i);
    stage->source_down =
        sa2_weights_conv1d(w, channels, SA2_HIFT_PARTS, sa2_vocoder_source_down_kernel(i),
                           "source_downs.%d.weight", i);
    stage->source_down_bias = sa2_weights_vector(w, channels, "source_downs.%d.bias", i);
    sa2_hift_resblock_load(&stage->source, channels, sa2_vocoder_source_kernels[i],
                           "source_resblocks", i, w);
    for (int j = 0; j < SA2_VOCODER_RESBLOCKS; j++)
        sa2_hift_resblock_load(&stage->blocks[j], channels, sa2_vocoder_resblock_kernels[j],
                               "resblocks", SA2_VOCODER_RESBLOCKS * i + j, w);
}

void sa2_hift_generator_load(sa2_hift_generator *generator, const sa2_vocoder_dims *dims,
                             sa2_weights *w)
{
    sa2_hift_generator g = {.dims = *dims};
    g.conv_pre = sa2_weights_conv1d(w, dims->channels, dims->mel, EDGE, "conv_pre.weight");
    g.conv_pre_bias = sa2_weights_vector(w, dims->channels, "conv_pre.bias");
    for (int i = 0; i < SA2_VOCODER_STAGES; i++)
        load_stage(&g.stages[i], dims, i, w);
    g.conv_post =
        sa2_weights_conv1d(w, SA2_HIFT_PARTS, channels_of(dims, LAST), EDGE, "conv_post.weight");
    g.conv_post_bias = sa2_weights_vector(w, SA2_HIFT_PARTS, "conv_post.bias");
    sa2_hift_spectrum_load(&g.spectrum, w);
    sa2_weights_release(w);
    *generator = g;
}

/* ---- forward ---- */

typedef struct activations {
    sa2_tensor x;        /* each of the four has room for the widest stage, flat */
    sa2_tensor branch;   /* a residual block's stream */
    sa2_tensor between;  /* inside a residual block */
    sa2_tensor sum;      /* of the blocks side by side */
    sa2_tensor spectrum; /* [120 T + n, parts] of the source; then of the sound */
} activations;

static activations take_activations(sa2_work *work, const sa2_vocoder_dims *dims, int64_t frames,
                                    int n)
{
    int64_t most = frames * dims->channels;
    for (int i = 0; i < SA2_VOCODER_STAGES; i++) {
        int64_t rows = frames * rate_of(i) + n;
        most = rows * channels_of(dims, i) > most ? rows * channels_of(dims, i) : most;
    }
    return (activations){
        .x = sa2_work_take(work, SA2_F32, 1, most),
        .branch = sa2_work_take(work, SA2_F32, 1, most),
        .between = sa2_work_take(work, SA2_F32, 1, most),
        .sum = sa2_work_take(work, SA2_F32, 1, most),
        .spectrum = sa2_work_take(work, SA2_F32, frames * rate_of(LAST) + n, SA2_HIFT_PARTS),
    };
}

static sa2_tensor shaped(sa2_tensor room, int64_t rows, int64_t cols)
{
    return sa2_tensor_2d(room.data, room.dtype, rows, cols);
}

static void swap(sa2_tensor *a, sa2_tensor *b)
{
    sa2_tensor c = *a;
    *a = *b;
    *b = c;
}

static void run_edge(sa2_stream *s, sa2_tensor y, sa2_tensor x, const sa2_matrix *w,
                     sa2_tensor bias, sa2_rows sounds, sa2_activation input)
{
    sa2_conv1d(s, (sa2_conv1d_args){.y = y,
                                    .x = x,
                                    .sequences = sounds,
                                    .w = w,
                                    .bias = bias,
                                    .kernel = EDGE,
                                    .stride = 1,
                                    .dilation = 1,
                                    .pad_left = EDGE_PAD,
                                    .pad_right = EDGE_PAD,
                                    .input = input,
                                    .input_slope = last_slope});
}

void sa2_hift_upsample(sa2_stream *s, const sa2_hift_generator *g, int stage, sa2_tensor y,
                       sa2_tensor x, sa2_rows sounds, bool leaky)
{
    sa2_conv_transpose1d(s,
                         (sa2_conv_transpose1d_args){.y = y,
                                                     .x = x,
                                                     .sequences = sounds,
                                                     .w = &g->stages[stage].up,
                                                     .bias = g->stages[stage].up_bias,
                                                     .kernel = sa2_vocoder_up_kernels[stage],
                                                     .stride = sa2_vocoder_up_strides[stage],
                                                     .pad = up_pad(stage),
                                                     .input = leaky ? SA2_ACT_LEAKY : SA2_ACT_NONE,
                                                     .input_slope = slope});
}

/* a->x from the rows of stage i - 1 to those of stage i. */
static void upsample(sa2_stream *s, const sa2_hift_generator *g, int i, activations *a,
                     sa2_rows frames)
{
    sa2_vocoder_rows before_room, up_room;
    sa2_rows before = sa2_rows_scale(&before_room, frames, rate_of(i - 1), 0);
    sa2_rows up = sa2_rows_scale(&up_room, frames, rate_of(i), 0);
    int64_t channels = channels_of(&g->dims, i);
    sa2_tensor x = shaped(a->x, sa2_rows_total(before), 2 * channels);
    sa2_tensor y = shaped(a->branch, sa2_rows_total(up), channels);
    sa2_hift_upsample(s, g, i, y, x, before, true);
    if (i == LAST)
        sa2_reflect_pad(s, shaped(a->x, sa2_rows_total(up) + up.n, channels), y, up, 1, 0);
    else
        swap(&a->x, &a->branch);
}

/* x += a residual block of the source's spectrum at this rate. */
static void add_source(sa2_stream *s, const sa2_hift_stage *stage, int i, const activations *a,
                       sa2_tensor x, sa2_rows spectra, sa2_rows sounds)
{
    sa2_tensor branch = shaped(a->branch, x.shape[0], x.shape[1]);
    sa2_conv1d(s, (sa2_conv1d_args){.y = branch,
                                    .x = a->spectrum,
                                    .sequences = spectra,
                                    .w = &stage->source_down,
                                    .bias = stage->source_down_bias,
                                    .kernel = sa2_vocoder_source_down_kernel(i),
                                    .stride = sa2_vocoder_source_stride(i),
                                    .dilation = 1,
                                    .pad_left = down_pad(i),
                                    .pad_right = down_pad(i)});
    sa2_hift_resblock_forward(s, &stage->source, branch, shaped(a->between, x.shape[0], x.shape[1]),
                              sounds);
    sa2_add(s, x, x, branch);
}

/* sum = the mean of the residual blocks of x. */
static void run_blocks(sa2_stream *s, const sa2_hift_stage *stage, const activations *a,
                       sa2_tensor sum, sa2_tensor x, sa2_rows sounds)
{
    sa2_tensor between = shaped(a->between, x.shape[0], x.shape[1]);
    for (int j = 0; j < SA2_VOCODER_RESBLOCKS; j++) {
        sa2_tensor y = j == 0 ? sum : shaped(a->branch, x.shape[0], x.shape[1]);
        float scale = j == SA2_VOCODER_RESBLOCKS - 1 ? 1.0f / SA2_VOCODER_RESBLOCKS : 1.0f;
        sa2_copy(s, y, x);
        sa2_hift_resblock_forward(s, &stage->blocks[j], y, between, sounds);
        if (j > 0)
            sa2_mix(s, sum, scale, sum, scale, y);
    }
}

static void run_stage(sa2_stream *s, const sa2_hift_generator *g, int i, activations *a,
                      sa2_rows frames, sa2_rows spectra)
{
    sa2_vocoder_rows room;
    sa2_rows sounds = sa2_rows_scale(&room, frames, rate_of(i), i == LAST ? 1 : 0);
    int64_t rows = sa2_rows_total(sounds), channels = channels_of(&g->dims, i);
    upsample(s, g, i, a, frames);
    sa2_tensor x = shaped(a->x, rows, channels), sum = shaped(a->sum, rows, channels);
    add_source(s, &g->stages[i], i, a, x, spectra, sounds);
    run_blocks(s, &g->stages[i], a, sum, x, sounds);
    swap(&a->x, &a->sum);
}

sa2_status sa2_hift_generator_forward(sa2_stream *s, const sa2_hift_generator *g, sa2_arena *arena,
                                      sa2_tensor samples, sa2_tensor mel, sa2_tensor source,
                                      sa2_rows frames, sa2_error *err)
{
    size_t mark = sa2_arena_mark(arena);
    sa2_work work = {.arena = arena};
    activations a = take_activations(&work, &g->dims, mel.shape[0], frames.n);
    if (work.full) {
        sa2_arena_rewind(arena, mark);
        return sa2_fail(err, SA2_ERR_NOMEM, "vocoder: %zu bytes of work memory needed, %zu left",
                        work.bytes, arena->bytes - mark);
    }
    sa2_vocoder_rows sounds_room, spectra_room;
    sa2_rows sounds = sa2_rows_scale(&sounds_room, frames, rate_of(LAST) * SA2_VOCODER_HOP, 0);
    sa2_rows spectra = sa2_rows_scale(&spectra_room, frames, rate_of(LAST), 1);
    sa2_status st =
        sa2_hift_spectrum_forward(s, &g->spectrum, arena, a.spectrum, source, sounds, err);
    if (st != SA2_OK)
        goto cleanup;
    run_edge(s, shaped(a.x, mel.shape[0], g->dims.channels), mel, &g->conv_pre, g->conv_pre_bias,
             frames, SA2_ACT_NONE);
    for (int i = 0; i < SA2_VOCODER_STAGES; i++)
        run_stage(s, g, i, &a, frames, spectra);
    run_edge(s, a.spectrum, shaped(a.x, sa2_rows_total(spectra), channels_of(&g->dims, LAST)),
             &g->conv_post, g->conv_post_bias, spectra, SA2_ACT_LEAKY);
    st = sa2_hift_synthesise(s, g, arena, samples, a.spectrum, spectra, audio_limit, err);

cleanup:
    sa2_arena_rewind(arena, mark);
    return st;
}

sa2_status sa2_hift_synthesise(sa2_stream *s, const sa2_hift_generator *g, sa2_arena *work,
                               sa2_tensor samples, sa2_tensor z, sa2_rows frames, float limit,
                               sa2_error *err)
{
    sa2_polar(s, z, z, most_magnitude);
    return sa2_hift_spectrum_inverse(s, &g->spectrum, work, samples, z, frames, limit, err);
}

/* ---- memory ---- */

size_t sa2_hift_generator_work_bytes(const sa2_vocoder_dims *dims, int64_t frames, int n)
{
    sa2_work work = {0};
    take_activations(&work, dims, frames, n);
    return work.bytes + sa2_hift_spectrum_work_bytes(frames * rate_of(LAST) * SA2_VOCODER_HOP, n);
}

static void enlarge(size_t *bytes, size_t other)
{
    *bytes = other > *bytes ? other : *bytes;
}

size_t sa2_hift_generator_scratch_bytes(const sa2_vocoder_dims *dims, int64_t frames, int n)
{
    int64_t spectra = frames * rate_of(LAST) + n;
    size_t most = sa2_hift_spectrum_scratch_bytes(spectra * SA2_VOCODER_HOP, n);
    enlarge(&most, sa2_conv1d_scratch_bytes(SA2_F32, frames, dims->mel, n, EDGE_PAD, EDGE_PAD));
    enlarge(&most, sa2_conv1d_scratch_bytes(SA2_F32, spectra, channels_of(dims, LAST), n, EDGE_PAD,
                                            EDGE_PAD));
    for (int i = 0; i < SA2_VOCODER_STAGES; i++) {
        int channels = channels_of(dims, i);
        int64_t rows = frames * rate_of(i) + n;
        enlarge(&most, sa2_conv_transpose1d_scratch_bytes(
                           frames * rate_of(i - 1), 2 * (int64_t)channels, channels, n,
                           sa2_vocoder_up_kernels[i], sa2_vocoder_up_strides[i]));
        enlarge(&most, sa2_conv1d_scratch_bytes(SA2_F32, spectra, SA2_HIFT_PARTS, n, down_pad(i),
                                                down_pad(i)));
        enlarge(&most,
                sa2_hift_resblock_scratch_bytes(channels, sa2_vocoder_source_kernels[i], rows, n));
        for (int j = 0; j < SA2_VOCODER_RESBLOCKS; j++)
            enlarge(&most, sa2_hift_resblock_scratch_bytes(
                               channels, sa2_vocoder_resblock_kernels[j], rows, n));
    }
    return most;
}
