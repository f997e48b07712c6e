/* The vocoder in streams: how long they are, that neighbours do not matter, that spectra invert, that
 * weights may come from files, and what it refuses. Values are judged by golden cases. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/token2wav_writer.h"
#include "loader/torch_zip.h"
#include "runtime/token2wav/vocoder.h"
#include "tests/support/test_env.h"
#include "tests/support/test_files.h"

enum { MEL = 80, FRAME = SA2_VOCODER_FRAME, WORK = 64 << 20, ISAS = TEST_MAX_STREAMS };

/* A vocoder of preset tiny for every instruction set. */
typedef struct rig {
    test_env env;
    sa2_vocoder vocoders[ISAS];
    sa2_arena weights[ISAS];
    sa2_arena work;
} rig;

static sa2_tensor_map *tiny_map(void)
{
    sa2_preset preset;
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    if (sa2_preset_find(&preset, "tiny", &err) != SA2_OK ||
        sa2_token2wav_synthetic_map(&map, SA2_VOCODER_FILE, &preset, 0, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return map;
}

/* Takes the map. */
static void open_vocoder(rig *r, int isa, sa2_tensor_map *map, sa2_vocoder *vocoder,
                         sa2_arena *weights)
{
    sa2_error err = {0};
    if (sa2_vocoder_open(vocoder, r->env.backends[isa], map, weights, &err) != SA2_OK ||
        sa2_tensor_map_unused(map, &err) != SA2_OK)
        fail_msg("%s", err.message);
    sa2_tensor_map_destroy(map);
}

static int open_rig(void **state)
{
    static rig r;
    test_env_open(&r.env, 2);
    for (int b = 0; b < r.env.n_streams; b++)
        open_vocoder(&r, b, tiny_map(), &r.vocoders[b], &r.weights[b]);
    if (sa2_arena_create(&r.work, WORK, NULL) != SA2_OK)
        return 1;
    *state = &r;
    return 0;
}

static int close_rig(void **state)
{
    rig *r = *state;
    for (int b = 0; b < r->env.n_streams; b++)
        sa2_backend_arena_destroy(r->env.backends[b], &r->weights[b]);
    sa2_arena_destroy(&r->work);
    test_env_close(&r->env);
    return 0;
}

/* ---- streams of a test ---- */

/* Log-mels lie around -6; f0 is voiced in some frames and not in others. */
static sa2_tensor random_mel(test_env *env, int64_t frames)
{
    sa2_tensor mel = test_random(env, SA2_F32, frames, MEL);
    for (int64_t i = 0; i < frames * MEL; i++)
        ((float *)mel.data)[i] = 3.0f * ((float *)mel.data)[i] - 5.0f;
    return mel;
}

static sa2_vocoder_state new_state(test_env *env, uint64_t seed)
{
    return (sa2_vocoder_state){.mel = test_poisoned(env, SA2_F32, SA2_VOCODER_KEPT_FRAMES, MEL),
                               .source = test_poisoned(env, SA2_F32, SA2_VOCODER_KEPT, 0),
                               .speech = test_poisoned(env, SA2_F32, SA2_VOCODER_KEPT, 0),
                               .seed = seed};
}

/* One sound and how it comes. */
typedef struct sound {
    sa2_vocoder_state state;
    sa2_tensor mel;    /* all of it */
    sa2_tensor wav;    /* what was given out */
    int64_t n_frames;  /* given in so far */
    int64_t n_samples; /* given out */
} sound;

static sound new_sound(test_env *env, uint64_t seed, int64_t frames)
{
    return (sound){.state = new_state(env, seed),
                   .mel = random_mel(env, frames),
                   .wav = test_poisoned(env, SA2_F32, frames * FRAME, 0)};
}

/* One forward: the next lengths[i] frames of sound i (negative: it takes no part). A sound's last frame is
 * in its last chunk. */
static void step(rig *r, int isa, sound *const *sounds, const int *lengths, int n, bool noise)
{
    test_env *env = &r->env;
    sa2_vocoder_chunk chunks[SA2_VOCODER_SOUNDS];
    sound *taking[SA2_VOCODER_SOUNDS];
    int n_chunks = 0;
    int64_t frames = 0, samples = 0;
    for (int i = 0; i < n; i++) {
        if (lengths[i] < 0)
            continue;
        sound *one = sounds[i];
        chunks[n_chunks] =
            (sa2_vocoder_chunk){.state = &one->state,
                                .frames = lengths[i],
                                .last = one->n_frames + lengths[i] == one->mel.shape[0]};
        frames += lengths[i];
        samples += sa2_vocoder_samples(&chunks[n_chunks]);
        taking[n_chunks++] = one;
    }
    sa2_tensor mel = test_poisoned(env, SA2_F32, frames, MEL);
    sa2_tensor out = test_poisoned(env, SA2_F32, samples, 0);
    int64_t given[SA2_VOCODER_SOUNDS];
    for (int i = 0, at = 0; i < n_chunks; at += chunks[i].frames, i++) {
        sa2_tensor part = sa2_tensor_rows(taking[i]->mel, taking[i]->n_frames, chunks[i].frames);
        memcpy((float *)mel.data + at * MEL, sa2_tensor_rows(part, 0, 0).data,
               (size_t)chunks[i].frames * MEL * sizeof(float));
        given[i] = sa2_vocoder_samples(&chunks[i]);
    }
    sa2_error err = {0};
    sa2_vocoder_batch batch = {.n = n_chunks, .chunks = chunks, .mel = mel, .noise = noise};
    if (sa2_vocoder_forward(env->streams[isa], &r->vocoders[isa], &r->work, out, &batch, NULL,
                            &err) != SA2_OK ||
        sa2_stream_finish(env->streams[isa], &err) != SA2_OK)
        fail_msg("%s: %s", env->isas[isa], err.message);
    assert_int_equal(r->work.used, 0);
    for (int i = 0, at = 0; i < n_chunks; at += (int)given[i], i++) {
        memcpy((float *)taking[i]->wav.data + taking[i]->n_samples, (float *)out.data + at,
               (size_t)given[i] * sizeof(float));
        taking[i]->n_samples += given[i];
        taking[i]->n_frames += chunks[i].frames;
    }
}

/* The same sound from the beginning, in chunks of those lengths, alone. */
static sa2_tensor alone(rig *r, int isa, const sound *like, const int *lengths, int n)
{
    sound one = {.state = new_state(&r->env, like->state.seed),
                 .mel = like->mel,
                 .wav = test_poisoned(&r->env, SA2_F32, like->wav.shape[0], 0)};
    sound *sounds[] = {&one};
    for (int k = 0; k < n; k++)
        step(r, isa, sounds, &lengths[k], 1, true);
    assert_int_equal(one.n_samples, one.wav.shape[0]);
    return one.wav;
}

/* ---- lengths ---- */

/* The next number of tokens of a chunk of a stream that has `left`, where 3 of look-ahead follow a chunk
 * that is not the last: token2wav's driver. */
static int next_tokens(test_env *env, int left, bool first)
{
    int least = first ? 4 : 1;
    int most = left - 3; /* more is a last chunk */
    if (most < least)
        return left;
    int n = least + (int)((test_uniform(env) + 1.0) / 2.0 * 40.0);
    return n > most ? left : n;
}

static void any_chunking_gives_960_samples_a_token(void **state)
{
    rig *r = *state;
    for (int n = 1; n <= 200; n++)
        for (int form = 0; form < 50; form++) {
            sa2_vocoder_state stream = {0};
            int64_t samples = 0;
            for (int left = n; left > 0;) {
                int tokens = form == 0 ? left : next_tokens(&r->env, left, left == n);
                sa2_vocoder_chunk chunk = {
                    .state = &stream, .frames = 2 * tokens, .last = tokens == left};
                int64_t given = sa2_vocoder_samples(&chunk);
                bool first = stream.frames == 0;
                /* token2wav.md, section 4.8 */
                int64_t want = 960 * (int64_t)tokens;
                if (first && !chunk.last)
                    want -= 3840;
                if (!first && chunk.last)
                    want += 3840;
                assert_int_equal(given, want);
                samples += given;
                stream.frames += chunk.frames;
                left -= tokens;
            }
            assert_int_equal(samples, 960 * (int64_t)n);
        }
}

static void every_chunk_gives_the_samples_it_announces(void **state)
{
    rig *r = *state;
    static const int chunkings[][6] = {{1}, {8, 0}, {8, 1, 1, 1, 0}, {20, 2, 7}, {9, 12, 6}};
    static const int n_chunks[] = {1, 2, 5, 3, 3};
    for (size_t c = 0; c < sizeof n_chunks / sizeof n_chunks[0]; c++) {
        int frames = 0;
        for (int k = 0; k < n_chunks[c]; k++)
            frames += chunkings[c][k];
        sound one = new_sound(&r->env, c, frames);
        if (chunkings[c][n_chunks[c] - 1] == 0) { /* the end comes when no frame is left */
            sound *sounds[] = {&one};
            one.mel.shape[0]++; /* not the last yet */
            for (int k = 0; k < n_chunks[c] - 1; k++)
                step(r, 0, sounds, &chunkings[c][k], 1, true);
            one.mel.shape[0]--;
            step(r, 0, sounds, &chunkings[c][n_chunks[c] - 1], 1, true);
            assert_int_equal(one.n_samples, one.wav.shape[0]);
        } else {
            one.wav = alone(r, 0, &one, chunkings[c], n_chunks[c]);
        }
        for (int64_t i = 0; i < one.wav.shape[0]; i++) /* all written, none wild */
            assert_true(fabsf(((float *)one.wav.data)[i]) <= 0.99f * 1.0801f);
        test_reset(&r->env);
    }
}

/* ---- neighbours ---- */

static void streams_together_are_each_alone_to_the_bit(void **state)
{
    rig *r = *state;
    enum { N = 5, STEPS = 4 };
    /* When each comes and goes, and how much of it. */
    static const int plan[STEPS][N] = {
        {9, -1, 8, 10, -1}, {3, 14, 2, 4, -1}, {2, -1, 1, -1, 11}, {1, 4, 9, -1, 3}};
    for (int b = 0; b < r->env.n_streams; b++) {
        sound sounds[N], *pointers[N];
        int own[N][STEPS], n_own[N] = {0};
        for (int i = 0; i < N; i++) {
            int frames = 0;
            for (int k = 0; k < STEPS; k++)
                if (plan[k][i] > 0) {
                    own[i][n_own[i]++] = plan[k][i];
                    frames += plan[k][i];
                }
            sounds[i] = new_sound(&r->env, (uint64_t)i / 2, frames); /* some seeds twice */
            pointers[i] = &sounds[i];
        }
        for (int k = 0; k < STEPS; k++) {
            int lengths[N];
            for (int i = 0; i < N; i++)
                lengths[i] = plan[k][i] > 0 ? plan[k][i] : -1;
            step(r, b, pointers, lengths, N, true);
        }
        for (int i = 0; i < N; i++) {
            sa2_tensor want = alone(r, b, &sounds[i], own[i], n_own[i]);
            assert_same_bits("a stream among others", &sounds[i].wav, &want);
        }
        test_reset(&r->env);
    }
}

static void stopping_or_spoiling_a_stream_leaves_the_others(void **state)
{
    rig *r = *state;
    static const int lengths[][3] = {{9, 9, 9}, {5, 5, -1}, {2, 2, -1}};
    static const int own[] = {9, 5, 2};
    sound sounds[3], *pointers[3];
    for (int i = 0; i < 3; i++) {
        sounds[i] = new_sound(&r->env, 7, 16);
        pointers[i] = &sounds[i];
    }
    ((float *)sounds[1].mel.data)[11 * MEL + 3] = NAN;
    ((float *)sounds[1].mel.data)[12 * MEL] = INFINITY;
    for (int k = 0; k < 3; k++)
        step(r, r->env.n_streams - 1, pointers, lengths[k], 3, true);
    sa2_tensor want = alone(r, r->env.n_streams - 1, &sounds[0], own, 3);
    assert_same_bits("beside a stream that stopped", &sounds[0].wav, &want);
    assert_true(isnan(((float *)sounds[1].wav.data)[SA2_VOCODER_FRAME]));

    /* The one that stopped begins anew as if it had never been. */
    sa2_vocoder_state_reset(&sounds[2].state, 9);
    sounds[2].n_frames = sounds[2].n_samples = 0;
    for (int k = 0; k < 3; k++)
        step(r, r->env.n_streams - 1, &pointers[2], &own[k], 1, true);
    sounds[2].state.seed = 9;
    want = alone(r, r->env.n_streams - 1, &sounds[2], own, 3);
    assert_same_bits("a stream begun anew", &sounds[2].wav, &want);
    test_reset(&r->env);
}

/* ---- noise ---- */

/* What noise adds to the source before its tanh. */
static double *noise_of(rig *r, sa2_vocoder_state *state, sa2_tensor mel, bool last, int64_t frames)
{
    test_env *env = &r->env;
    sa2_tensor sources[2];
    sa2_vocoder_state before = *state;
    sa2_tensor kept = test_copy(env, &state->source), old = test_copy(env, &state->mel);
    for (int noise = 0; noise < 2; noise++) {
        *state = before;
        memcpy(state->source.data, kept.data, sa2_tensor_bytes(&kept));
        memcpy(state->mel.data, old.data, sa2_tensor_bytes(&old));
        sources[noise] = test_poisoned(env, SA2_F32, frames * FRAME, 0);
        sa2_vocoder_stages stages = {.source = sources[noise]};
        sa2_vocoder_chunk chunk = {.state = state, .frames = (int32_t)mel.shape[0], .last = last};
        sa2_tensor out = test_poisoned(env, SA2_F32, sa2_vocoder_samples(&chunk), 0);
        sa2_vocoder_batch batch = {.n = 1, .chunks = &chunk, .mel = mel, .noise = noise};
        assert_int_equal(sa2_vocoder_forward(env->streams[0], &r->vocoders[0], &r->work, out,
                                             &batch, &stages, NULL),
                         SA2_OK);
        assert_int_equal(sa2_stream_finish(env->streams[0], NULL), SA2_OK);
    }
    double *difference = test_doubles(env, frames * FRAME);
    for (int64_t i = 0; i < frames * FRAME; i++)
        difference[i] = atanh((double)((float *)sources[1].data)[i]) -
                        atanh((double)((float *)sources[0].data)[i]);
    return difference;
}

static void noise_follows_the_samples_of_a_stream_not_its_chunks(void **state)
{
    rig *r = *state;
    enum { FIRST = 10, REST = 12, ALL = FIRST + REST, KEPT = SA2_VOCODER_KEPT_FRAMES };
    sa2_tensor mel = random_mel(&r->env, ALL);
    sa2_vocoder_state whole = new_state(&r->env, 5), parts = new_state(&r->env, 5);
    sa2_vocoder_state other = new_state(&r->env, 6);
    double *want = noise_of(r, &whole, mel, true, ALL);
    double *strange = noise_of(r, &other, mel, true, ALL);
    noise_of(r, &parts, sa2_tensor_rows(mel, 0, FIRST), false, FIRST);
    double *found = noise_of(r, &parts, sa2_tensor_rows(mel, FIRST, REST), true, KEPT + REST);
    double power = 0.0, error = 0.0, apart = 0.0;
    for (int64_t i = FIRST * FRAME; i < ALL * FRAME; i++) { /* f0 there sees the same frames */
        double e = found[i - (FIRST - KEPT) * FRAME] - want[i], d = strange[i] - want[i];
        power += want[i] * want[i];
        error += e * e;
        apart += d * d;
    }
    assert_true(power > 0.0 && error < 1e-6 * power); /* sources are f32: 2^-24 of about 0.1 */
    assert_true(apart > power); /* another seed, other numbers: twice the power */
    test_reset(&r->env);
}

/* ---- spectra ---- */

static void the_inverse_of_a_spectrum_is_the_sound(void **state)
{
    rig *r = *state;
    static const int32_t lengths[] = {480, 12, 9600};
    int32_t *sounds = test_offsets(&r->env, 3, lengths), frames[4] = {0};
    sa2_tensor x = test_random(&r->env, SA2_F32, sounds[3], 0);
    double *want = test_values(&r->env, &x);
    for (int i = 0; i < 3; i++)
        frames[i + 1] = frames[i] + (int32_t)sa2_hift_frames(lengths[i]);
    for (int b = 0; b < r->env.n_streams; b++) {
        const sa2_hift_spectrum *spectrum = &r->vocoders[b].generator.spectrum;
        sa2_stream *s = r->env.streams[b];
        sa2_tensor parts = test_poisoned(&r->env, SA2_F32, frames[3], SA2_HIFT_PARTS);
        sa2_tensor y = test_poisoned(&r->env, SA2_F32, sounds[3], 0);
        assert_int_equal(
            sa2_hift_spectrum_forward(s, spectrum, &r->work, parts, x, (sa2_rows){3, sounds}, NULL),
            SA2_OK);
        assert_int_equal(sa2_hift_spectrum_inverse(s, spectrum, &r->work, y, parts,
                                                   (sa2_rows){3, frames}, INFINITY, NULL),
                         SA2_OK);
        /* two products of 16 and 18 terms */
        assert_close(&r->env, s, "inverse of a spectrum", &y, want, 40 * 0x1p-48);
    }
    test_reset(&r->env);
}

/* ---- weights ---- */

static void assert_same_sound(rig *r, sa2_tensor_map *map)
{
    static const int lengths[] = {16, 9};
    sa2_vocoder vocoder = r->vocoders[0];
    sa2_arena weights;
    sound one = new_sound(&r->env, 3, 25);
    sa2_tensor want = alone(r, 0, &one, lengths, 2);
    open_vocoder(r, 0, map, &r->vocoders[0], &weights);
    sa2_tensor found = alone(r, 0, &one, lengths, 2);
    assert_same_bits("other weights", &found, &want);
    r->vocoders[0] = vocoder;
    sa2_backend_arena_destroy(r->env.backends[0], &weights);
    test_reset(&r->env);
}

static void weights_of_a_pytorch_file_give_the_same_sound(void **state)
{
    char path[1024];
    sa2_tensor_map *map;
    sa2_error err = {0};
    test_data(path, sizeof path, "golden/tiny_checkpoint/token2wav/hift.pt");
    if (sa2_torch_zip_open(&map, path, "generator.", &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_same_sound(*state, map);
}

typedef struct renamed {
    sa2_tensor_map *from;
    sa2_tensor_entry entry;
} renamed;

static sa2_status make_renamed(const void *context, const sa2_tensor_entry *entry, int64_t first,
                               int64_t count, void *out, sa2_error *err)
{
    (void)entry;
    const renamed *one = context;
    return sa2_tensor_map_read(one->from, &one->entry, first, count, out, err);
}

static void weights_under_the_older_names_of_weight_norm_give_the_same_sound(void **state)
{
    static const char *const ends[][2] = {{".parametrizations.weight.original0", ".weight_g"},
                                          {".parametrizations.weight.original1", ".weight_v"}};
    sa2_tensor_map *from = tiny_map(), *map;
    assert_int_equal(sa2_tensor_map_create(&map, NULL), SA2_OK);
    for (int i = 0; i < sa2_tensor_map_count(from); i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(from, i);
        char name[256];
        snprintf(name, sizeof name, "%s", entry->name);
        for (int e = 0; e < 2; e++) {
            char *at = strstr(name, ends[e][0]);
            if (at != NULL)
                snprintf(at, sizeof name - (size_t)(at - name), "%s", ends[e][1]);
        }
        renamed *one = malloc(sizeof *one);
        assert_non_null(one);
        *one = (renamed){.from = from, .entry = *entry};
        sa2_tensor shape = entry->tensor;
        shape.data = NULL;
        assert_int_equal(sa2_tensor_map_keep(map, one, free, NULL), SA2_OK);
        assert_int_equal(
            sa2_tensor_map_add_made(map, name, "renamed", shape, make_renamed, one, NULL), SA2_OK);
    }
    assert_same_sound(*state, map);
    sa2_tensor_map_destroy(from);
}

static void weights_that_are_missing_are_all_named(void **state)
{
    rig *r = *state;
    sa2_tensor_map *from = tiny_map(), *map;
    sa2_vocoder vocoder;
    sa2_arena weights;
    sa2_error err = {0};
    assert_int_equal(sa2_tensor_map_create(&map, NULL), SA2_OK);
    for (int i = 0; i < sa2_tensor_map_count(from); i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(from, i);
        renamed *one = malloc(sizeof *one);
        assert_non_null(one);
        *one = (renamed){.from = from, .entry = *entry};
        sa2_tensor shape = entry->tensor;
        shape.data = NULL;
        if (strcmp(entry->name, "conv_post.bias") == 0)
            shape.shape[0] = 17;
        assert_int_equal(sa2_tensor_map_keep(map, one, free, NULL), SA2_OK);
        if (strcmp(entry->name, "ups.1.bias") != 0)
            assert_int_equal(
                sa2_tensor_map_add_made(map, entry->name, "a file", shape, make_renamed, one, NULL),
                SA2_OK);
    }
    assert_int_equal(sa2_vocoder_open(&vocoder, r->env.backends[0], map, &weights, &err),
                     SA2_ERR_FORMAT);
    assert_non_null(strstr(err.message, "ups.1.bias"));
    assert_non_null(strstr(err.message, "conv_post.bias"));
    sa2_tensor_map_destroy(map);
    sa2_tensor_map_destroy(from);
}

/* ---- refusals ---- */

static void what_makes_no_sense_is_refused_and_no_stream_moves(void **state)
{
    rig *r = *state;
    test_env *env = &r->env;
    sa2_vocoder_state fresh = new_state(env, 0), used = new_state(env, 0);
    used.frames = 30;
    static const struct {
        int n;
        struct {
            bool used;
            int frames;
            bool last;
        } chunks[2];
        int mel_rows, mel_cols, samples;
        const char *words;
    } cases[] = {
        {0, {{0}}, 0, MEL, 0, "0 chunks, 1 to 64 expected"},
        {65, {{0}}, 0, MEL, 0, "65 chunks, 1 to 64 expected"},
        {1, {{false, 7, false}}, 7, MEL, 0, "first chunk 0 has 7 frames, 8 or more expected"},
        {1, {{false, 0, true}}, 0, MEL, 0, "first last chunk 0 has 0 frames, 1 or more expected"},
        {1, {{true, 0, false}}, 0, MEL, 0, "chunk 0 has 0 frames, 1 or more expected"},
        {1, {{true, -1, true}}, 0, MEL, 0, "last chunk 0 has -1 frames, 0 or more expected"},
        {2, {{true, 2, false}, {true, 2, false}}, 4, MEL, 0, "chunks 0 and 1 are of one stream"},
        {1, {{false, 9, false}}, 9, MEL - 1, 480, "mel f32 [9, 80] and out f32 [480] expected"},
        {1, {{false, 9, false}}, 8, MEL, 480, "mel f32 [9, 80] and out f32 [480] expected"},
        {1, {{false, 9, false}}, 9, MEL, 481, "out f32 [480] expected, f32 [9, 80] and f32 [481]"},
        {1, {{false, 4473413, true}}, 9, MEL, 1, "4473413 frames, at most"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        sa2_vocoder_chunk chunks[2];
        for (int i = 0; i < 2; i++)
            chunks[i] = (sa2_vocoder_chunk){.state = cases[c].chunks[i].used ? &used : &fresh,
                                            .frames = cases[c].chunks[i].frames,
                                            .last = cases[c].chunks[i].last};
        sa2_vocoder_batch batch = {
            .n = cases[c].n,
            .chunks = chunks,
            .mel = test_random(env, SA2_F32, cases[c].mel_rows, cases[c].mel_cols)};
        sa2_tensor out = test_poisoned(env, SA2_F32, cases[c].samples, 0);
        sa2_error err = {0};
        sa2_status st = sa2_vocoder_forward(env->streams[0], &r->vocoders[0], &r->work, out, &batch,
                                            NULL, &err);
        assert_int_equal(st, strstr(cases[c].words, "at most") ? SA2_ERR_LIMIT : SA2_ERR_ARG);
        if (strstr(err.message, cases[c].words) == NULL)
            fail_msg("\"%s\" expected in \"%s\"", cases[c].words, err.message);
        assert_true(fresh.frames == 0 && used.frames == 30);
    }
    test_reset(env);
}

static void a_forward_without_room_is_refused_and_gives_all_back(void **state)
{
    rig *r = *state;
    test_env *env = &r->env;
    enum { FRAMES = 12 };
    size_t bytes = sa2_vocoder_work_bytes(&r->vocoders[0].dims, FRAMES, 1);
    sa2_vocoder_state one = new_state(env, 0);
    sa2_vocoder_chunk chunk = {.state = &one, .frames = FRAMES, .last = true};
    sa2_vocoder_batch batch = {
        .n = 1, .chunks = &chunk, .mel = random_mel(env, FRAMES), .noise = true};
    sa2_tensor out = test_poisoned(env, SA2_F32, FRAMES * FRAME, 0);
    sa2_arena work;
    assert_int_equal(sa2_arena_create(&work, bytes, NULL), SA2_OK);
    assert_int_equal(
        sa2_vocoder_forward(env->streams[0], &r->vocoders[0], &work, out, &batch, NULL, NULL),
        SA2_OK);
    size_t need = work.peak; /* less than `bytes`, which counts kept frames */
    for (size_t part = 1; part <= 64; part++) {
        sa2_arena less;
        sa2_error err = {0};
        sa2_arena_init(&less, work.base, need * part / 65);
        assert_int_equal(
            sa2_vocoder_forward(env->streams[0], &r->vocoders[0], &less, out, &batch, NULL, &err),
            SA2_ERR_NOMEM);
        assert_true(less.used == 0 && strstr(err.message, " needed, ") != NULL);
    }
    assert_int_equal(one.frames, 0);
    assert_int_equal(sa2_stream_finish(env->streams[0], NULL), SA2_OK);
    sa2_arena_destroy(&work);
    test_reset(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_chunking_gives_960_samples_a_token),
        cmocka_unit_test(every_chunk_gives_the_samples_it_announces),
        cmocka_unit_test(streams_together_are_each_alone_to_the_bit),
        cmocka_unit_test(stopping_or_spoiling_a_stream_leaves_the_others),
        cmocka_unit_test(noise_follows_the_samples_of_a_stream_not_its_chunks),
        cmocka_unit_test(the_inverse_of_a_spectrum_is_the_sound),
        cmocka_unit_test(weights_of_a_pytorch_file_give_the_same_sound),
        cmocka_unit_test(weights_under_the_older_names_of_weight_norm_give_the_same_sound),
        cmocka_unit_test(weights_that_are_missing_are_all_named),
        cmocka_unit_test(what_makes_no_sense_is_refused_and_no_stream_moves),
        cmocka_unit_test(a_forward_without_room_is_refused_and_gives_all_back),
    };
    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
