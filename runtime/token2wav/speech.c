#include "runtime/token2wav/speech.h"

sa2_status sa2_speech_ladder_from(sa2_speech_ladder *ladder, int first, sa2_error *err)
{
    if (first < SA2_SPEECH_FIRST_LEAST || first > SA2_SPEECH_CHUNK)
        return sa2_fail(err, SA2_ERR_ARG, "first chunk: %d codes, %d to %d expected", first,
                        SA2_SPEECH_FIRST_LEAST, SA2_SPEECH_CHUNK);
    *ladder = (sa2_speech_ladder){0};
    int codes = first;
    while (codes < SA2_SPEECH_CHUNK) {
        ladder->codes[ladder->n++] = codes;
        codes *= 2;
    }
    ladder->codes[ladder->n++] = SA2_SPEECH_CHUNK;
    return SA2_OK;
}

/* ---- starting and ending ---- */

static sa2_status judge_ladder(const sa2_speech_ladder *ladder, sa2_error *err)
{
    for (int i = 0; i < ladder->n; i++) {
        int least = i == 0 ? SA2_SPEECH_FIRST_LEAST : 2, most = 2 * SA2_SPEECH_CHUNK;
        if (ladder->codes[i] < least || ladder->codes[i] > most)
            return sa2_fail(err, SA2_ERR_LIMIT, "chunk %d: %d codes, %d to %d expected", i,
                            ladder->codes[i], least, most);
    }
    return SA2_OK;
}

sa2_status sa2_speech_init(const sa2_token2wav *t, sa2_speech *speech,
                           const sa2_speech_voice *voice, const sa2_speech_ladder *ladder,
                           int32_t *codes, int room, sa2_error *err)
{
    int planned = t->flow.max_tokens - voice->flow.n_tokens;
    *speech = (sa2_speech){.voice = voice,
                           .codes = codes,
                           .room = room < planned ? room : planned,
                           .vocab = t->flow.config.vocab,
                           .slot = -1};
    if (ladder != NULL)
        speech->ladder = *ladder;
    if (speech->ladder.n == 0)
        speech->ladder = (sa2_speech_ladder){.n = 1, .codes = {SA2_SPEECH_CHUNK}};
    return judge_ladder(&speech->ladder, err);
}

static int free_slot(const sa2_token2wav *t)
{
    int slot = 0;
    while (slot < t->options.max_streams && t->slots[slot].taken)
        slot++;
    return slot < t->options.max_streams ? slot : -1;
}

bool sa2_speech_can_start(const sa2_token2wav *t)
{
    return free_slot(t) >= 0;
}

sa2_status sa2_speech_start(sa2_token2wav *t, sa2_speech *speech, uint64_t seed, sa2_error *err)
{
    int slot = free_slot(t);
    if (slot < 0)
        return sa2_fail(err, SA2_ERR_LIMIT, "speech: all %d streams are taken",
                        t->options.max_streams);
    sa2_vocoder_state_reset(&t->slots[slot].vocoder, seed);
    sa2_status st = sa2_flow_stream_start(t->stream, &t->flow, &t->cache, &speech->flow, slot,
                                          &speech->voice->flow, err);
    if (st != SA2_OK)
        return st;
    t->slots[slot].taken = true;
    speech->slot = slot;
    return SA2_OK;
}

void sa2_speech_drop(sa2_token2wav *t, sa2_speech *speech)
{
    if (speech->voice != NULL && speech->slot >= 0)
        t->slots[speech->slot].taken = false;
    for (int i = 0; i < t->under_way.n; i++)
        if (t->under_way.streams[i] == speech)
            t->under_way.streams[i] = NULL;
    *speech = (sa2_speech){.slot = -1};
}

sa2_status sa2_speech_push(sa2_speech *speech, const int32_t *codes, int n, sa2_error *err)
{
    if (speech->voice == NULL || speech->ended)
        return sa2_fail(err, SA2_ERR_ARG, "speech: codes for a stream that is over");
    for (int i = 0; i < n; i++) {
        if (codes[i] < 0)
            return sa2_fail(err, SA2_ERR_ARG, "speech: code %d, 0 to %d expected", codes[i],
                            speech->vocab - 1);
        if (codes[i] >= speech->vocab)
            continue;
        if (sa2_speech_full(speech))
            return sa2_fail(err, SA2_ERR_LIMIT, "speech: more than %d codes", speech->n_codes);
        speech->codes[speech->n_codes++] = codes[i];
    }
    return SA2_OK;
}

bool sa2_speech_full(const sa2_speech *speech)
{
    return speech->n_codes == speech->room;
}

void sa2_speech_end(sa2_speech *speech)
{
    speech->ended = true;
}

/* ---- chunks ---- */

/* The next chunk; n is 0 when it cannot be computed yet. */
static sa2_flow_chunk next_chunk(const sa2_token2wav *t, const sa2_speech *speech)
{
    int rung = speech->n_chunks < speech->ladder.n ? speech->n_chunks : speech->ladder.n - 1;
    int codes = speech->ladder.codes[rung], left = speech->n_codes - speech->n_done;
    sa2_flow_chunk chunk = {.tokens = speech->codes + speech->n_done};
    if (speech->voice == NULL || left == 0)
        return chunk;
    if (left >= codes + t->flow.config.lookahead) {
        chunk.n = codes;
    } else if (speech->ended) {
        chunk.n = left;
        chunk.last = true;
    }
    return chunk;
}

bool sa2_speech_ready(const sa2_token2wav *t, const sa2_speech *speech)
{
    return next_chunk(t, speech).n > 0;
}

