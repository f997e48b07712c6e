/* check_flow_mel.c - golden cases of the whole flow: from tokens and a voice to mel, at once and in streams. */
#include <stdio.h>

#include "tools/check_flow.h"
#include "tools/check_parts.h"

static void load_flow(sa2_check_flow_part *part, const sa2_check_flow *b, sa2_weights *w)
{
    const sa2_flow_options options = {.max_tokens = part->max_tokens};
    sa2_flow_load(&part->flow, &b->config, &options, w);
}

/* The voice of the case, and its noise. */
typedef struct voice_inputs {
    sa2_flow_prompt prompt;
    sa2_tensor noise;
} voice_inputs;

static sa2_status expect_voice(const sa2_check_flow *b, voice_inputs *in, sa2_error *err)
{
    sa2_tensor tokens, mel, speaker;
    sa2_status st =
        sa2_check_flow_vector(b, "prompt_tokens", SA2_I32, -1, SA2_CHECK_FLOW_TOKENS, &tokens, err);
    if (st == SA2_OK)
        st = sa2_check_flow_rows(b, "prompt_mel", tokens.shape[0] * b->config.up_stride,
                                 b->config.mel, &mel, err);
    if (st == SA2_OK)
        st = sa2_check_flow_vector(b, "xvec", SA2_F32, b->config.speaker, b->config.speaker,
                                   &speaker, err);
    if (st == SA2_OK)
        st = sa2_check_flow_rows(b, "noise", -1, b->config.mel, &in->noise, err);
    if (st == SA2_OK)
        in->prompt = (sa2_flow_prompt){.tokens = tokens.data,
                                       .n_tokens = (int)tokens.shape[0],
                                       .mel = mel.data,
                                       .speaker = speaker.data};
    return st;
}

/* The flow for sequences of `tokens` tokens, with the case's noise; room for a forward of as many, for
 * `frames` frames of mel and `bytes` of caches. */
static sa2_status open_flow(sa2_check_flow *b, sa2_check_flow_part *part, const voice_inputs *in,
                            int tokens, sa2_error *err)
{
    *part = (sa2_check_flow_part){.load = load_flow, .max_tokens = tokens};
    sa2_status st = sa2_check_flow_load(b, part, err);
    if (st != SA2_OK)
        return st;
    const sa2_flow *flow = &part->flow;
    int prompt = in->prompt.n_tokens;
    st = sa2_check_flow_room(
        b, sa2_flow_solution_room(flow, tokens, 1),
        ((int64_t)tokens * b->config.up_stride + 1) * b->config.mel,
        sa2_flow_voice_bytes(flow, prompt) + sa2_flow_cache_bytes(flow, 1, prompt), err);
    return st == SA2_OK ? sa2_flow_set_noise(b->device.stream, &part->flow, in->noise.data,
                                             in->noise.shape[0], err)
                        : st;
}

static sa2_status run_flow(sa2_check_flow *b, sa2_error *err)
{
    sa2_check_flow_part part;
    voice_inputs in;
    sa2_tensor tokens;
    sa2_status st = expect_voice(b, &in, err);
    if (st == SA2_OK)
        st = sa2_check_flow_vector(b, "tokens", SA2_I32, -1, SA2_CHECK_FLOW_TOKENS, &tokens, err);
    if (st != SA2_OK)
        return st;
    int n = (int)tokens.shape[0];
    st = open_flow(b, &part, &in, in.prompt.n_tokens + n, err);
    if (st != SA2_OK)
        return st;
    sa2_tensor speaker = sa2_check_flow_take(b, 1, b->config.mel);
    st = sa2_flow_speaker(b->device.stream, &part.flow, &b->room, speaker, in.prompt.speaker, err);
    if (st == SA2_OK && sa2_golden_output(b->run->golden, "spk").data != NULL)
        st = sa2_check_flow_judge_vector(b, "spk", speaker, err);
    if (st != SA2_OK)
        return st;
    sa2_tensor mel = sa2_check_flow_take(b, (int64_t)n * b->config.up_stride, b->config.mel);
    sa2_flow_solution solution;
    st = sa2_flow_begin_whole(b->device.stream, &part.flow, &b->room, &solution, mel, &in.prompt,
                              tokens.data, n, err);
    if (st == SA2_OK)
        st = sa2_flow_solve(b->device.stream, &solution, err);
    return st == SA2_OK ? sa2_check_flow_judge(b, "mel", mel, err) : st;
}

static sa2_status run_chunks(sa2_check_flow *b, const sa2_flow *flow, const sa2_flow_cache *cache,
                             sa2_flow_stream *stream, const sa2_check_flow_cut *cut, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (int i = 0, first = 0; st == SA2_OK && i < cut->n_chunks; first += cut->chunks[i++]) {
        char name[32];
        snprintf(name, sizeof name, "mel.%d", i);
        const sa2_flow_chunk chunk = {.stream = stream,
                                      .tokens = cut->tokens + first,
                                      .n = cut->chunks[i],
                                      .last = i + 1 == cut->n_chunks};
        size_t mark = sa2_arena_mark(&b->device.arena);
        sa2_tensor mel =
            sa2_check_flow_take(b, (int64_t)chunk.n * b->config.up_stride, b->config.mel);
        sa2_flow_solution solution;
        st =
            sa2_flow_begin(b->device.stream, flow, cache, &b->room, &solution, mel, &chunk, 1, err);
        if (st == SA2_OK)
            st = sa2_flow_solve(b->device.stream, &solution, err);
        if (st == SA2_OK)
            st = sa2_check_flow_judge(b, name, mel, err);
        sa2_arena_rewind(&b->device.arena, mark);
    }
    return st;
}

static sa2_status run_flow_stream(sa2_check_flow *b, sa2_error *err)
{
    sa2_check_flow_part part;
    voice_inputs in;
    sa2_check_flow_cut cut;
    sa2_flow_voice voice;
    sa2_flow_cache cache;
    sa2_flow_stream stream;
    sa2_status st = expect_voice(b, &in, err);
    if (st == SA2_OK)
        st = sa2_check_flow_chunks(b, &cut, err);
    if (st == SA2_OK)
        st = open_flow(b, &part, &in, in.prompt.n_tokens + cut.n_tokens, err);
    if (st == SA2_OK)
        st = sa2_flow_voice_init(b->device.stream, &part.flow, &voice, &in.prompt, &b->device.arena,
                                 &b->room, err);
    if (st == SA2_OK)
        st = sa2_flow_cache_init(b->device.stream, &part.flow, &cache, 1, in.prompt.n_tokens,
                                 &b->device.arena, err);
    if (st == SA2_OK)
        st = sa2_flow_stream_start(b->device.stream, &part.flow, &cache, &stream, 0, &voice, err);
    return st == SA2_OK ? run_chunks(b, &part.flow, &cache, &stream, &cut, err) : st;
}

static sa2_status check_flow(sa2_check_run *run, sa2_error *err)
{
    return sa2_check_flow_run(run, run_flow, err);
}

static sa2_status check_flow_stream(sa2_check_run *run, sa2_error *err)
{
    return sa2_check_flow_run(run, run_flow_stream, err);
}

const sa2_check_part sa2_check_flow_mel_parts[] = {
    {"flow", check_flow},
    {"flow_stream", check_flow_stream},
    {0},
};
