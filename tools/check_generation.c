/* check_generation.c - golden cases that generate: greedy decoding, beam search, sound to tokens. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/audio/audio_file.h"
#include "runtime/decoder/beam.h"
#include "runtime/decoder/logprobs.h"
#include "tools/check_model.h"
#include "tools/check_parts.h"
#include "tools/check_sound.h"

/* ---- greedy decoding of several prompts side by side ---- */

/* One prompt and what the case says of its answer. Names end in ".i" where the case has several. */
typedef struct prompt {
    char suffix[16];
    sa2_tensor ids, audio_positions;
    const float *audio_rows;
    sa2_tensor tokens, margin, top_ids; /* expected */
    int32_t *found_tokens;              /* [steps] */
    float *found_margin, *found_logprob;
    float *found_top; /* [steps, top]: logits of the expected top ids */
} prompt;

static sa2_tensor output_of(const sa2_check_run *run, const prompt *p, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%s%s", name, p->suffix);
    return sa2_golden_output(run->golden, full);
}

static sa2_status open_prompt(prompt *p, const sa2_check_run *run, int number, int64_t hidden,
                              sa2_error *err)
{
    *p = (prompt){0};
    if (number >= 0)
        snprintf(p->suffix, sizeof p->suffix, ".%d", number);
    char name[64];
    snprintf(name, sizeof name, "ids%s", p->suffix);
    sa2_status st =
        sa2_golden_expect(run->golden, name, SA2_I32, 1, (const int64_t[]){-1}, &p->ids, err);
    snprintf(name, sizeof name, "audio_positions%s", p->suffix);
    p->audio_positions = sa2_golden_input(run->golden, name);
    snprintf(name, sizeof name, "audio_rows%s", p->suffix);
    sa2_tensor rows = sa2_golden_input(run->golden, name);
    if (st == SA2_OK && rows.data != NULL)
        st = sa2_golden_expect(
            run->golden, name, SA2_F32, 2,
            (const int64_t[]){p->audio_positions.data != NULL ? p->audio_positions.shape[0] : 0,
                              hidden},
            &rows, err);
    p->audio_rows = rows.data;
    p->tokens = output_of(run, p, "tokens");
    p->margin = output_of(run, p, "margin");
    p->top_ids = output_of(run, p, "top_ids");
    if (st == SA2_OK &&
        (p->tokens.data == NULL || p->margin.data == NULL || p->top_ids.data == NULL ||
         p->top_ids.ndim != 2 || p->top_ids.shape[0] != p->tokens.shape[0] ||
         p->margin.shape[0] != p->tokens.shape[0] || p->ids.shape[0] < 1))
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: tokens, margin and top_ids of one length expected",
                      sa2_golden_origin(run->golden));
    if (st != SA2_OK)
        return st;
    size_t steps = (size_t)p->tokens.shape[0], top = (size_t)p->top_ids.shape[1];
    p->found_tokens = calloc(steps, sizeof(int32_t));
    p->found_margin = calloc(steps, sizeof(float));
    p->found_logprob = calloc(steps, sizeof(float));
    p->found_top = calloc(steps * top + 1, sizeof(float));
    if (p->found_tokens == NULL || p->found_margin == NULL || p->found_logprob == NULL ||
        p->found_top == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %zu steps", steps);
    return SA2_OK;
}

static void close_prompt(prompt *p)
{
    free(p->found_tokens);
    free(p->found_margin);
    free(p->found_logprob);
    free(p->found_top);
}

/* Judges one step's logits. In bf16 a choice with a small margin may go either way and counts as the expected one; the
 * expected token is fed back. Returns the next token. */
