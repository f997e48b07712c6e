#include "runtime/serving/generate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/serving/clock.h"
#include "runtime/serving/second_prompt.h"

/* What one sequence, or one set of beams, says next. */
typedef struct choice {
    sa2_job *job;
    int sequence;
    const float *logits; /* NULL: of beams, which have chosen */
    sa2_status status;
    sa2_error err;
    sa2_logprob token;
    sa2_logprob top[SA2_SAMPLING_MAX_LOGPROBS];
    bool beams_done;
} choice;

/* The sampler of whoever runs in a slot; made anew from the ids when that is somebody else. */
typedef struct slot {
    sa2_sampler sampler;
    void *memory;
    sa2_request_id job;
    int sequence, n_prompt;
} slot;

struct sa2_generator {
    sa2_generator_options options;
    sa2_sampler_work *works; /* [n_threads] */
    slot *slots;             /* [max_sequences] */
    choice *choices;         /* [max_sequences] */
    int n_choices;
    sa2_job **thought; /* [max_sequences]: to start their second pass */
    int n_thought;
    sa2_bytes text; /* of one token */
    sa2_second_prompt second;
};

/* Threads that choose at one time. */
static size_t threads_of(const sa2_generator_options *o)
{
    int threads = sa2_backend_threads(o->model->backend);
    return (size_t)(threads < o->max_sequences ? threads : o->max_sequences);
}

size_t sa2_generator_bytes(const sa2_generator_options *o)
{
    size_t n = (size_t)o->max_sequences;
    return sa2_arena_round(sizeof(sa2_generator)) + sa2_arena_round(n * sizeof(slot)) +
           sa2_arena_round(n * sizeof(choice)) + sa2_arena_round(n * sizeof(sa2_job *)) +
           n * sa2_arena_round(sa2_sampler_bytes(o->model->n_token_rows)) +
           threads_of(o) * (sa2_arena_round(sizeof(sa2_sampler_work)) +
                            sa2_arena_round(sa2_sampler_work_bytes(o->model->n_token_rows)));
}

static sa2_status make_room(sa2_bytes *text, size_t n, sa2_error *err)
{
    for (size_t i = 0; i < n; i++)
        sa2_bytes_append(text, "", 1);
    sa2_bytes_clear(text);
    return sa2_bytes_status(text, err);
}

