#include "runtime/token2wav/token2wav.h"

#include "kernels/base/limits.h"
#include "loader/token2wav_tensors.h"
#include "runtime/pack_map.h"
#include "runtime/pack_sink.h"
#include "runtime/token2wav/token2wav_files.h"

enum { CODES_A_SECOND = 25, DEFAULT_VOICE_SECONDS = 17, DEFAULT_SECONDS = 60 };

static int voice_codes(const sa2_token2wav_options *o)
{
    return o->max_voice_seconds * CODES_A_SECOND;
}

static sa2_status complete_options(sa2_token2wav_options *o, const sa2_token2wav_options *given,
                                   sa2_error *err)
{
    *o = given != NULL ? *given : (sa2_token2wav_options){0};
    if (o->max_streams == 0)
        o->max_streams = 1;
    if (o->max_voice_seconds == 0)
        o->max_voice_seconds = DEFAULT_VOICE_SECONDS;
    if (o->max_seconds == 0)
        o->max_seconds = DEFAULT_SECONDS;
    if (o->max_streams < 1 || o->max_streams > SA2_VOCODER_SOUNDS)
        return sa2_fail(err, SA2_ERR_ARG, "token2wav: %d streams, 1 to %d expected", o->max_streams,
                        SA2_VOCODER_SOUNDS);
    if (o->max_voice_seconds < 1 || o->max_voice_seconds > SA2_LIMIT_VOICE_SECONDS)
        return sa2_fail(err, SA2_ERR_ARG, "token2wav: voices of %d s, 1 to %d expected",
                        o->max_voice_seconds, SA2_LIMIT_VOICE_SECONDS);
    if (o->max_seconds < 1 || o->max_seconds > SA2_LIMIT_SOUND_SECONDS)
        return sa2_fail(err, SA2_ERR_ARG, "token2wav: sounds of %d s, 1 to %d expected",
                        o->max_seconds, SA2_LIMIT_SOUND_SECONDS);
    return SA2_OK;
}

/* ---- weights ---- */

static sa2_status judge_flow(const sa2_flow_config *config, const sa2_tensor_map *map,
                             sa2_error *err)
{
    sa2_tensor_list list = {0};
    sa2_status st = sa2_flow_tensors(&list, config, err);
    if (st == SA2_OK)
        st = sa2_tensor_map_check(map, &list, err);
    sa2_tensor_list_destroy(&list);
    return st;
}

static sa2_status load_flow(sa2_token2wav *t, const sa2_flow_config *config, sa2_tensor_map *map,
                            sa2_error *err)
{
    const sa2_flow_options options = {
        .max_tokens = voice_codes(&t->options) + t->options.max_seconds * CODES_A_SECOND,
        .noise_seed = t->options.noise_seed,
    };
    sa2_status st = judge_flow(config, map, err);
    if (st != SA2_OK)
        return st;
    sa2_weights w = {
        .stream = t->stream, .map = map, .dtype = t->options.bf16 ? SA2_BF16 : SA2_F32, .err = err};
    sa2_flow_load(&t->flow, config, &options, &w);
    st = w.status;
    if (st == SA2_OK)
        st = sa2_backend_arena_create(t->backend, &t->flow_weights, w.bytes, err);
    if (st == SA2_OK)
        st = sa2_arena_reserve(&t->layers, w.host_bytes, err);
    if (st != SA2_OK)
        return st;
    t->weight_bytes = w.bytes + w.mapped + w.host_bytes;
    w = (sa2_weights){.stream = t->stream,
                      .map = map,
                      .arena = &t->flow_weights,
                      .host = &t->layers,
                      .dtype = w.dtype,
                      .err = err};
    sa2_flow_load(&t->flow, config, &options, &w);
    sa2_status finished = sa2_stream_finish(t->stream, w.status == SA2_OK ? err : NULL);
    return w.status != SA2_OK ? w.status : finished;
}

/* ---- memory ---- */

