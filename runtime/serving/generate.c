#include "runtime/serving/generate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/serving/chooser.h"
#include "runtime/serving/clock.h"
#include "runtime/serving/second_prompt.h"

struct sa2_generator {
    sa2_generator_options options;
    sa2_chooser *chooser;
    sa2_job **thought; /* [max_sequences]: to start their second pass */
    int n_thought;
    sa2_bytes text; /* of one token */
    sa2_second_prompt second;
};

static sa2_chooser_options chooser_of(const sa2_generator_options *o)
{
    return (sa2_chooser_options){
        .model = o->model, .max_sequences = o->max_sequences, .on_device = o->sampling_on_device};
}

size_t sa2_generator_bytes(const sa2_generator_options *o)
{
    sa2_chooser_options chooser = chooser_of(o);
    return sa2_arena_round(sizeof(sa2_generator)) +
           sa2_arena_round((size_t)o->max_sequences * sizeof(sa2_job *)) +
           sa2_chooser_host_bytes(&chooser);
}

size_t sa2_generator_device_bytes(const sa2_generator_options *o)
{
    sa2_chooser_options chooser = chooser_of(o);
    return sa2_chooser_device_bytes(&chooser);
}

static sa2_status make_room(sa2_bytes *text, size_t n, sa2_error *err)
{
    for (size_t i = 0; i < n; i++)
        sa2_bytes_append(text, "", 1);
    sa2_bytes_clear(text);
    return sa2_bytes_status(text, err);
}

sa2_status sa2_generator_create(sa2_generator **generator, const sa2_generator_options *o,
                                sa2_arena *device, sa2_arena *host, sa2_error *err)
{
    sa2_generator *g = sa2_arena_take(host, sizeof *g);
    sa2_job **thought = sa2_arena_take(host, (size_t)o->max_sequences * sizeof *thought);
    if (g == NULL || thought == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "generator: %zu bytes needed", sa2_generator_bytes(o));
    *g = (sa2_generator){.options = *o, .thought = thought};
    sa2_chooser_options chooser = chooser_of(o);
    sa2_status st = sa2_chooser_create(&g->chooser, &chooser, device, host, err);
    if (st == SA2_OK)
        st = make_room(&g->text, 3 * o->longest_token + 16, err); /* U+FFFD for every byte */
    if (st == SA2_OK)
        *generator = g;
    else
        sa2_bytes_free(&g->text);
    return st;
}

void sa2_generator_destroy(sa2_generator *g)
{
    if (g == NULL)
        return;
    sa2_bytes_free(&g->text);
    sa2_second_prompt_free(&g->second);
}

void sa2_job_fail(sa2_job *job, sa2_status status, const sa2_error *err)
{
    if (job->status != SA2_OK)
        return;
    job->status = status;
    snprintf(job->message, sizeof job->message, "%.*s", (int)sizeof job->message - 1, err->message);
}

/* ---- choosing ---- */

const sa2_step_sampling *sa2_generator_plan(sa2_generator *g, const sa2_step_plan *plan)
{
    return sa2_chooser_plan(g->chooser, plan);
}

bool sa2_generator_may_run_ahead(const sa2_generator *g, const sa2_step_plan *plan)
{
    return sa2_chooser_may_run_ahead(g->chooser, plan);
}

const sa2_step_sampling *sa2_generator_plan_ahead(sa2_generator *g, const sa2_step_plan *plan,
                                                  const sa2_step_plan *before)
{
    return sa2_chooser_plan_ahead(g->chooser, plan, before);
}

void sa2_generator_choose(sa2_generator *g, const sa2_step_plan *plan)
{
    sa2_chooser_choose(g->chooser, g->options.step, plan);
    int n;
    const sa2_choice *choices = sa2_chooser_choices(g->chooser, &n);
    for (int i = 0; i < n; i++)
        if (choices[i].status != SA2_OK)
            sa2_job_fail(choices[i].job, choices[i].status, &choices[i].err);
}

