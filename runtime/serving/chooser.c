#include "runtime/serving/chooser.h"

#include <assert.h>
#include <math.h>

#include "runtime/serving/device_draws.h"

/* The sampler of whoever runs in a slot; made anew from the ids when that is somebody else. */
typedef struct place {
    sa2_sampler sampler;
    void *memory;
    sa2_request_id job;
    int sequence, n_prompt;
} place;

/* The choices of one turn, from the plan of its step until they are told. */
typedef struct choice_list {
    int turn;
    sa2_choice *choices;    /* [max_sequences] */
    int n_choices, n_hosts; /* the second: without beams and those on the device */
} choice_list;

struct sa2_chooser {
    sa2_chooser_options options;
    sa2_sampler_work *works;       /* [n_threads] */
    place *slots;                  /* [max_sequences] */
    choice_list lists[2];          /* by turn */
    choice_list *planned, *chosen; /* last */
    sa2_device_draws *draws;       /* NULL: all on the host */
    bool *is_host;                 /* [max_sequences] rows of logits that the host wants */
    int32_t *from;                 /* [max_sequences] of a step that runs ahead: the draw before */
    sa2_step_sampling sampling;
    const sa2_step *step; /* to choose from */
};

/* ---- memory ---- */

/* Threads that choose at one time. */
static size_t threads_of(const sa2_chooser_options *o)
{
    int threads = sa2_backend_threads(o->model->backend);
    return (size_t)(threads < o->max_sequences ? threads : o->max_sequences);
}

size_t sa2_chooser_host_bytes(const sa2_chooser_options *o)
{
    size_t n = (size_t)o->max_sequences;
    return sa2_arena_round(sizeof(sa2_chooser)) + sa2_arena_round(n * sizeof(place)) +
           2 * sa2_arena_round(n * sizeof(sa2_choice)) + sa2_arena_round(n * sizeof(bool)) +
           sa2_arena_round(n * sizeof(int32_t)) +
           n * sa2_arena_round(sa2_sampler_bytes(o->model->n_token_rows)) +
           threads_of(o) * (sa2_arena_round(sizeof(sa2_sampler_work)) +
                            sa2_arena_round(sa2_sampler_work_bytes(o->model->n_token_rows))) +
           (o->on_device ? sa2_device_draws_host_bytes(o->max_sequences) : 0);
}

size_t sa2_chooser_device_bytes(const sa2_chooser_options *o)
{
    return o->on_device ? sa2_device_draws_device_bytes(o->max_sequences, o->model->n_token_rows)
                        : 0;
}

static void fill_ids(void *chooser, sa2_stream *s, sa2_tensor ids)
{
    const sa2_chooser *c = chooser;
    sa2_device_draws_ids(c->draws, s, ids, c->from);
}

static void sample(void *chooser, sa2_stream *s, sa2_tensor logits)
{
    sa2_device_draws_run(((sa2_chooser *)chooser)->draws, s, logits);
}

sa2_status sa2_chooser_create(sa2_chooser **chooser, const sa2_chooser_options *o,
                              sa2_arena *device, sa2_arena *host, sa2_error *err)
{
    size_t n = (size_t)o->max_sequences;
    sa2_chooser *c = sa2_arena_take(host, sizeof *c);
    place *slots = sa2_arena_take(host, n * sizeof *slots);
    sa2_choice *choices[2] = {sa2_arena_take(host, n * sizeof(sa2_choice)),
                              sa2_arena_take(host, n * sizeof(sa2_choice))};
    bool *is_host = sa2_arena_take(host, n * sizeof *is_host);
    int32_t *from = sa2_arena_take(host, n * sizeof *from);
    sa2_sampler_work *works = sa2_arena_take(host, threads_of(o) * sizeof *works);
    if (c == NULL || slots == NULL || choices[0] == NULL || choices[1] == NULL || is_host == NULL ||
        from == NULL || works == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "samplers: %zu bytes needed",
                        sa2_chooser_host_bytes(o));
    *c = (sa2_chooser){
        .options = *o,
        .works = works,
        .slots = slots,
        .lists = {{.turn = 0, .choices = choices[0]}, {.turn = 1, .choices = choices[1]}},
        .planned = &c->lists[0],
        .chosen = &c->lists[0],
        .is_host = is_host,
        .from = from,
        .sampling = {.sample = sample, .is_host = is_host, .context = c}};
    for (size_t i = 0; i < n; i++) {
        slots[i] =
            (place){.memory = sa2_arena_take(host, sa2_sampler_bytes(o->model->n_token_rows))};
        if (slots[i].memory == NULL)
            return sa2_fail(err, SA2_ERR_NOMEM, "samplers: no room for the %zu-th", i);
    }
    sa2_status st = SA2_OK;
    for (size_t i = 0; st == SA2_OK && i < threads_of(o); i++)
        st = sa2_sampler_work_init(&works[i], o->model->n_token_rows, host, err);
    if (st == SA2_OK && o->on_device)
        st = sa2_device_draws_create(&c->draws, o->max_sequences, o->model->n_token_rows, device,
                                     host, err);
    if (st == SA2_OK)
        *chooser = c;
    return st;
}

