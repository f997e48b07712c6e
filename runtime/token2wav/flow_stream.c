/* flow_stream.c - voices and streams of flow.h. */
#include "runtime/token2wav/flow_solve.h"

/* ---- voices ---- */

size_t sa2_flow_voice_bytes(const sa2_flow *f, int n_tokens)
{
    const sa2_flow_config *c = &f->config;
    return sa2_flow_encoder_cache_bytes(c, f->encoder.dtype, 1, n_tokens) +
           sa2_flow_dit_cache_bytes(c, f->dit.dtype, 2 * f->n_steps, n_tokens * c->up_stride) +
           sa2_arena_round((size_t)c->mel * sizeof(float));
}

/* Its caches and the projected speaker, in the arena. */
static sa2_status take_voice(sa2_stream *s, const sa2_flow *f, sa2_flow_voice *voice,
                             sa2_arena *arena, sa2_error *err)
{
    voice->speaker = sa2_tensor_2d(sa2_arena_take(arena, (size_t)f->config.mel * sizeof(float)),
                                   SA2_F32, 1, f->config.mel);
    if (voice->speaker.data == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "flow: no memory for a voice");
    sa2_status st = sa2_flow_encoder_cache_init(s, &voice->encoder, &f->encoder, 1, voice->n_tokens,
                                                arena, err);
    return st != SA2_OK ? st
                        : sa2_flow_dit_cache_init(s, &voice->dit, &f->dit, 2 * f->n_steps,
                                                  voice->frames, arena, err);
}

/* A stream of one chunk, all of which is kept. */
static sa2_status compute_voice(sa2_stream *s, const sa2_flow *f, sa2_flow_voice *voice,
                                const sa2_flow_prompt *prompt, const sa2_flow_room *room,
                                sa2_error *err)
{
    const sa2_flow_kept all = {.tail = voice->frames};
    sa2_flow_solution v;
    sa2_flow_sequence q;
    sa2_status st = sa2_flow_take(f, room, &v, &q, voice->n_tokens, 1, err);
    if (st != SA2_OK)
        return st;
    for (int i = 0; i < voice->n_tokens + f->config.lookahead; i++)
        q.tokens[i] = prompt->tokens[i % voice->n_tokens]; /* it looks ahead to its own beginning */
    q.speaker = voice->speaker;
    v.streams = NULL;
    v.cache = &voice->dit;
    v.mel = q.x;
    v.chunks[0] = (sa2_flow_encoder_chunk){.tokens = q.tokens, .n = voice->n_tokens};
    for (int i = 0; i < 2; i++)
        v.sequences[i] =
            (sa2_flow_dit_sequence){.rows = voice->frames, .fresh = true, .kept = &all};
    st = sa2_flow_begin_sequence(s, &v, &q, &voice->encoder, prompt, err);
    if (st == SA2_OK)
        st = sa2_flow_solve(s, &v, err);
    sa2_flow_abandon(&v);
    sa2_status finished = sa2_stream_finish(s, st == SA2_OK ? err : NULL);
    return st != SA2_OK ? st : finished;
}

sa2_status sa2_flow_voice_init(sa2_stream *s, const sa2_flow *f, sa2_flow_voice *voice,
                               const sa2_flow_prompt *prompt, sa2_arena *arena,
                               const sa2_flow_room *room, sa2_error *err)
{
    const sa2_flow_config *c = &f->config;
    int least = c->lookahead > 2 ? c->lookahead : 2;
    if (prompt->n_tokens < least || prompt->n_tokens > f->max_tokens)
        return sa2_fail(err, prompt->n_tokens < least ? SA2_ERR_ARG : SA2_ERR_LIMIT,
                        "flow: a voice prompt of %d tokens, %d to %d expected", prompt->n_tokens,
                        least, f->max_tokens);
    size_t mark = sa2_arena_mark(arena);
    sa2_flow_voice made = {.n_tokens = prompt->n_tokens, .frames = prompt->n_tokens * c->up_stride};
    sa2_status st = take_voice(s, f, &made, arena, err);
    if (st == SA2_OK)
        st = compute_voice(s, f, &made, prompt, room, err);
    if (st == SA2_OK)
        *voice = made;
    else
        sa2_arena_rewind(arena, mark);
    return st;
}

/* ---- streams ---- */

/* Kept frames of a stream whose voice has `frames`. */
static int rows_kept(int frames)
{
    return sa2_flow_kept_rows(&(sa2_flow_kept){.prompt = frames, .tail = SA2_FLOW_TAIL});
}

size_t sa2_flow_cache_bytes(const sa2_flow *f, int slots, int prompt_tokens)
{
    const sa2_flow_config *c = &f->config;
    return sa2_flow_encoder_cache_bytes(c, f->encoder.dtype, slots, f->max_tokens) +
           sa2_flow_dit_cache_bytes(c, f->dit.dtype, 2 * f->n_steps * slots,
                                    rows_kept(prompt_tokens * c->up_stride));
}

sa2_status sa2_flow_cache_init(sa2_stream *s, const sa2_flow *f, sa2_flow_cache *cache, int slots,
                               int prompt_tokens, sa2_arena *arena, sa2_error *err)
{
    size_t mark = sa2_arena_mark(arena);
    sa2_flow_cache made = {.slots = slots, .prompt_frames = prompt_tokens * f->config.up_stride};
    sa2_status st = sa2_flow_encoder_cache_init(s, &made.encoder, &f->encoder, slots, f->max_tokens,
                                                arena, err);
    if (st == SA2_OK)
        st = sa2_flow_dit_cache_init(s, &made.dit, &f->dit, 2 * f->n_steps * slots,
                                     rows_kept(made.prompt_frames), arena, err);
    if (st == SA2_OK)
        *cache = made;
    else
        sa2_arena_rewind(arena, mark);
    return st;
}