sa2_status sa2_generator_create(sa2_generator **generator, const sa2_generator_options *o,
                                sa2_arena *host, sa2_error *err)
{
    size_t n = (size_t)o->max_sequences;
    sa2_generator *g = sa2_arena_take(host, sizeof *g);
    slot *slots = sa2_arena_take(host, n * sizeof *slots);
    choice *choices = sa2_arena_take(host, n * sizeof *choices);
    sa2_job **thought = sa2_arena_take(host, n * sizeof *thought);
    sa2_sampler_work *works = sa2_arena_take(host, threads_of(o) * sizeof *works);
    if (works == NULL || g == NULL || slots == NULL || choices == NULL || thought == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "samplers: %zu bytes needed", sa2_generator_bytes(o));
    *g = (sa2_generator){
        .options = *o, .works = works, .slots = slots, .choices = choices, .thought = thought};
    for (size_t i = 0; i < n; i++) {
        slots[i] =
            (slot){.memory = sa2_arena_take(host, sa2_sampler_bytes(o->model->n_token_rows))};
        if (slots[i].memory == NULL)
            return sa2_fail(err, SA2_ERR_NOMEM, "samplers: no room for the %zu-th", i);
    }
    sa2_status st = SA2_OK;
    for (size_t i = 0; st == SA2_OK && i < threads_of(o); i++)
        st = sa2_sampler_work_init(&works[i], o->model->n_token_rows, host, err);
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

static sa2_sampler *sampler_of(sa2_generator *g, sa2_job *job, int index)
{
    const sa2_sequence *sequence = &job->group.sequences[index];
    slot *s = &g->slots[sequence->slot];
    int n_prompt = job->group.n_prompt;
    if (s->job == job->id && s->sequence == index && s->n_prompt == n_prompt &&
        s->sampler.n_generated == sequence->n_ids - n_prompt)
        return &s->sampler;
    s->job = job->id;
    s->sequence = index;
    s->n_prompt = n_prompt;
    sa2_sampler_init(&s->sampler, s->memory, &job->sampling, job->seed, (uint32_t)index,
                     g->options.model->n_token_rows, sequence->ids, n_prompt);
    for (int i = n_prompt; i < sequence->n_ids; i++)
        sa2_sampler_accept(&s->sampler, sequence->ids[i]);
    return &s->sampler;
}

static sa2_status choose_token(sa2_generator *g, choice *c, sa2_sampler_work *work, sa2_error *err)
{
    sa2_job *job = c->job;
    sa2_sampler *sampler = sampler_of(g, job, c->sequence);
    if (job->script.n > 0) {
        const sa2_sequence *sequence = &job->group.sequences[c->sequence];
        int n_prompt = job->group.n_prompt;
        job->sampling.allowed =
            sa2_script_next(&job->script, sequence->ids + n_prompt, sequence->n_ids - n_prompt);
    }
    sa2_status st = sa2_sampler_next(sampler, c->logits, work, &c->token.id, err);
    if (st != SA2_OK)
        return st;
    sa2_sampler_accept(sampler, c->token.id);
    c->token.logprob = NAN;
    if (job->sampling.n_logprobs < 0)
        return SA2_OK;
    return sa2_logprobs(c->logits, g->options.model->n_token_rows, c->token.id, &c->token, c->top,
                        job->sampling.n_logprobs, work, err);
}

static choice *add_choice(sa2_generator *g, sa2_job *job, int sequence, const float *logits)
{
    choice *c = &g->choices[g->n_choices++];
    *c = (choice){.job = job, .sequence = sequence, .logits = logits};
    return c;
}

/* A token is wanted for a sequence; the first logits of a request are for all its answers. */
static void add_answers(sa2_generator *g, const sa2_step_rows *part, const float *logits)
{
    sa2_job *job = (sa2_job *)part->group;
    bool first = part->sequence->n_ids == job->group.n_prompt;
    for (int i = 0; i < job->group.n_sequences; i++) {
        const sa2_sequence *sequence = &job->group.sequences[i];
        if (sequence->done || (!first && sequence != part->sequence))
            continue;
        add_choice(g, job, i, logits);
    }
}

/* Answers do not see each other: each has its sampler, and a thread its work. */
static void choose_one(void *context, int i, int thread)
{
    sa2_generator *g = context;
    choice *c = &g->choices[i];
    if (c->logits != NULL)
        c->status = choose_token(g, c, &g->works[thread], &c->err);
}

/* Beams: the parts of a group lie one behind the other, and all have logits. Returns how many they are. */
static int choose_beams(sa2_generator *g, const sa2_step_plan *plan, int part, int logits_row)
{
    sa2_job *job = (sa2_job *)plan->parts[part].group;
    int n = sa2_beam_rows(job->beams.search);
    for (int i = 0; i < n; i++)
        job->beams.logits[i] = sa2_step_logits(g->options.step, logits_row + i);
    choice *c = add_choice(g, job, 0, NULL);
    sa2_error err = {0};
    sa2_status st = sa2_beam_step(job->beams.search, job->beams.logits, &g->works[0],
                                  job->beams.next, &c->beams_done, &err);
    if (st != SA2_OK)
        sa2_job_fail(job, st, &err);
    return n;
}

void sa2_generator_choose(sa2_generator *g, const sa2_step_plan *plan)
{
    g->n_choices = 0;
    int row = 0;
    for (int i = 0; i < plan->n_parts; i++) {
        const sa2_step_rows *part = &plan->parts[i];
        if (!part->logits)
            continue;
        const sa2_job *job = (const sa2_job *)part->group;
        if (job->beams.search != NULL) {
            int n = choose_beams(g, plan, i, row);
            row += n;
            i += n - 1;
        } else {
            add_answers(g, part, sa2_step_logits(g->options.step, row++));
        }
    }
    int at_once = (int)threads_of(&g->options);
    if (at_once < sa2_backend_threads(g->options.model->backend) || g->n_choices == 1)
        for (int i = 0; i < g->n_choices; i++)
            choose_one(g, i, 0);
    else
        sa2_backend_each(g->options.model->backend, g->n_choices, choose_one, g);
    for (int i = 0; i < g->n_choices; i++)
        if (g->choices[i].status != SA2_OK)
            sa2_job_fail(g->choices[i].job, g->choices[i].status, &g->choices[i].err);
}

int sa2_generator_chosen(const sa2_generator *g)
{
    return g->n_choices;
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

static sa2_status tell_token(sa2_generator *g, const choice *c, sa2_error *err)
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

static sa2_status tell(sa2_generator *g, const choice *c, sa2_error *err)
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
    for (int i = 0; i < g->n_choices; i++) {
        const choice *c = &g->choices[i];
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