/* ---- who chooses ---- */

static sa2_sampler *sampler_of(sa2_chooser *c, sa2_job *job, int index)
{
    const sa2_sequence *sequence = &job->group.sequences[index];
    place *s = &c->slots[sequence->slot];
    int n_prompt = job->group.n_prompt;
    if (s->job == job->id && s->sequence == index && s->n_prompt == n_prompt &&
        s->sampler.n_generated == sequence->n_ids - n_prompt)
        return &s->sampler;
    s->job = job->id;
    s->sequence = index;
    s->n_prompt = n_prompt;
    if (c->draws != NULL)
        sa2_device_draws_forget(c->draws, sequence->slot);
    sa2_sampler_init(&s->sampler, s->memory, &job->sampling, job->seed, (uint32_t)index,
                     c->options.model->n_token_rows, sequence->ids, n_prompt);
    for (int i = n_prompt; i < sequence->n_ids; i++)
        sa2_sampler_accept(&s->sampler, sequence->ids[i]);
    return &s->sampler;
}

static sa2_choice *add_choice(sa2_chooser *c, sa2_job *job, int sequence, int part, int row)
{
    sa2_choice *choice = &c->planned->choices[c->planned->n_choices++];
    *choice = (sa2_choice){.job = job, .sequence = sequence, .part = part, .row = row, .draw = -1};
    return choice;
}

static void add_answer(sa2_chooser *c, sa2_job *job, int index, int part, int row)
{
    sa2_choice *choice = add_choice(c, job, index, part, row);
    choice->sampler = sampler_of(c, job, index);
    int slot = job->group.sequences[index].slot, n_logprobs = job->sampling.n_logprobs;
    if (c->draws != NULL && job->script.n == 0 && n_logprobs <= 0)
        choice->draw = sa2_device_draws_add(c->draws, row, slot, choice->sampler, n_logprobs == 0);
    c->is_host[row] = choice->draw < 0;
    c->planned->n_hosts += choice->draw < 0;
}

/* A token is wanted for a sequence; the first logits of a request are for all its answers. */
static void add_answers(sa2_chooser *c, const sa2_step_plan *plan, int i_part, int row)
{
    const sa2_step_rows *part = &plan->parts[i_part];
    sa2_job *job = (sa2_job *)part->group;
    bool first = part->sequence->n_ids == job->group.n_prompt;
    for (int i = 0; i < job->group.n_sequences; i++) {
        const sa2_sequence *sequence = &job->group.sequences[i];
        if (!sequence->done && (first || sequence == part->sequence))
            add_answer(c, job, i, i_part, row);
    }
}

/* The parts of a group lie one behind the other, and all have logits. Returns how many they are. */
static int add_beams(sa2_chooser *c, sa2_job *job, int part, int row)
{
    int n = sa2_beam_rows(job->beams.search);
    add_choice(c, job, 0, part, row);
    for (int i = 0; i < n; i++)
        c->is_host[row + i] = true;
    return n;
}

static void begin(sa2_chooser *c, int turn)
{
    c->planned = &c->lists[turn];
    c->planned->n_choices = c->planned->n_hosts = 0;
    c->sampling.fill_ids = NULL;
    if (c->draws != NULL)
        sa2_device_draws_begin(c->draws, turn);
}

const sa2_step_sampling *sa2_chooser_plan(sa2_chooser *c, const sa2_step_plan *plan)
{
    begin(c, plan->turn);
    int row = 0;
    for (int i = 0; i < plan->n_parts; i++) {
        const sa2_step_rows *part = &plan->parts[i];
        if (!part->logits)
            continue;
        sa2_job *job = (sa2_job *)part->group;
        if (job->beams.search != NULL) {
            int n = add_beams(c, job, i, row);
            row += n;
            i += n - 1;
        } else {
            add_answers(c, plan, i, row++);
        }
    }
    return c->draws != NULL ? &c->sampling : NULL;
}

/* ---- one step ahead ---- */

static bool has_left(const sa2_choice *choice, const sa2_step_plan *plan)
{
    return plan->parts[choice->part].group == NULL;
}

bool sa2_chooser_may_run_ahead(const sa2_chooser *c, const sa2_step_plan *plan)
{
    const choice_list *l = &c->lists[plan->turn];
    for (int i = 0; i < l->n_choices; i++)
        if (!has_left(&l->choices[i], plan) &&
            (l->choices[i].draw < 0 || !sa2_sampler_foresees(&l->choices[i].job->sampling)))
            return false;
    return true;
}

