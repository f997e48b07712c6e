/* voice_open.c - weights and memory of voice.h's encoder. */
#include <string.h>

#include <xxhash.h>

#include "kernels/base/limits.h"
#include "runtime/pack_map.h"
#include "runtime/pack_sink.h"
#include "runtime/token2wav/token2wav_files.h"
#include "runtime/token2wav/voice.h"
#include "runtime/work.h"

static sa2_status judge_options(const sa2_voice_options *o, sa2_error *err)
{
    if (o->mel_bins < 1 || o->mel_bins > SA2_LIMIT_MEL_BINS)
        return sa2_fail(err, SA2_ERR_ARG, "voice: %d mel bands, 1 to %d expected", o->mel_bins,
                        SA2_LIMIT_MEL_BINS);
    if (o->frames_per_token < 1 || o->frames_per_token > SA2_LIMIT_KERNEL)
        return sa2_fail(err, SA2_ERR_ARG, "voice: %d frames a token, 1 to %d expected",
                        o->frames_per_token, SA2_LIMIT_KERNEL);
    if (o->max_seconds < 1 || o->max_seconds > SA2_LIMIT_VOICE_SECONDS)
        return sa2_fail(err, SA2_ERR_ARG, "voice: recordings of up to %d s, 1 to %d expected",
                        o->max_seconds, SA2_LIMIT_VOICE_SECONDS);
    return SA2_OK;
}

/* ---- what the files hold ---- */

enum {
    LOOKED_AT = 256, /* values of a tensor that its identity takes */
    MAX_DIGITS = 19, /* 3^19 - 1 is the largest token that an int32_t holds */
};

static sa2_status judge_tokenizer(sa2_speech_tokenizer_dims *dims, const sa2_tensor_map *map,
                                  sa2_error *err)
{
    sa2_tensor_list list = {0};
    sa2_status st = sa2_speech_tokenizer_dims_find(dims, map, err);
    if (st == SA2_OK && dims->digits > MAX_DIGITS)
        st = sa2_fail_also(err, SA2_ERR_LIMIT, "speech tokenizer: %d digits, up to %d are possible",
                           dims->digits, MAX_DIGITS);
    if (st == SA2_OK)
        st = sa2_speech_tokenizer_tensors(&list, dims, err);
    if (st == SA2_OK)
        st = sa2_tensor_map_check(map, &list, err);
    sa2_tensor_list_destroy(&list);
    return st;
}

static sa2_status judge_speaker(sa2_speaker_dims *dims, const sa2_tensor_map *map, sa2_error *err)
{
    sa2_tensor_list list = {0};
    sa2_status st = sa2_speaker_dims_find(dims, map, err);
    if (st == SA2_OK)
        st = sa2_speaker_tensors(&list, dims, err);
    if (st == SA2_OK)
        st = sa2_tensor_map_check(map, &list, err);
    sa2_tensor_list_destroy(&list);
    return st;
}

static sa2_status judge_both(sa2_speech_tokenizer_dims *tokenizer, sa2_speaker_dims *speaker,
                             const sa2_tensor_map *tokenizer_map, const sa2_tensor_map *speaker_map,
                             sa2_error *err)
{
    sa2_status st = judge_tokenizer(tokenizer, tokenizer_map, err);
    sa2_status judged = judge_speaker(speaker, speaker_map, err);
    return st != SA2_OK ? st : judged;
}

static sa2_status identify(uint64_t *identity, const sa2_tensor_map *map, sa2_error *err)
{
    for (int i = 0; i < sa2_tensor_map_count(map); i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(map, i);
        float values[LOOKED_AT]; /* no dtype is wider */
        int64_t count = sa2_tensor_count(&entry->tensor);
        count = count < LOOKED_AT ? count : LOOKED_AT;
        sa2_status st = sa2_tensor_map_read(map, entry, 0, count, values, err);
        if (st != SA2_OK)
            return st;
        uint64_t hash = XXH3_64bits(entry->name, strlen(entry->name));
        hash = XXH3_64bits_withSeed(
            entry->tensor.shape, (size_t)entry->tensor.ndim * sizeof entry->tensor.shape[0], hash);
        hash = XXH3_64bits_withSeed(values, (size_t)count * sa2_dtype_bytes(entry->tensor.dtype),
                                    hash);
        *identity += hash; /* a native file has its tensors in another order */
    }
    return SA2_OK;
}

/* ---- memory ---- */

/* The most samples of a recording at a rate. */
static int64_t most_samples(const sa2_voice_options *o, int rate)
{
    return (int64_t)o->max_seconds * rate;
}

static int64_t most_fbank_frames(const sa2_voice_options *o)
{
    return sa2_fbank_frames(most_samples(o, SA2_FBANK_RATE));
}