int sa2_generator_chosen(const sa2_generator *g)
{
    int n;
    sa2_chooser_choices(g->chooser, &n);
    return n;
}

/* ---- telling ---- */

static void append(sa2_sequence *sequence, int32_t id)
{
    sequence->ids[sequence->n_ids++] = id;
}

/* An answer is complete. */
static void close_answer(sa2_job *job, int i, const int32_t *ids, int n_ids)
{
    sa2_output *output = &job->outputs[i];
    output->ids = ids;
    output->n_ids = n_ids;
    job->usage.completion_tokens += output->n_generated;
    job->usage.speech_tokens += output->n_speech;
    if (output->speech != NULL)
        sa2_speech_end(output->speech);
    if (output->speech == NULL || sa2_speech_complete(output->speech))
        sa2_job_tell_finished(job, i);
}

static bool all_closed(const sa2_job *job)
{
    for (int i = 0; i < job->n_outputs; i++)
        if (!job->outputs[i].finished)
            return false;
    return true;
}

/* The best beams as answers. */
static sa2_status tell_beams(sa2_generator *g, sa2_job *job, sa2_error *err)
{
    sa2_beam_result results[SA2_BEAM_MAX];
    int n = sa2_beam_results(job->beams.search, results);
    for (int i = 0; i < job->n_outputs; i++) {
        sa2_output *output = &job->outputs[i];
        sa2_beam_result result = i < n ? results[i] : (sa2_beam_result){0};
        output->score = (double)result.score;
        sa2_status st = SA2_OK;
        for (int k = 0; k < result.n && !output->finished && st == SA2_OK; k++) {
            sa2_logprob token = {result.tokens[k], NAN};
            st = sa2_output_push(output, token, NULL, &g->text, err);
        }
        if (st == SA2_OK && !output->finished)
            st = sa2_output_end(output, SA2_FINISH_LENGTH, &g->text, err);
        if (st != SA2_OK)
            return st;
        close_answer(job, i, result.tokens, output->n_generated);
    }
    return SA2_OK;
}

static void move_beams(sa2_generator *g, sa2_job *job)
{
    sa2_job_beams *b = &job->beams;
    int n = job->group.n_sequences, n_prompt = job->group.n_prompt;
    for (int i = 0; i < n; i++) {
        const sa2_sequence *parent = &job->group.sequences[b->next[i].parent];
        memcpy(b->spare[i] + n_prompt, parent->ids + n_prompt,
               (size_t)(parent->n_ids - n_prompt) * sizeof *parent->ids);
        b->parents[i] = b->next[i].parent;
    }
    sa2_scheduler_reorder(g->options.scheduler, &job->group, b->parents);
    for (int i = 0; i < n; i++) {
        sa2_sequence *sequence = &job->group.sequences[i];
        int32_t *ids = sequence->ids;
        sequence->ids = b->spare[i];
        b->spare[i] = ids;
        append(sequence, b->next[i].token);
    }
}

static sa2_status tell_token(sa2_generator *g, const sa2_choice *c, sa2_error *err)
{
    sa2_job *job = c->job;
    sa2_sequence *sequence = &job->group.sequences[c->sequence];
    sa2_output *output = &job->outputs[c->sequence];
    append(sequence, c->token.id);
    sa2_status st = sa2_output_push(output, c->token, c->top, &g->text, err);
    if (st != SA2_OK || !output->finished)
        return st;
    if (job->thinking.now) {
        g->thought[g->n_thought++] = job;
        output->finished = false;
        return SA2_OK;
    }
    int n_prompt = job->group.n_prompt;
    close_answer(job, c->sequence, sequence->ids + n_prompt, sequence->n_ids - n_prompt);
    sa2_scheduler_finish(g->options.scheduler, &job->group, sequence);
    return SA2_OK;
}