sa2_status sa2_flow_stream_start(sa2_stream *s, const sa2_flow *f, const sa2_flow_cache *cache,
                                 sa2_flow_stream *stream, int slot, const sa2_flow_voice *voice,
                                 sa2_error *err)
{
    if (slot < 0 || slot >= cache->slots)
        return sa2_fail(err, SA2_ERR_ARG, "flow: slot %d of %d", slot, cache->slots);
    if (voice->frames > cache->prompt_frames)
        return sa2_fail(err, SA2_ERR_LIMIT,
                        "flow: a voice prompt of %d frames, room for %d is planned", voice->frames,
                        cache->prompt_frames);
    sa2_flow_encoder_cache_copy(s, &f->encoder, &cache->encoder, slot, &voice->encoder, 0,
                                voice->n_tokens);
    sa2_flow_dit_cache_copy_conv(s, &f->dit, &cache->dit, sa2_flow_place(f, slot, 0, 0),
                                 &voice->dit, 0, 2 * f->n_steps);
    *stream = (sa2_flow_stream){.voice = voice,
                                .slot = slot,
                                .n_tokens = voice->n_tokens,
                                .kept = {.prompt = voice->frames, .tail = SA2_FLOW_TAIL}};
    return SA2_OK;
}

/* What can be wrong with chunks but for what the encoder finds. */
static sa2_status judge_chunks(const sa2_flow *f, const sa2_flow_chunk *chunks, int n_chunks,
                               sa2_error *err)
{
    if (n_chunks < 1)
        return sa2_fail(err, SA2_ERR_ARG, "flow: no chunks");
    for (int i = 0; i < n_chunks; i++) {
        const sa2_flow_chunk *chunk = &chunks[i];
        if (chunk->stream->voice == NULL)
            return sa2_fail(err, SA2_ERR_ARG, "flow: chunk %d of a stream that is over", i);
        if (chunk->n < 1)
            return sa2_fail(err, SA2_ERR_ARG, "flow: chunk %d has %d tokens", i, chunk->n);
        if (chunk->n > f->max_tokens - chunk->stream->n_tokens)
            return sa2_fail(
                err, SA2_ERR_LIMIT,
                "flow: chunk %d: %d tokens after %d, room for %d in a stream is planned", i,
                chunk->n, chunk->stream->n_tokens, f->max_tokens);
        for (int j = 0; j < i; j++)
            if (chunks[j].stream->slot == chunk->stream->slot)
                return sa2_fail(err, SA2_ERR_ARG, "flow: chunks %d and %d are both of slot %d", j,
                                i, chunk->stream->slot);
    }
    return SA2_OK;
}

static void describe_chunks(sa2_flow_solution *v, const sa2_flow_chunk *chunks)
{
    for (int i = 0; i < v->n; i++) {
        sa2_flow_stream *stream = chunks[i].stream;
        v->streams[i] = stream;
        v->chunks[i] = (sa2_flow_encoder_chunk){.tokens = chunks[i].tokens,
                                                .n = chunks[i].n,
                                                .last = chunks[i].last,
                                                .slot = stream->slot,
                                                .first = stream->n_tokens};
        v->sequences[i] = (sa2_flow_dit_sequence){.rows = chunks[i].n * v->flow->config.up_stride,
                                                  .last = chunks[i].last,
                                                  .kept = &stream->kept,
                                                  .prompt = &stream->voice->dit};
        v->sequences[v->n + i] = v->sequences[i];
    }
}

/* Speaker and noise of every chunk. */
static void put_streams(sa2_stream *s, const sa2_flow_solution *v)
{
    int64_t row = 0;
    for (int i = 0; i < v->n; i++) {
        int64_t frames = v->sequences[i].rows;
        sa2_flow_put_speaker(s, v, row, frames, v->streams[i]->voice->speaker);
        sa2_copy(
            s, sa2_tensor_rows(v->x, row, frames),
            sa2_tensor_rows(v->flow->noise, sa2_flow_kept_count(&v->streams[i]->kept), frames));
        row += frames;
    }
}

sa2_status sa2_flow_begin(sa2_stream *s, const sa2_flow *f, const sa2_flow_cache *cache,
                          const sa2_flow_room *room, sa2_flow_solution *v, sa2_tensor mel,
                          const sa2_flow_chunk *chunks, int n_chunks, sa2_error *err)
{
    *v = (sa2_flow_solution){0};
    sa2_status st = judge_chunks(f, chunks, n_chunks, err);
    if (st != SA2_OK)
        return st;
    int64_t tokens = 0;
    for (int i = 0; i < n_chunks; i++)
        tokens += chunks[i].n;
    st = sa2_flow_take(f, room, v, NULL, tokens, n_chunks, err);
    if (st != SA2_OK)
        return st;
    v->cache = &cache->dit;
    v->x = v->mel = mel;
    describe_chunks(v, chunks);
    st = sa2_flow_encoder_forward(s, &f->encoder, &cache->encoder, room, v->mu, v->chunks, n_chunks,
                                  NULL, err);
    if (st != SA2_OK) { /* the streams are as before */
        v->streams = NULL;
        sa2_flow_abandon(v);
        return st;
    }
    sa2_flow_put_mu(s, v);
    put_streams(s, v);
    return SA2_OK;
}