static int32_t take_step(const sa2_check_run *run, prompt *p, int64_t step, const float *logits,
                         int n_tokens)
{
    int32_t best = 0;
    for (int i = 1; i < n_tokens; i++)
        if (logits[i] > logits[best])
            best = i;
    float second = -INFINITY;
    double sum = 0.0;
    for (int i = 0; i < n_tokens; i++) {
        if (i != best && logits[i] > second)
            second = logits[i];
        sum += exp((double)logits[i] - (double)logits[best]);
    }
    int32_t expected = ((const int32_t *)p->tokens.data)[step];
    float margin = ((const float *)p->margin.data)[step];
    char name[32];
    snprintf(name, sizeof name, "top_logits%s", p->suffix);
    double tolerance = sa2_golden_tolerance(run->golden, name, run->context->dtype).abs;
    bool near = run->context->dtype == SA2_BF16 && margin <= 2.0 * tolerance;
    bool known = expected >= 0 && expected < n_tokens;
    p->found_tokens[step] = near && known ? expected : best;
    p->found_margin[step] = logits[best] - second;
    p->found_logprob[step] =
        known ? (float)((double)logits[expected] - (double)logits[best] - log(sum)) : 0.0f;
    int64_t top = p->top_ids.shape[1];
    for (int64_t k = 0; k < top; k++) {
        int32_t id = ((const int32_t *)p->top_ids.data)[step * top + k];
        p->found_top[step * top + k] = id >= 0 && id < n_tokens ? logits[id] : NAN;
    }
    return known ? expected : best;
}

static void judge_prompt(sa2_check_run *run, const prompt *p)
{
    sa2_dtype dtype = run->context->dtype;
    int64_t steps = p->tokens.shape[0], top = p->top_ids.shape[1];
    char name[64];
    const struct {
        const char *name;
        sa2_tensor found;
    } outputs[] = {
        {"tokens", sa2_tensor_1d(p->found_tokens, SA2_I32, steps)},
        {"margin", sa2_tensor_1d(p->found_margin, SA2_F32, steps)},
        {"logprobs", sa2_tensor_1d(p->found_logprob, SA2_F32, steps)},
        {"top_logits", sa2_tensor_2d(p->found_top, SA2_F32, steps, top)},
    };
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++) {
        if (output_of(run, p, outputs[i].name).data == NULL)
            continue;
        snprintf(name, sizeof name, "%s%s", outputs[i].name, p->suffix);
        sa2_check_judge(run, name, dtype, outputs[i].found);
    }
}

/* All prompts in one batch: a prefill of whole prompts, then a row of each until all have ended. */
static sa2_status generate(sa2_check_run *run, const sa2_model *model, prompt *prompts, int n,
                           sa2_error *err)
{
    int64_t vocab = model->config.decoder.vocab, rows = 0, longest = 0, steps = 0;
    for (int i = 0; i < n; i++) {
        int64_t length = prompts[i].ids.shape[0] + prompts[i].tokens.shape[0];
        rows += prompts[i].ids.shape[0];
        longest = length > longest ? length : longest;
        steps = prompts[i].tokens.shape[0] > steps ? prompts[i].tokens.shape[0] : steps;
    }
    sa2_check_decoder decoder = {0};
    float *logits = malloc((size_t)n * (size_t)vocab * sizeof(float));
    sa2_check_piece *pieces = calloc((size_t)n, sizeof *pieces);
    int32_t *wanted = calloc((size_t)n, sizeof *wanted), *next = calloc((size_t)n, sizeof *next);
    int *who = calloc((size_t)n, sizeof *who);
    sa2_status st = SA2_OK;
    if (logits == NULL || pieces == NULL || wanted == NULL || next == NULL || who == NULL)
        st = sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %d prompts", n);
    if (st == SA2_OK)
        st = sa2_check_decoder_open(&decoder, run, model, n, longest, rows, err);
    for (int64_t step = 0; st == SA2_OK && step < steps; step++) {
        int m = 0, row = 0;
        for (int i = 0; i < n; i++) {
            const prompt *p = &prompts[i];
            int length = (int)p->ids.shape[0];
            pieces[i] = (sa2_check_piece){0};
            if (step >= p->tokens.shape[0])
                continue;
            if (step == 0)
                pieces[i] = (sa2_check_piece){
                    .ids = p->ids.data,
                    .n = length,
                    .audio_rows = p->audio_rows,
                    .audio_positions = p->audio_positions.data,
                    .n_audio = p->audio_rows != NULL ? (int)p->audio_positions.shape[0] : 0};
            else
                pieces[i] = (sa2_check_piece){
                    .ids = &next[i], .n = 1, .first_position = length + (int)step - 1};
            row += pieces[i].n;
            wanted[m] = row - 1;
            who[m++] = i;
        }
        st = sa2_check_decoder_step(&decoder, pieces, wanted, m, logits, NULL, err);
        for (int k = 0; st == SA2_OK && k < m; k++)
            next[who[k]] = take_step(run, &prompts[who[k]], step, logits + (int64_t)k * vocab,
                                     model->n_token_rows);
    }
    for (int i = 0; st == SA2_OK && i < n; i++)
        judge_prompt(run, &prompts[i]);
    sa2_check_decoder_close(&decoder);
    free(who);
    free(next);
    free(wanted);
    free(pieces);
    free(logits);
    return st;
}