/* The same calls measure (arenas NULL) and fill. */
static void load(sa2_voice_encoder *e, const sa2_speech_tokenizer_dims *tokenizer,
                 const sa2_speaker_dims *speaker, sa2_tensor_map *tokenizer_map,
                 sa2_tensor_map *speaker_map, sa2_weights *w)
{
    w->map = tokenizer_map;
    sa2_speech_tokenizer_load(&e->tokenizer, tokenizer, w);
    w->map = speaker_map;
    sa2_speaker_encoder_load(&e->speaker, speaker, most_fbank_frames(&e->options), w);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t plan_bytes(const sa2_voice_encoder *e)
{
    return sa2_mel_plan_bytes(e->stream, &e->tokenizer_mel.config) +
           sa2_mel_plan_bytes(e->stream, &e->prompt_mel.config) +
           sa2_fbank_plan_bytes(e->stream, e->speaker.dims.mel);
}

/* Of the longest recording: one path after the other, each with its features at hand (voice.c). */
static size_t work_bytes(const sa2_voice_encoder *e)
{
    int64_t n_16k = most_samples(&e->options, SA2_FBANK_RATE);
    int64_t n_24k = most_samples(&e->options, e->prompt_mel.config.rate);
    sa2_voice_lengths n = sa2_voice_lengths_of(n_16k, n_24k, e->options.frames_per_token);
    sa2_work tokens = {0}, speaker = {0}, mel = {0};
    sa2_work_take(&tokens, SA2_F32, n.frames, e->tokenizer.dims.mel);
    sa2_work_take(&tokens, SA2_F32, n.tokens, e->tokenizer.dims.digits);
    tokens.bytes += larger(sa2_mel_work_bytes(&e->tokenizer_mel.config, n_16k),
                           sa2_speech_tokenizer_work_bytes(&e->tokenizer.dims, n.frames));
    sa2_work_take(&speaker, SA2_F32, n.fbank_frames, e->speaker.dims.mel);
    sa2_work_take(&speaker, SA2_F32, 1, e->speaker.dims.embedding);
    speaker.bytes += larger(sa2_fbank_work_bytes(e->speaker.dims.mel, n_16k),
                            sa2_speaker_encoder_work_bytes(&e->speaker.dims, n.fbank_frames));
    sa2_work_take(&mel, SA2_F32, n.mel_frames, e->options.mel_bins);
    mel.bytes += sa2_mel_work_bytes(&e->prompt_mel.config, n_24k);
    return larger(larger(tokens.bytes, speaker.bytes), mel.bytes);
}

static size_t scratch_bytes(const sa2_voice_encoder *e)
{
    int64_t n_16k = most_samples(&e->options, SA2_FBANK_RATE);
    return larger(
        sa2_speech_tokenizer_scratch_bytes(&e->tokenizer.dims,
                                           sa2_mel_frames(&e->tokenizer_mel.config, n_16k)),
        sa2_speaker_encoder_scratch_bytes(&e->speaker.dims, most_fbank_frames(&e->options)));
}

static sa2_status create_plans(sa2_voice_encoder *e, sa2_error *err)
{
    sa2_mel_config tokenizer = e->tokenizer_mel.config, prompt = e->prompt_mel.config;
    sa2_status st = sa2_mel_plan_create(&e->tokenizer_mel, &tokenizer, e->stream, &e->weights, err);
    if (st == SA2_OK)
        st = sa2_mel_plan_create(&e->prompt_mel, &prompt, e->stream, &e->weights, err);
    if (st == SA2_OK)
        st = sa2_fbank_plan_create(&e->fbank, e->speaker.dims.mel, e->stream, &e->weights, err);
    return st;
}

/* ---- opening ---- */

static sa2_status fill(sa2_voice_encoder *e, const sa2_speech_tokenizer_dims *tokenizer,
                       const sa2_speaker_dims *speaker, sa2_tensor_map *tokenizer_map,
                       sa2_tensor_map *speaker_map, sa2_error *err)
{
    e->tokenizer.dims = *tokenizer;
    e->speaker.dims = *speaker;
    e->tokenizer_mel.config = sa2_mel_of_speech_tokenizer(tokenizer->mel);
    e->prompt_mel.config = sa2_mel_of_prompt(e->options.mel_bins);
    sa2_status st = sa2_stream_create(&e->stream, e->backend, scratch_bytes(e), err);
    if (st != SA2_OK)
        return st;
    sa2_weights w = {.stream = e->stream, .dtype = SA2_F32, .err = err};
    load(e, tokenizer, speaker, tokenizer_map, speaker_map, &w);
    st = sa2_backend_arena_create(e->backend, &e->weights, w.bytes + plan_bytes(e), err);
    if (st == SA2_OK)
        st = sa2_arena_reserve(&e->layers, w.host_bytes, err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(e->backend, &e->work, work_bytes(e), err);
    if (st != SA2_OK)
        return st;
    w = (sa2_weights){.stream = e->stream,
                      .arena = &e->weights,
                      .host = &e->layers,
                      .dtype = SA2_F32,
                      .err = err};
    load(e, tokenizer, speaker, tokenizer_map, speaker_map, &w);
    st = w.status;
    if (st == SA2_OK)
        st = create_plans(e, err);
    sa2_status finished = sa2_stream_finish(e->stream, st == SA2_OK ? err : NULL);
    return st != SA2_OK ? st : finished;
}

sa2_status sa2_voice_encoder_from_maps(sa2_voice_encoder *encoder, sa2_backend *backend,
                                       sa2_tensor_map *tokenizer_map, sa2_tensor_map *speaker_map,
                                       const sa2_voice_options *options, sa2_error *err)
{
    sa2_voice_encoder e = {.options = *options,
                           .backend = backend,
                           .packs = {sa2_pack_share(sa2_tensor_map_pack(tokenizer_map)),
                                     sa2_pack_share(sa2_tensor_map_pack(speaker_map))}};
    sa2_speech_tokenizer_dims tokenizer;
    sa2_speaker_dims speaker;
    *encoder = (sa2_voice_encoder){0};
    sa2_status st = judge_options(options, err);
    if (st == SA2_OK)
        st = judge_both(&tokenizer, &speaker, tokenizer_map, speaker_map, err);
    if (st == SA2_OK)
        st = identify(&e.identity, tokenizer_map, err);
    if (st == SA2_OK)
        st = identify(&e.identity, speaker_map, err);
    if (st == SA2_OK)
        st = sa2_speaker_encoder_fold(speaker_map, err);
    if (st == SA2_OK)
        st = fill(&e, &tokenizer, &speaker, tokenizer_map, speaker_map, err);
    if (st == SA2_OK)
        *encoder = e;
    else
        sa2_voice_encoder_close(&e);
    return st;
}

sa2_status sa2_voice_encoder_open(sa2_voice_encoder *encoder, sa2_backend *backend,
                                  const char *path, const sa2_voice_options *options,
                                  sa2_error *err)
{
    sa2_token2wav_files files;
    sa2_tensor_map *tokenizer = NULL, *speaker = NULL;
    *encoder = (sa2_voice_encoder){0};
    sa2_status st = sa2_token2wav_files_open(&files, path, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_map(&files, &tokenizer, SA2_SPEECH_TOKENIZER_FILE, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_map(&files, &speaker, SA2_SPEAKER_FILE, err);
    if (st == SA2_OK) {
        sa2_tensor_map_set_threads(tokenizer, sa2_backend_threads(backend));
        sa2_tensor_map_set_threads(speaker, sa2_backend_threads(backend));
        st = sa2_voice_encoder_from_maps(encoder, backend, tokenizer, speaker, options, err);
    }
    sa2_tensor_map_destroy(speaker);
    sa2_tensor_map_destroy(tokenizer);
    sa2_token2wav_files_close(&files);
    return st;
}

/* ---- writing a native file ---- */

static sa2_status pack_part(sa2_weights *w, sa2_pack_writer *writer, const char *part,
                            sa2_tensor_map *map, sa2_error *err)
{
    w->map = map;
    return sa2_pack_sink_open(w->sink, writer, part, map, sa2_stream_backend(w->stream), err);
}

static sa2_status finish_part(sa2_weights *w, sa2_status st, sa2_error *err)
{
    st = st == SA2_OK ? w->status : st;
    if (st == SA2_OK)
        st = sa2_pack_sink_finish(w->sink, err);
    sa2_pack_sink_close(w->sink);
    return st;
}

sa2_status sa2_voice_encoder_pack(sa2_pack_writer *writer, sa2_backend *backend,
                                  sa2_tensor_map *tokenizer_map, sa2_tensor_map *speaker_map,
                                  sa2_error *err)
{
    sa2_speech_tokenizer_dims tokenizer;
    sa2_speaker_dims speaker;
    sa2_stream *stream = NULL;
    sa2_pack_sink sink = {0};
    sa2_status st = judge_both(&tokenizer, &speaker, tokenizer_map, speaker_map, err);
    if (st == SA2_OK)
        st = sa2_stream_create(&stream, backend, 0, err);
    if (st != SA2_OK)
        return st;
    sa2_weights w = {.stream = stream, .sink = &sink, .dtype = SA2_F32, .err = err};
    st = pack_part(&w, writer, SA2_PACK_SPEECH_TOKENIZER, tokenizer_map, err);
    if (st == SA2_OK) {
        sa2_speech_tokenizer loaded = {0};
        sa2_speech_tokenizer_load(&loaded, &tokenizer, &w);
        st = finish_part(&w, st, err);
    }
    if (st == SA2_OK)
        st = pack_part(&w, writer, SA2_PACK_SPEAKER, speaker_map, err);
    if (st == SA2_OK) {
        sa2_speaker_encoder loaded = {0};
        st = sa2_speaker_encoder_fold(speaker_map, err);
        if (st == SA2_OK)
            sa2_speaker_encoder_load(&loaded, &speaker, 1, &w);
        st = finish_part(&w, st, err);
    }
    sa2_stream_destroy(stream);
    return st;
}

void sa2_voice_encoder_close(sa2_voice_encoder *e)
{
    if (e->backend != NULL) {
        sa2_backend_arena_destroy(e->backend, &e->work);
        sa2_backend_arena_destroy(e->backend, &e->weights);
        sa2_arena_destroy(&e->layers);
    }
    sa2_stream_destroy(e->stream);
    for (int i = 0; i < 2; i++)
        sa2_pack_close(e->packs[i]);
    *e = (sa2_voice_encoder){0};
}