bool sa2_speech_complete(const sa2_speech *speech)
{
    return speech->ended && speech->n_done == speech->n_codes;
}

/* What is computed together. */
typedef struct forward {
    int n;
    sa2_flow_chunk flow[SA2_VOCODER_SOUNDS];
    sa2_vocoder_chunk vocoder[SA2_VOCODER_SOUNDS];
    int64_t frames, samples; /* of all */
} forward;

/* As many streams as the planned memory takes, in turn; the others come with the next chunks. */
static forward gather(sa2_token2wav *t, sa2_speech *const *streams, int n)
{
    int codes = 0;
    forward f = {0};
    sa2_speech_chunks *chunks = &t->under_way;
    for (int i = 0; i < n && f.n < t->options.max_streams; i++) {
        if (streams[i]->slot < 0)
            continue;
        sa2_flow_chunk chunk = next_chunk(t, streams[i]);
        codes += chunk.n + t->flow.config.lookahead;
        if (chunk.n == 0 || codes > t->max_codes) {
            codes -= chunk.n + t->flow.config.lookahead;
            continue;
        }
        int frames = chunk.n * t->flow.config.up_stride;
        chunk.stream = &streams[i]->flow;
        f.flow[f.n] = chunk;
        f.vocoder[f.n] = (sa2_vocoder_chunk){
            .state = &t->slots[streams[i]->slot].vocoder, .frames = frames, .last = chunk.last};
        f.frames += frames;
        chunks->streams[f.n] = streams[i];
        chunks->who[f.n] = i;
        chunks->codes[f.n] = chunk.n;
        chunks->n_samples[f.n] = sa2_vocoder_samples(&f.vocoder[f.n]);
        f.samples += chunks->n_samples[f.n];
        f.n++;
    }
    return f;
}

/* Asks for flow and vocoder; the samples of all will be at `out` (host). What is behind it on the stream may use `work`. */
static sa2_status ask(sa2_token2wav *t, const forward *f, float *out, sa2_error *err)
{
    size_t mark = sa2_arena_mark(&t->work);
    sa2_flow_solution solution = {0};
    sa2_tensor mel = sa2_tensor_2d(NULL, SA2_F32, f->frames, t->flow.config.mel);
    sa2_tensor sound = sa2_tensor_1d(NULL, SA2_F32, f->samples);
    mel.data = sa2_arena_take(&t->work, sa2_tensor_bytes(&mel));
    sound.data = sa2_arena_take(&t->work, sa2_tensor_bytes(&sound));
    sa2_status st = sa2_flow_begin(t->stream, &t->flow, &t->cache, &t->room, &solution, mel,
                                   f->flow, f->n, err);
    if (st == SA2_OK)
        st = sa2_flow_solve(t->stream, &solution, err);
    if (st == SA2_OK) {
        const sa2_vocoder_batch batch = {
            .n = f->n, .chunks = f->vocoder, .mel = mel, .noise = !t->options.no_source_noise};
        st = sa2_vocoder_forward(t->stream, &t->vocoder, &t->work, sound, &batch, NULL, err);
    }
    if (st == SA2_OK)
        sa2_download(t->stream, out, sound);
    sa2_flow_abandon(&solution);
    sa2_arena_rewind(&t->work, mark);
    return st;
}

sa2_status sa2_speech_begin_chunks(sa2_token2wav *t, sa2_speech *const *streams, int n,
                                   int *n_chunks, sa2_error *err)
{
    forward f = gather(t, streams, n);
    *n_chunks = f.n;
    if (f.n == 0)
        return SA2_OK;
    sa2_speech_chunks *chunks = &t->under_way;
    chunks->host_mark = sa2_arena_mark(&t->host);
    chunks->samples = sa2_arena_take(&t->host, (size_t)f.samples * sizeof(float));
    sa2_status st =
        chunks->samples != NULL
            ? ask(t, &f, chunks->samples, err)
            : sa2_fail(err, SA2_ERR_NOMEM, "speech: %lld samples do not fit", (long long)f.samples);
    if (st == SA2_OK) {
        chunks->n = f.n;
        return SA2_OK;
    }
    sa2_stream_finish(t->stream, NULL);
    sa2_arena_rewind(&t->host, chunks->host_mark);
    return st;
}

bool sa2_speech_chunks_done(const sa2_token2wav *t)
{
    bool idle;
    void *queue;
    sa2_stream_poll(t->stream, &queue, &idle);
    return idle;
}

sa2_status sa2_speech_end_chunks(sa2_token2wav *t, sa2_speech_sink sink, void *context,
                                 sa2_error *err)
{
    sa2_speech_chunks *chunks = &t->under_way;
    sa2_status st = sa2_stream_finish(t->stream, err);
    const float *from = chunks->samples;
    for (int i = 0; st == SA2_OK && i < chunks->n; i++) {
        sa2_speech *speech = chunks->streams[i];
        if (speech != NULL) {
            speech->n_done += chunks->codes[i];
            speech->n_chunks++;
        }
        if (speech != NULL && chunks->n_samples[i] > 0)
            sink(context, chunks->who[i], from, chunks->n_samples[i]);
        from += chunks->n_samples[i];
    }
    chunks->n = 0;
    sa2_arena_rewind(&t->host, chunks->host_mark);
    return st;
}

sa2_status sa2_speech_step(sa2_token2wav *t, sa2_speech *const *streams, int n,
                           sa2_speech_sink sink, void *context, int *n_chunks, sa2_error *err)
{
    sa2_status st = sa2_speech_begin_chunks(t, streams, n, n_chunks, err);
    return st == SA2_OK && *n_chunks > 0 ? sa2_speech_end_chunks(t, sink, context, err) : st;
}