static sa2_status check_decode(sa2_check_run *run, sa2_error *err)
{
    enum { MOST_PROMPTS = 256 };
    sa2_model model = {0};
    int64_t n = 0;
    prompt *prompts = NULL;
    sa2_status st = sa2_check_model_open(&model, run, SA2_MODEL_DECODER, err);
    if (st == SA2_OK)
        st = sa2_golden_number(run->golden, "prompts", 1, MOST_PROMPTS, &n, err);
    if (st == SA2_OK) {
        prompts = calloc((size_t)n, sizeof *prompts);
        if (prompts == NULL)
            st = sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %lld prompts", (long long)n);
    }
    for (int i = 0; st == SA2_OK && i < n; i++)
        st = open_prompt(&prompts[i], run, i, model.config.decoder.hidden, err);
    if (st == SA2_OK)
        st = generate(run, &model, prompts, (int)n, err);
    for (int i = 0; prompts != NULL && i < n; i++)
        close_prompt(&prompts[i]);
    free(prompts);
    sa2_model_close(&model);
    return st;
}

/* ---- sound to tokens ---- */

static sa2_status check_end_to_end(sa2_check_run *run, sa2_error *err)
{
    sa2_model model = {0};
    prompt p = {0};
    sa2_check_sound sound = {0};
    sa2_status st = sa2_check_model_open(&model, run, 0, err);
    if (st == SA2_OK)
        st = open_prompt(&p, run, -1, model.config.decoder.hidden, err);
    if (st == SA2_OK)
        st = sa2_check_sound_encode(&sound, run, &model, err);
    if (st == SA2_OK && p.audio_positions.data != NULL &&
        p.audio_positions.shape[0] != sound.n_rows)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: %lld rows of sound, places for %lld",
                      sa2_golden_origin(run->golden), (long long)sound.n_rows,
                      (long long)p.audio_positions.shape[0]);
    if (st == SA2_OK) {
        p.audio_rows = sound.rows;
        sa2_check_judge(
            run, "audio_rows", run->context->dtype,
            sa2_tensor_2d(sound.rows, SA2_F32, sound.n_rows, model.config.decoder.hidden));
        st = generate(run, &model, &p, 1, err);
    }
    sa2_check_sound_free(&sound);
    close_prompt(&p);
    sa2_model_close(&model);
    return st;
}

/* ---- beam search ---- */

static sa2_status read_beam_params(sa2_beam_params *params, int32_t *eos, const sa2_check_run *run,
                                   int n_tokens, sa2_error *err)
{
    int64_t beams, end, longest;
    sa2_status st = sa2_golden_number(run->golden, "beams", 1, SA2_BEAM_MAX, &beams, err);
    if (st == SA2_OK)
        st = sa2_golden_number(run->golden, "eos", 0, n_tokens - 1, &end, err);
    if (st == SA2_OK)
        st = sa2_golden_number(run->golden, "max_new_tokens", 1, 4096, &longest, err);
    if (st != SA2_OK)
        return st;
    const char *penalty = sa2_golden_text(run->golden, "length_penalty");
    *eos = (int32_t)end;
    *params = (sa2_beam_params){.beams = (int)beams,
                                .length_penalty = penalty != NULL ? strtof(penalty, NULL) : 1.0f,
                                .max_tokens = (int)longest,
                                .repetition_penalty = 1.0f,
                                .eos = {eos, 1},
                                .n_tokens = n_tokens};
    return sa2_beam_check(params, err);
}