static sa2_status tell(sa2_generator *g, const sa2_choice *c, sa2_error *err)
{
    sa2_job *job = c->job;
    if (job->timings.first_token_ms < 0.0)
        job->timings.first_token_ms = sa2_now_ms();
    if (job->beams.search == NULL)
        return tell_token(g, c, err);
    if (c->beams_done)
        return tell_beams(g, job, err);
    move_beams(g, job);
    return SA2_OK;
}

static void add_once(sa2_job **jobs, int *n, sa2_job *job)
{
    for (int i = 0; i < *n; i++)
        if (jobs[i] == job)
            return;
    jobs[(*n)++] = job;
}

int sa2_generator_tell(sa2_generator *g, sa2_job **ended)
{
    int n_ended = 0;
    g->n_thought = 0;
    int n_choices;
    const sa2_choice *choices = sa2_chooser_choices(g->chooser, &n_choices);
    for (int i = 0; i < n_choices; i++) {
        const sa2_choice *c = &choices[i];
        sa2_job *job = c->job;
        sa2_error err = {0};
        if (job->status == SA2_OK) {
            sa2_status st = tell(g, c, &err);
            if (st != SA2_OK)
                sa2_job_fail(job, st, &err);
        }
        if (job->status != SA2_OK || all_closed(job))
            add_once(ended, &n_ended, job);
    }
    return n_ended;
}

void sa2_generator_finish(sa2_generator *g, sa2_job *job, sa2_finish finish)
{
    for (int i = 0; i < job->n_outputs; i++) {
        sa2_output *output = &job->outputs[i];
        if (output->ids != NULL)
            continue; /* is complete */
        sa2_error err = {0};
        sa2_status st = sa2_output_end(output, finish, &g->text, &err);
        if (st != SA2_OK)
            sa2_job_fail(job, st, &err);
        output->finish = finish;
        if (job->thinking.now)
            job->usage.reasoning_tokens = output->n_generated;
        const sa2_sequence *sequence = &job->group.sequences[i];
        int n_prompt = job->group.n_prompt;
        bool beams = job->beams.search != NULL; /* none has been chosen */
        close_answer(job, i, sequence->ids + n_prompt, beams ? 0 : sequence->n_ids - n_prompt);
    }
}

/* ---- thinking ---- */

/* The reasoning goes into a second prompt; the pages of what both have in common are found again. */
static sa2_status open_answer(sa2_generator *g, sa2_job *job, sa2_error *err)
{
    sa2_sequence *sequence = &job->group.sequences[0];
    sa2_output *output = &job->outputs[0];
    sa2_output_record *reasoning = &output->record;
    bool closed = output->stop_string != NULL;
    if (!closed && reasoning->n < reasoning->room)
        reasoning->text[reasoning->n++] = '\n'; /* the tag stands on a line of its own */
    sa2_status st = sa2_second_prompt_make(&g->second, &g->options.prompt, job, err);
    if (st != SA2_OK)
        return st;
    job->usage.completion_tokens += output->n_generated;
    job->usage.reasoning_tokens = output->n_generated;
    memcpy(sequence->ids, g->second.ids.data, g->second.ids.n * sizeof *g->second.ids.data);
    sequence->n_ids = job->group.n_prompt = (int)g->second.ids.n;
    job->rules.spoken = job->thinking.speak;
    if (job->rules.max_tokens > job->max_positions - sequence->n_ids)
        job->rules.max_tokens = job->max_positions - sequence->n_ids;
    job->thinking.now = false;
    sequence->max_ids = sequence->n_ids + job->rules.max_tokens;
    sa2_output_begin(output, &job->rules);
    sa2_scheduler_restart(g->options.scheduler, &job->group);
    return SA2_OK;
}

int sa2_generator_turn(sa2_generator *g, sa2_job **failed)
{
    int n_failed = 0;
    for (int i = 0; i < g->n_thought; i++) {
        sa2_error err = {0};
        sa2_status st = open_answer(g, g->thought[i], &err);
        if (st != SA2_OK) {
            sa2_job_fail(g->thought[i], st, &err);
            failed[n_failed++] = g->thought[i];
        }
    }
    return n_failed;
}