const sa2_step_sampling *sa2_chooser_plan_ahead(sa2_chooser *c, const sa2_step_plan *plan,
                                                const sa2_step_plan *before)
{
    const sa2_choice *last = c->lists[before->turn].choices;
    begin(c, plan->turn);
    for (int i = 0; i < plan->n_parts; i++, last++) {
        const sa2_step_rows *part = &plan->parts[i];
        while (before->parts[last->part].sequence != part->sequence)
            last++; /* those that have left, or are complete then */
        sa2_sampler *sampler = &c->slots[part->sequence->slot].sampler;
        assert(last->sampler == sampler);
        sa2_sampler then = *sampler; /* and has said one more: which, is nowhere looked at */
        then.n_generated++;
        sa2_choice *choice = add_choice(c, last->job, last->sequence, i, i);
        choice->sampler = sampler;
        choice->draw = sa2_device_draws_add(c->draws, i, part->sequence->slot, &then,
                                            last->job->sampling.n_logprobs == 0);
        assert(choice->draw >= 0); /* nothing is added that was not before */
        c->is_host[i] = false;
        c->from[i] = last->draw;
    }
    c->sampling.fill_ids = fill_ids;
    return &c->sampling;
}

/* ---- choosing ---- */

static sa2_status choose_token(sa2_chooser *c, sa2_choice *choice, sa2_sampler_work *work,
                               sa2_error *err)
{
    sa2_job *job = choice->job;
    const float *logits = sa2_step_logits(c->step, choice->row);
    if (job->script.n > 0) {
        const sa2_sequence *sequence = &job->group.sequences[choice->sequence];
        int n_prompt = job->group.n_prompt;
        job->sampling.allowed =
            sa2_script_next(&job->script, sequence->ids + n_prompt, sequence->n_ids - n_prompt);
    }
    sa2_status st = sa2_sampler_next(choice->sampler, logits, work, &choice->token.id, err);
    if (st != SA2_OK)
        return st;
    sa2_sampler_accept(choice->sampler, choice->token.id);
    choice->token.logprob = NAN;
    if (job->sampling.n_logprobs < 0)
        return SA2_OK;
    return sa2_logprobs(logits, c->options.model->n_token_rows, choice->token.id, &choice->token,
                        choice->top, job->sampling.n_logprobs, work, err);
}

/* Answers do not see each other: each has its sampler, and a thread its work. */
static void choose_one(void *context, int i, int thread)
{
    sa2_chooser *c = context;
    sa2_choice *choice = &c->chosen->choices[i];
    if (choice->draw >= 0)
        choice->status = sa2_device_draws_take(c->draws, c->chosen->turn, choice->draw,
                                               choice->sampler, &choice->token, &choice->err);
    else if (choice->sampler != NULL)
        choice->status = choose_token(c, choice, &c->works[thread], &choice->err);
}

static void choose_beams(sa2_chooser *c, sa2_choice *choice)
{
    sa2_job_beams *beams = &choice->job->beams;
    int n = sa2_beam_rows(beams->search);
    for (int i = 0; i < n; i++)
        beams->logits[i] = sa2_step_logits(c->step, choice->row + i);
    choice->status = sa2_beam_step(beams->search, beams->logits, &c->works[0], beams->next,
                                   &choice->beams_done, &choice->err);
}

/* Tokens of those that have ended since the step was planned, or were given up, are for nobody. */
static void drop_those_that_have_left(const sa2_chooser *c, choice_list *l,
                                      const sa2_step_plan *plan)
{
    int n = 0;
    for (int i = 0; i < l->n_choices; i++) {
        if (has_left(&l->choices[i], plan))
            sa2_device_draws_drop(c->draws, l->turn, l->choices[i].draw);
        else if (n++ < i)
            l->choices[n - 1] = l->choices[i];
    }
    l->n_choices = n;
}

void sa2_chooser_choose(sa2_chooser *c, const sa2_step *step, const sa2_step_plan *plan)
{
    choice_list *l = c->chosen = &c->lists[plan->turn];
    c->step = step;
    drop_those_that_have_left(c, l, plan);
    for (int i = 0; i < l->n_choices; i++)
        if (l->choices[i].sampler == NULL)
            choose_beams(c, &l->choices[i]);
    sa2_backend *backend = c->options.model->backend;
    if ((int)threads_of(&c->options) < sa2_backend_threads(backend) || l->n_hosts < 2)
        for (int i = 0; i < l->n_choices; i++)
            choose_one(c, i, 0);
    else
        sa2_backend_each(backend, l->n_choices, choose_one, c);
}

const sa2_choice *sa2_chooser_choices(const sa2_chooser *c, int *n)
{
    *n = c->chosen->n_choices;
    return c->chosen->choices;
}