/* The larger of what a step of the streams, a voice and a whole sound need. */
static sa2_status reserve(sa2_token2wav *t, sa2_error *err)
{
    const sa2_token2wav_options *o = &t->options;
    int up = t->flow.config.up_stride, ahead = t->flow.config.lookahead;
    t->max_codes = o->max_streams * 2 * (SA2_SPEECH_CHUNK + ahead);
    int whole = voice_codes(o) + o->max_seconds * CODES_A_SECOND;
    sa2_flow_room_bytes room =
        sa2_flow_room_larger(sa2_flow_solution_room(&t->flow, t->max_codes, o->max_streams),
                             sa2_flow_solution_room(&t->flow, whole, 1));
    int64_t step_frames = (int64_t)t->max_codes * up,
            whole_frames = (int64_t)o->max_seconds * CODES_A_SECOND * up;
    int64_t frames = step_frames > whole_frames ? step_frames : whole_frames;
    const sa2_vocoder_dims *dims = &t->vocoder.dims;
    size_t mel = (size_t)frames * (size_t)dims->mel * sizeof(float);
    size_t sound = (size_t)(frames + SA2_VOCODER_KEPT_FRAMES * o->max_streams) * SA2_VOCODER_FRAME *
                   sizeof(float);
    size_t vocoder = sa2_larger(sa2_vocoder_work_bytes(dims, step_frames, o->max_streams),
                                sa2_vocoder_work_bytes(dims, whole_frames, 1));
    size_t scratch = sa2_larger(sa2_vocoder_scratch_bytes(dims, step_frames, o->max_streams),
                                sa2_vocoder_scratch_bytes(dims, whole_frames, 1));
    size_t kept = sa2_flow_cache_bytes(&t->flow, o->max_streams, voice_codes(o)) +
                  (size_t)(o->max_streams + 1) * sa2_arena_round(sa2_vocoder_state_bytes(dims)) +
                  4096;

    sa2_stream_destroy(t->stream);
    sa2_status st =
        sa2_stream_create(&t->stream, t->backend, sa2_larger(scratch, room.scratch), err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(t->backend, &t->kept, kept, err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(t->backend, &t->work,
                                      mel + sound + sa2_larger(room.work, vocoder) + 4096, err);
    if (st == SA2_OK)
        st = sa2_arena_create(&t->host, room.host + sound + 4096,
                              err); /* samples on their way out too */
    t->room = (sa2_flow_room){.work = &t->work, .host = &t->host};
    if (st == SA2_OK)
        st = sa2_flow_cache_init(t->stream, &t->flow, &t->cache, o->max_streams, voice_codes(o),
                                 &t->kept, err);
    for (int i = 0; st == SA2_OK && i < o->max_streams; i++)
        st = sa2_vocoder_state_init(&t->slots[i].vocoder, dims, 0, &t->kept, err);
    return st;
}

sa2_status sa2_token2wav_from_maps(sa2_token2wav *t, sa2_backend *backend,
                                   const sa2_flow_config *config, sa2_tensor_map *flow,
                                   sa2_tensor_map *vocoder, const sa2_token2wav_options *options,
                                   sa2_error *err)
{
    *t = (sa2_token2wav){.backend = backend,
                         .packs = {sa2_pack_share(sa2_tensor_map_pack(flow)),
                                   sa2_pack_share(sa2_tensor_map_pack(vocoder))}};
    sa2_status st = complete_options(&t->options, options, err);
    if (st == SA2_OK)
        st = sa2_stream_create(&t->stream, backend, 0, err);
    if (st == SA2_OK)
        st = load_flow(t, config, flow, err);
    if (st == SA2_OK)
        st = sa2_vocoder_open(&t->vocoder, backend, vocoder, &t->vocoder_weights, err);
    if (st == SA2_OK && t->vocoder.dims.mel != config->mel)
        st = sa2_fail(err, SA2_ERR_FORMAT,
                      "token2wav: the flow makes %d mel bins, the vocoder takes %d", config->mel,
                      t->vocoder.dims.mel);
    if (st == SA2_OK)
        st = reserve(t, err);
    if (st != SA2_OK)
        sa2_token2wav_close(t);
    return st;
}

sa2_status sa2_token2wav_open(sa2_token2wav *t, sa2_backend *backend, const char *path,
                              const sa2_token2wav_options *options, sa2_error *err)
{
    *t = (sa2_token2wav){0};
    sa2_flow_config config;
    sa2_token2wav_files files;
    sa2_tensor_map *flow = NULL, *vocoder = NULL;
    sa2_status st = sa2_token2wav_files_open(&files, path, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_config(&files, &config, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_map(&files, &flow, SA2_FLOW_FILE, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_map(&files, &vocoder, SA2_VOCODER_FILE, err);
    if (st == SA2_OK) {
        sa2_tensor_map_set_threads(flow, sa2_backend_threads(backend));
        sa2_tensor_map_set_threads(vocoder, sa2_backend_threads(backend));
        st = sa2_token2wav_from_maps(t, backend, &config, flow, vocoder, options, err);
    }
    sa2_tensor_map_destroy(flow);
    sa2_tensor_map_destroy(vocoder);
    sa2_token2wav_files_close(&files);
    return st == SA2_OK ? st : sa2_wrap(err, st, "%s", path);
}

/* ---- writing a native file ---- */

static sa2_status pack_flow(sa2_weights *w, const sa2_flow_config *config, sa2_error *err)
{
    const sa2_flow_options options = {.max_tokens = 1};
    sa2_flow flow = {0};
    sa2_flow_load(&flow, config, &options, w);
    return w->status == SA2_OK ? sa2_pack_sink_finish(w->sink, err) : w->status;
}

static sa2_status pack_vocoder(sa2_weights *w, sa2_error *err)
{
    sa2_vocoder vocoder = {0};
    sa2_vocoder_dims dims;
    sa2_status st = sa2_vocoder_prepare(w->map, &dims, err);
    if (st != SA2_OK)
        return st;
    sa2_vocoder_load(&vocoder, &dims, w);
    return w->status == SA2_OK ? sa2_pack_sink_finish(w->sink, err) : w->status;
}

sa2_status sa2_token2wav_pack(sa2_pack_writer *writer, sa2_backend *backend,
                              const sa2_flow_config *config, sa2_tensor_map *flow,
                              sa2_tensor_map *vocoder, sa2_error *err)
{
    sa2_stream *stream = NULL;
    sa2_pack_sink sink = {0};
    sa2_status st = judge_flow(config, flow, err);
    if (st == SA2_OK)
        st = sa2_stream_create(&stream, backend, 0, err);
    if (st == SA2_OK)
        st = sa2_pack_sink_open(&sink, writer, SA2_PACK_FLOW, flow, backend, err);
    sa2_weights w = {.stream = stream, .map = flow, .sink = &sink, .dtype = SA2_F32, .err = err};
    if (st == SA2_OK)
        st = pack_flow(&w, config, err);
    sa2_pack_sink_close(&sink);
    if (st == SA2_OK)
        st = sa2_pack_sink_open(&sink, writer, SA2_PACK_VOCODER, vocoder, backend, err);
    w.map = vocoder;
    if (st == SA2_OK)
        st = pack_vocoder(&w, err);
    sa2_pack_sink_close(&sink);
    sa2_stream_destroy(stream);
    return st;
}

void sa2_token2wav_close(sa2_token2wav *t)
{
    if (t->backend != NULL) {
        sa2_stream_destroy(t->stream);
        sa2_backend_arena_destroy(t->backend, &t->flow_weights);
        sa2_backend_arena_destroy(t->backend, &t->vocoder_weights);
        sa2_arena_destroy(&t->layers);
        sa2_backend_arena_destroy(t->backend, &t->kept);
        sa2_backend_arena_destroy(t->backend, &t->work);
    }
    sa2_arena_destroy(&t->host);
    for (int i = 0; i < 2; i++)
        sa2_pack_close(t->packs[i]);
    *t = (sa2_token2wav){0};
}

sa2_token2wav_plan sa2_token2wav_planned(const sa2_token2wav *t)
{
    return (sa2_token2wav_plan){.weights = t->weight_bytes + t->vocoder.weight_bytes,
                                .kept = t->kept.bytes,
                                .work = t->work.bytes + t->host.bytes};
}

/* ---- voices ---- */

static sa2_flow_prompt prompt_of(const sa2_voice *voice)
{
    return (sa2_flow_prompt){.tokens = voice->tokens,
                             .n_tokens = voice->n_tokens,
                             .mel = voice->mel,
                             .speaker = voice->speaker};
}

static sa2_status judge_voice(const sa2_token2wav *t, const sa2_voice *voice, sa2_error *err)
{
    const sa2_flow_config *c = &t->flow.config;
    if (voice->n_speaker != c->speaker || voice->mel_bins != c->mel ||
        voice->n_frames != voice->n_tokens * c->up_stride)
        return sa2_fail(err, SA2_ERR_ARG,
                        "voice: a vector of %d, %d frames of %d bins for %d tokens; the flow takes "
                        "%d, %d and %d",
                        voice->n_speaker, voice->n_frames, voice->mel_bins, voice->n_tokens,
                        c->speaker, voice->n_tokens * c->up_stride, c->mel);
    if (voice->n_tokens > voice_codes(&t->options))
        return sa2_fail(err, SA2_ERR_LIMIT, "voice: %.1f s, memory is planned for %d s",
                        (double)voice->n_tokens / CODES_A_SECOND, t->options.max_voice_seconds);
    return SA2_OK;
}

sa2_status sa2_speech_voice_init(sa2_token2wav *t, sa2_speech_voice *made, const sa2_voice *voice,
                                 sa2_error *err)
{
    *made = (sa2_speech_voice){.backend = t->backend};
    const sa2_flow_prompt prompt = prompt_of(voice);
    sa2_status st = judge_voice(t, voice, err);
    if (st == SA2_OK)
        st = sa2_backend_arena_create(t->backend, &made->memory,
                                      sa2_flow_voice_bytes(&t->flow, voice->n_tokens), err);
    if (st == SA2_OK)
        st = sa2_flow_voice_init(t->stream, &t->flow, &made->flow, &prompt, &made->memory, &t->room,
                                 err);
    sa2_status finished = sa2_stream_finish(t->stream, st == SA2_OK ? err : NULL);
    st = st != SA2_OK ? st : finished;
    if (st != SA2_OK)
        sa2_speech_voice_destroy(made);
    return st;
}

size_t sa2_speech_voice_bytes(const sa2_token2wav *t)
{
    return sa2_flow_voice_bytes(&t->flow, voice_codes(&t->options));
}

void sa2_speech_voice_destroy(sa2_speech_voice *voice)
{
    if (voice->backend != NULL)
        sa2_backend_arena_destroy(voice->backend, &voice->memory);
    *voice = (sa2_speech_voice){0};
}

/* ---- a whole sound ---- */

int sa2_token2wav_max_codes(const sa2_token2wav *t)
{
    return t->options.max_seconds * CODES_A_SECOND;
}

int64_t sa2_speech_samples(const sa2_token2wav *t, int n_codes)
{
    return (int64_t)n_codes * t->flow.config.up_stride * SA2_VOCODER_FRAME;
}

static sa2_status judge_codes(const sa2_token2wav *t, const int32_t *codes, int n, sa2_error *err)
{
    if (n < 1 || n > t->options.max_seconds * CODES_A_SECOND)
        return sa2_fail(err, SA2_ERR_LIMIT, "speech: %d codes, 1 to %d expected", n,
                        t->options.max_seconds * CODES_A_SECOND);
    for (int i = 0; i < n; i++)
        if (codes[i] >= t->flow.config.vocab)
            return sa2_fail(err, SA2_ERR_ARG, "speech: code %d at place %d, below %d expected",
                            codes[i], i, t->flow.config.vocab);
    return SA2_OK;
}

sa2_status sa2_token2wav_whole(sa2_token2wav *t, const sa2_voice *voice, const int32_t *codes,
                               int n, uint64_t seed, float *mel_out, float *samples, sa2_error *err)
{
    const sa2_flow_prompt prompt = prompt_of(voice);
    sa2_vocoder_state state;
    sa2_flow_solution solution = {0};
    size_t mark = sa2_arena_mark(&t->work), kept_mark = sa2_arena_mark(&t->kept);
    sa2_status st = judge_voice(t, voice, err);
    if (st == SA2_OK)
        st = judge_codes(t, codes, n, err);
    if (st == SA2_OK)
        st = sa2_vocoder_state_init(&state, &t->vocoder.dims, seed, &t->kept, err);
    if (st != SA2_OK)
        return st;
    int64_t frames = (int64_t)n * t->flow.config.up_stride;
    sa2_tensor mel = sa2_tensor_2d(NULL, SA2_F32, frames, t->flow.config.mel);
    sa2_tensor sound = sa2_tensor_1d(NULL, SA2_F32, sa2_speech_samples(t, n));
    mel.data = sa2_arena_take(&t->work, sa2_tensor_bytes(&mel));
    sound.data = sa2_arena_take(&t->work, sa2_tensor_bytes(&sound));
    st =
        sa2_flow_begin_whole(t->stream, &t->flow, &t->room, &solution, mel, &prompt, codes, n, err);
    if (st == SA2_OK)
        st = sa2_flow_solve(t->stream, &solution, err);
    if (st == SA2_OK) {
        const sa2_vocoder_chunk chunk = {.state = &state, .frames = (int32_t)frames, .last = true};
        const sa2_vocoder_batch batch = {
            .n = 1, .chunks = &chunk, .mel = mel, .noise = !t->options.no_source_noise};
        st = sa2_vocoder_forward(t->stream, &t->vocoder, &t->work, sound, &batch, NULL, err);
    }
    if (st == SA2_OK && mel_out != NULL)
        sa2_download(t->stream, mel_out, mel);
    if (st == SA2_OK)
        sa2_download(t->stream, samples, sound);
    sa2_status finished = sa2_stream_finish(t->stream, st == SA2_OK ? err : NULL);
    sa2_flow_abandon(&solution);
    sa2_arena_rewind(&t->work, mark);
    sa2_arena_rewind(&t->kept, kept_mark);
    return st != SA2_OK ? st : finished;
}