/* Every step computes whole beams anew, so nothing but the bookkeeping and the decoder is judged. */
static sa2_status search(const sa2_check_run *run, const sa2_model *model,
                         const sa2_beam_params *params, sa2_tensor ids, sa2_arena *arena,
                         sa2_beam **beam, sa2_error *err)
{
    int n = params->beams, length = (int)ids.shape[0], longest = length + params->max_tokens;
    int64_t vocab = model->config.decoder.vocab;
    sa2_check_decoder decoder = {0};
    sa2_sampler_work work;
    sa2_beam_next next[SA2_BEAM_MAX];
    sa2_check_piece pieces[SA2_BEAM_MAX];
    const float *rows[SA2_BEAM_MAX];
    int32_t wanted[SA2_BEAM_MAX];
    float *logits = malloc((size_t)n * (size_t)vocab * sizeof(float));
    int32_t *now = malloc((size_t)n * (size_t)longest * sizeof(int32_t));
    int32_t *then = malloc((size_t)n * (size_t)longest * sizeof(int32_t));
    sa2_status st = SA2_OK;
    if (logits == NULL || now == NULL || then == NULL)
        st = sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %d beams", n);
    if (st == SA2_OK)
        st = sa2_sampler_work_init(&work, params->n_tokens, arena, err);
    if (st == SA2_OK)
        st = sa2_beam_create(beam, params, ids.data, length, arena, err);
    if (st == SA2_OK)
        st = sa2_check_decoder_open(&decoder, run, model, n, longest, (int64_t)n * longest, err);
    if (st == SA2_OK)
        memcpy(now, ids.data, (size_t)length * sizeof(int32_t));
    bool done = false;
    for (int step = 0; st == SA2_OK && !done; step++) {
        int m = sa2_beam_rows(*beam), last = length + step;
        for (int i = 0; i < n; i++) {
            pieces[i] = (sa2_check_piece){.ids = now + (int64_t)i * longest, .n = i < m ? last : 0};
            wanted[i] = (i + 1) * last - 1;
            rows[i] = logits + i * vocab;
        }
        st = sa2_check_decoder_step(&decoder, pieces, wanted, m, logits, NULL, err);
        if (st == SA2_OK)
            st = sa2_beam_step(*beam, rows, &work, next, &done, err);
        for (int i = 0; st == SA2_OK && !done && i < n; i++) {
            memcpy(then + (int64_t)i * longest, now + (int64_t)next[i].parent * longest,
                   (size_t)last * sizeof(int32_t));
            then[(int64_t)i * longest + last] = next[i].token;
        }
        int32_t *swap = now;
        now = then;
        then = swap;
    }
    sa2_check_decoder_close(&decoder);
    free(then);
    free(now);
    free(logits);
    return st;
}

static sa2_status check_beam(sa2_check_run *run, sa2_error *err)
{
    sa2_model model = {0};
    sa2_beam_params params;
    sa2_tensor ids;
    sa2_arena arena = {0};
    sa2_beam *beam = NULL;
    int32_t eos;
    sa2_status st = sa2_check_model_open(&model, run, SA2_MODEL_DECODER, err);
    if (st == SA2_OK)
        st = read_beam_params(&params, &eos, run, model.n_token_rows, err);
    if (st == SA2_OK)
        st = sa2_golden_expect(run->golden, "ids", SA2_I32, 1, (const int64_t[]){-1}, &ids, err);
    if (st == SA2_OK)
        st = sa2_arena_create(
            &arena, sa2_beam_bytes(&params) + sa2_sampler_work_bytes(params.n_tokens) + 4096, err);
    if (st == SA2_OK)
        st = search(run, &model, &params, ids, &arena, &beam, err);
    if (st == SA2_OK) {
        sa2_beam_result results[SA2_BEAM_MAX];
        sa2_beam_results(beam, results);
        sa2_check_judge(run, "score", run->context->dtype,
                        sa2_tensor_1d(&results[0].score, SA2_F32, 1));
        int32_t *tokens = calloc((size_t)results[0].n + 1, sizeof(int32_t));
        if (tokens == NULL)
            st = sa2_fail(err, SA2_ERR_NOMEM, "check: no memory for %d tokens", results[0].n);
        else
            memcpy(tokens, results[0].tokens, (size_t)results[0].n * sizeof(int32_t));
        if (tokens != NULL)
            sa2_check_judge(run, "tokens", run->context->dtype,
                            sa2_tensor_1d(tokens, SA2_I32, results[0].n));
        free(tokens);
    }
    sa2_arena_destroy(&arena);
    sa2_model_close(&model);
    return st;
}

const sa2_check_part sa2_check_generation_parts[] = {
    {"decode", check_decode},
    {"beam", check_beam},
    {"end_to_end", check_end_to_end},
    {0},
};
