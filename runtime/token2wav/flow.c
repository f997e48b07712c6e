#include "runtime/token2wav/flow.h"

#include "runtime/token2wav/flow_solve.h"

void sa2_flow_load(sa2_flow *flow, const sa2_flow_config *c, const sa2_flow_options *options,
                   sa2_weights *w)
{
    sa2_flow f = {.config = *c, .max_tokens = options->max_tokens};
    f.n_steps = options->n_steps > 0 ? options->n_steps : SA2_FLOW_STEPS;
    if (f.n_steps > SA2_FLOW_MAX_STEPS) {
        w->status = sa2_fail_also(w->err, SA2_ERR_LIMIT, "flow: %d steps, up to %d are possible",
                                  f.n_steps, SA2_FLOW_MAX_STEPS);
        return;
    }
    sa2_flow_time_grid(f.tau, f.n_steps);
    sa2_flow_encoder_load(&f.encoder, c, f.max_tokens, w);
    sa2_flow_dit_load(&f.dit, c, f.tau, f.n_steps, w);
    sa2_dtype dtype = w->dtype;
    w->dtype = SA2_F32;
    f.speaker = sa2_weights_matrix(w, c->mel, c->speaker, "spk_embed_affine_layer.weight");
    f.speaker_bias = sa2_weights_vector(w, c->mel, "spk_embed_affine_layer.bias");
    w->dtype = dtype;
    int64_t frames = (int64_t)f.max_tokens * c->up_stride + SA2_FLOW_TAIL;
    f.noise = sa2_weights_room(w, SA2_F32, frames, c->mel);
    if (sa2_weights_computes(w))
        sa2_normal(w->stream, f.noise, options->noise_seed, SA2_FLOW_NOISE_TRACK, 0);
    sa2_weights_release(w);
    *flow = f;
}

sa2_status sa2_flow_set_noise(sa2_stream *s, sa2_flow *flow, const float *noise, int64_t n,
                              sa2_error *err)
{
    if (n < 0 || n > flow->noise.shape[0])
        return sa2_fail(err, SA2_ERR_LIMIT, "flow: noise of %lld frames, room for %lld is planned",
                        (long long)n, (long long)flow->noise.shape[0]);
    sa2_upload(s, sa2_tensor_rows(flow->noise, 0, n), noise);
    return sa2_stream_finish(s, err);
}

sa2_status sa2_flow_speaker(sa2_stream *s, const sa2_flow *f, const sa2_flow_room *room,
                            sa2_tensor y, const float *speaker, sa2_error *err)
{
    sa2_flow_solution v;
    sa2_flow_sequence q;
    sa2_status st = sa2_flow_take(f, room, &v, &q, 0, 1, err);
    if (st != SA2_OK)
        return st;
    sa2_flow_project_speaker(s, f, &q, y, speaker);
    sa2_flow_room_close(&v.taking);
    return SA2_OK;
}

sa2_status sa2_flow_begin_whole(sa2_stream *s, const sa2_flow *f, const sa2_flow_room *room,
                                sa2_flow_solution *v, sa2_tensor mel, const sa2_flow_prompt *prompt,
                                const int32_t *tokens, int n, sa2_error *err)
{
    *v = (sa2_flow_solution){0};
    if (n < 1 || n > f->max_tokens || prompt->n_tokens < 0 || prompt->n_tokens > f->max_tokens - n)
        return sa2_fail(err, SA2_ERR_LIMIT,
                        "flow: %d tokens after a prompt of %d, 1 to %d together expected", n,
                        prompt->n_tokens, f->max_tokens);
    int length = prompt->n_tokens + n;
    sa2_flow_sequence q;
    sa2_status st = sa2_flow_take(f, room, v, &q, length, 1, err);
    if (st != SA2_OK)
        return st;
    for (int i = 0; i < length; i++) {
        int32_t token = i < prompt->n_tokens ? prompt->tokens[i] : tokens[i - prompt->n_tokens];
        q.tokens[i] = token > 0 ? token : 0;
    }
    v->streams = NULL;
    v->mel = mel;
    v->chunks[0] = (sa2_flow_encoder_chunk){.tokens = q.tokens, .n = length, .last = true};
    for (int i = 0; i < 2; i++)
        v->sequences[i] = (sa2_flow_dit_sequence){.rows = (int)v->rows};
    st = sa2_flow_begin_sequence(s, v, &q, NULL, prompt, err);
    if (st != SA2_OK)
        sa2_flow_abandon(v);
    return st;
}
