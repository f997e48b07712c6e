#include "runtime/serving/scheduler.h"

#include <assert.h>

#include "runtime/decoder/beam.h"

typedef struct queue {
    sa2_sequence_group *first, *last; /* by rising order */
    int n;
} queue;

struct sa2_scheduler {
    sa2_scheduler_options options;
    sa2_kv_cache *cache;
    queue waiting, running;
    int *free_slots;
    int n_free_slots;
    sa2_step_plan plans[2]; /* by turn */
    sa2_step_plan *plan;    /* the last one, of these */
    bool under_way[2];      /* each of them is made and not committed */
    bool preempted;         /* by the plan in the making: nothing is admitted then */
    bool
        settled; /* nothing has come or gone since the last plan, which had room for whoever could be admitted */
    int64_t n_preemptions;
};

size_t sa2_scheduler_bytes(const sa2_scheduler_options *options)
{
    size_t n = (size_t)options->max_sequences;
    return sa2_arena_round(sizeof(sa2_scheduler)) + sa2_arena_round(n * sizeof(int)) +
           2 * (sa2_arena_round(n * sizeof(sa2_step_rows)) +
                sa2_arena_round(n * sizeof(sa2_page_copy)));
}

sa2_status sa2_scheduler_create(sa2_scheduler **scheduler, const sa2_scheduler_options *options,
                                sa2_kv_cache *cache, sa2_arena *arena, sa2_error *err)
{
    if (options->max_sequences < 1 || options->max_rows < options->max_sequences)
        return sa2_fail(err, SA2_ERR_ARG,
                        "%d rows in a step: at least one for each of the %d sequences expected",
                        options->max_rows, options->max_sequences);
    size_t n = (size_t)options->max_sequences;
    sa2_scheduler *s = sa2_arena_take(arena, sizeof *s);
    int *slots = sa2_arena_take(arena, n * sizeof *slots);
    sa2_step_plan plans[2];
    bool full = s == NULL || slots == NULL;
    for (int turn = 0; turn < 2; turn++) {
        sa2_step_rows *parts = sa2_arena_take(arena, n * sizeof *parts);
        sa2_page_copy *copies = sa2_arena_take(arena, n * sizeof *copies);
        plans[turn] = (sa2_step_plan){.turn = turn, .parts = parts, .copies = copies};
        full = full || parts == NULL || copies == NULL;
    }
    if (full)
        return sa2_fail(err, SA2_ERR_NOMEM, "scheduler: %zu bytes needed",
                        sa2_scheduler_bytes(options));
    *s = (sa2_scheduler){.options = *options,
                         .cache = cache,
                         .free_slots = slots,
                         .n_free_slots = options->max_sequences,
                         .plans = {plans[0], plans[1]},
                         .plan = &s->plans[0]};
    for (int i = 0; i < options->max_sequences; i++)
        slots[i] = options->max_sequences - 1 - i;
    *scheduler = s;
    return SA2_OK;
}

int64_t sa2_scheduler_pages(int page_size, int n_prompt, int n_positions, int n_sequences)
{
    int64_t whole = ((int64_t)n_positions + page_size - 1) / page_size;
    int64_t shared = n_sequences > 1 ? n_prompt / page_size : 0;
    return shared + n_sequences * (whole - shared);
}

/* ---- queues ---- */

static void insert(queue *q, sa2_sequence_group *group)
{
    sa2_sequence_group *before = q->last;
    while (before != NULL && before->order > group->order)
        before = before->previous;
    group->previous = before;
    group->next = before != NULL ? before->next : q->first;
    *(group->next != NULL ? &group->next->previous : &q->last) = group;
    *(before != NULL ? &before->next : &q->first) = group;
    q->n++;
}

static void take_out(queue *q, sa2_sequence_group *group)
{
    *(group->previous != NULL ? &group->previous->next : &q->first) = group->next;
    *(group->next != NULL ? &group->next->previous : &q->last) = group->previous;
    group->next = group->previous = NULL;
    q->n--;
}

/* ---- groups ---- */

static int count_live(const sa2_sequence_group *group)
{
    int n = 0;
    for (int i = 0; i < group->n_sequences; i++)
        n += !group->sequences[i].done;
    return n;
}

static sa2_sequence *first_live(const sa2_sequence_group *group)
{
    for (int i = 0; i < group->n_sequences; i++)
        if (!group->sequences[i].done)
            return &group->sequences[i];
    return NULL;
}

static sa2_kv_content content_of(const sa2_sequence_group *group, const sa2_sequence *sequence,
                                 int n)
{
    return (sa2_kv_content){.ids = sequence->ids,
                            .n = n,
                            .audio = group->audio,
                            .n_audio = group->n_audio,
                            .salt = group->salt};
}

/* One sequence computes the prompt for all; alone it goes straight through. */
static int end_of_run(const sa2_sequence_group *group, const sa2_sequence *sequence)
{
    return !group->forked && count_live(group) > 1 ? group->n_prompt : sequence->n_ids;
}

static bool all_at_last_row(const sa2_sequence_group *group)
{
    for (int i = 0; i < group->n_sequences; i++) {
        const sa2_sequence *sequence = &group->sequences[i];
        if (!sequence->done && sequence->n_ids - sequence->n_written != 1)
            return false;
    }
    return true;
}

/* Rows of a sequence that may be computed now. */
static int rows_due(const sa2_sequence_group *group, const sa2_sequence *sequence)
{
    if (sequence->done || sequence->kv == NULL)
        return 0;
    int n = end_of_run(group, sequence) - sequence->n_written;
    if (group->lockstep && group->forked && !all_at_last_row(group))
        n--; /* the last row waits for those of the others */
    return n;
}

static void leave_plan(sa2_step_plan *plan, const sa2_sequence *sequence)
{
    for (int i = 0; i < plan->n_parts; i++)
        if (plan->parts[i].sequence == sequence)
            plan->parts[i] = (sa2_step_rows){0};
}

static void release_sequence(sa2_scheduler *s, sa2_sequence *sequence)
{
    for (int turn = 0; turn < 2; turn++)
        if (s->under_way[turn])
            leave_plan(&s->plans[turn], sequence);
    s->settled = false;
    if (sequence->kv != NULL)
        sa2_kv_close(s->cache, sequence->kv);
    if (sequence->slot >= 0)
        s->free_slots[s->n_free_slots++] = sequence->slot;
    sequence->kv = NULL;
    sequence->slot = -1;
    sequence->n_written = 0;
}

static void release_group(sa2_scheduler *s, sa2_sequence_group *group)
{
    for (int i = 0; i < group->n_sequences; i++)
        release_sequence(s, &group->sequences[i]);
    group->forked = false;
}

void sa2_scheduler_add(sa2_scheduler *s, sa2_sequence_group *group)
{
    for (int i = 0; i < group->n_sequences; i++) {
        group->sequences[i].n_written = 0;
        group->sequences[i].slot = -1;
        group->sequences[i].kv = NULL;
    }
    group->running = group->forked = false;
    group->n_preemptions = 0;
    s->settled = false;
    insert(&s->waiting, group);
}

void sa2_scheduler_remove(sa2_scheduler *s, sa2_sequence_group *group)
{
    release_group(s, group);
    take_out(group->running ? &s->running : &s->waiting, group);
    group->running = false;
}

void sa2_scheduler_finish(sa2_scheduler *s, sa2_sequence_group *group, sa2_sequence *sequence)
{
    assert(group->running && !sequence->done);
    release_sequence(s, sequence);
    sequence->done = true;
}

void sa2_scheduler_restart(sa2_scheduler *s, sa2_sequence_group *group)
{
    sa2_scheduler_remove(s, group);
    insert(&s->waiting, group);
}

static void preempt(sa2_scheduler *s, sa2_sequence_group *group)
{
    sa2_scheduler_restart(s, group);
    group->n_preemptions++;
    s->n_preemptions++;
    s->preempted = true;
}

/* ---- the plan ---- */

static int pages_missing(const sa2_scheduler *s, const sa2_sequence *sequence, int n)
{
    return sa2_kv_pages_needed(s->cache, sequence->kv, n) - sa2_kv_pages_available(s->cache);
}

/* The most rows, n at most, for which there are pages. */
static int rows_with_pages(const sa2_scheduler *s, const sa2_sequence *sequence, int n)
{
    int least = 0, most = n; /* invariant: `least` rows have pages */
    while (least < most) {
        int middle = least + (most - least + 1) / 2;
        if (pages_missing(s, sequence, middle) <= 0)
            least = middle;
        else
            most = middle - 1;
    }
    return least;
}

static void begin_plan(sa2_scheduler *s)
{
    s->plan = &s->plans[1 - s->plan->turn];
    s->plan->n_parts = s->plan->n_rows = s->plan->n_logits = s->plan->n_copies = 0;
}

/* Puts rows into the plan for which there are pages. */
static void put_rows(sa2_scheduler *s, sa2_step_rows part)
{
    sa2_step_plan *plan = s->plan;
    sa2_page_copy copy;
    sa2_status st = sa2_kv_grow(s->cache, part.sequence->kv, part.n, &copy, NULL);
    assert(st == SA2_OK); /* the pages were counted, the length was checked when it was added */
    (void)st;
    if (copy.from >= 0)
        plan->copies[plan->n_copies++] = copy;
    plan->parts[plan->n_parts++] = part;
    plan->n_rows += part.n;
    plan->n_logits += part.logits;
}

/* Puts up to n rows of a sequence into the plan; fewer where pages or sound are short. */
static void plan_rows(sa2_scheduler *s, sa2_sequence_group *group, sa2_sequence *sequence, int n)
{
    int first = sequence->n_written, left = s->options.max_rows - s->plan->n_rows;
    n = rows_with_pages(s, sequence, n < left ? n : left);
    if (n > 0 && s->options.rows_possible != NULL)
        n = s->options.rows_possible(s->options.context, group, first, n);
    if (n > 0)
        put_rows(s, (sa2_step_rows){group, sequence, first, n, first + n == sequence->n_ids});
}

/* The sequences of a group that are at their last row. The newest request gives way when there are no pages; false:
 * that was this group, and it has left the plan again. */
static bool plan_decode(sa2_scheduler *s, sa2_sequence_group *group)
{
    sa2_step_plan before = *s->plan;
    for (int i = 0; i < group->n_sequences; i++) {
        sa2_sequence *sequence = &group->sequences[i];
        if (rows_due(group, sequence) != 1)
            continue;
        while (pages_missing(s, sequence, 1) > 0) {
            sa2_sequence_group *newest = s->running.last;
            preempt(s, newest);
            if (newest == group) {
                *s->plan = before;
                return false;
            }
        }
        plan_rows(s, group, sequence, 1);
    }
    return true;
}

static void plan_prefill(sa2_scheduler *s, sa2_sequence_group *group)
{
    for (int i = 0; i < group->n_sequences; i++) {
        int n = rows_due(group, &group->sequences[i]);
        if (n > 1)
            plan_rows(s, group, &group->sequences[i], n);
    }
}

/* Takes the group that has waited longest, when there are slots, rows and pages for it. */
static bool admit(sa2_scheduler *s)
{
    sa2_sequence_group *group = s->waiting.first;
    if (group == NULL || count_live(group) > s->n_free_slots ||
        s->plan->n_rows == s->options.max_rows)
        return false;
    sa2_sequence *sequence = first_live(group);
    int end = end_of_run(group, sequence);
    sequence->kv = sa2_kv_open(s->cache);
    assert(sequence->kv != NULL); /* there are as many as slots */
    if (s->options.prefix_caching) {
        sa2_kv_content content = content_of(group, sequence, end);
        sequence->n_written = sa2_kv_match(s->cache, sequence->kv, &content);
    }
    /* A page for every request that runs stays, so that the new one is not preempted at once. */
    if (s->running.n > 0 && pages_missing(s, sequence, end - sequence->n_written) +
                                    s->options.max_sequences - s->n_free_slots >
                                0) {
        release_sequence(s, sequence);
        return false;
    }
    group->n_matched = sequence->n_written;
    take_out(&s->waiting, group);
    insert(&s->running, group);
    group->running = true;
    for (int i = 0; i < group->n_sequences; i++)
        if (!group->sequences[i].done)
            group->sequences[i].slot = s->free_slots[--s->n_free_slots];
    plan_rows(s, group, sequence, rows_due(group, sequence));
    return true;
}

const sa2_step_plan *sa2_scheduler_plan(sa2_scheduler *s)
{
    begin_plan(s);
    s->under_way[0] = s->under_way[1] = false; /* one that failed is never committed */
    s->preempted = false;
    for (;;) {
        for (sa2_sequence_group *g = s->running.first; g != NULL; g = g->next)
            if (!plan_decode(s, g))
                break; /* it was the last one */
        for (sa2_sequence_group *g = s->running.first; g != NULL; g = g->next)
            plan_prefill(s, g);
        while (!s->preempted && admit(s))
            ;
        if (s->plan->n_rows > 0 || s->running.n < 2)
            break;
        preempt(s, s->running.last); /* all wait for pages that the others hold */
    }
    s->settled = !s->preempted && s->plan->n_rows < s->options.max_rows;
    s->under_way[s->plan->turn] = true;
    return s->plan;
}

static bool is_of_decoding(const sa2_step_rows *part)
{
    return part->n == 1 && part->logits && part->group->forked && !part->group->lockstep &&
           part->first >= part->group->n_prompt;
}

/* Once the part's token is there, whatever it is. */
static bool is_complete_then(const sa2_step_rows *part)
{
    return part->first + 2 >= part->sequence->max_ids;
}

/* Whether the next step has a row for each sequence of this one and no others, and pages for them; *n: how many. */
static bool is_foreseen(const sa2_scheduler *s, const sa2_step_plan *plan, int *n)
{
    int n_live = 0, n_pages = 0;
    *n = 0;
    for (const sa2_sequence_group *g = s->running.first; g != NULL; g = g->next)
        n_live += count_live(g);
    for (int i = 0; i < plan->n_parts; i++) {
        const sa2_step_rows *part = &plan->parts[i];
        if (part->group == NULL)
            continue;
        n_live--;
        if (!is_of_decoding(part))
            return false;
        if (is_complete_then(part)) {
            if (s->waiting.n > 0)
                return false; /* for its place */
            continue;
        }
        ++*n;
        n_pages += sa2_kv_pages_needed(s->cache, part->sequence->kv, 1);
    }
    return n_live == 0 && n_pages <= sa2_kv_pages_available(s->cache);
}

const sa2_step_plan *sa2_scheduler_plan_ahead(sa2_scheduler *s, const sa2_step_plan *plan)
{
    int n;
    if ((s->waiting.n > 0 && !s->settled) || !is_foreseen(s, plan, &n) || n == 0)
        return NULL;
    begin_plan(s);
    for (int i = 0; i < plan->n_parts; i++) {
        const sa2_step_rows *part = &plan->parts[i];
        if (part->group != NULL && !is_complete_then(part))
            put_rows(s, (sa2_step_rows){part->group, part->sequence, part->first + 1, 1, true});
    }
    s->under_way[s->plan->turn] = true;
    return s->plan;
}

static void fork_group(sa2_scheduler *s, sa2_sequence_group *group, const sa2_sequence *parent)
{
    for (int i = 0; i < group->n_sequences; i++) {
        sa2_sequence *child = &group->sequences[i];
        if (child->done || child == parent)
            continue;
        child->kv = sa2_kv_fork(s->cache, parent->kv);
        assert(child->kv != NULL); /* there are as many as slots */
        child->n_written = parent->n_written;
    }
    group->forked = true;
}

void sa2_scheduler_commit(sa2_scheduler *s, const sa2_step_plan *plan)
{
    s->under_way[plan->turn] = false;
    for (int i = 0; i < plan->n_parts; i++) {
        const sa2_step_rows *part = &plan->parts[i];
        sa2_sequence *sequence = part->sequence;
        if (part->group == NULL)
            continue;
        sequence->n_written += part->n;
        if (s->options.prefix_caching) {
            sa2_kv_content content = content_of(part->group, sequence, sequence->n_written);
            sa2_kv_register(s->cache, sequence->kv, &content, sequence->n_written);
        }
        if (!part->group->forked && sequence->n_written == end_of_run(part->group, sequence))
            fork_group(s, part->group, sequence);
    }
}

void sa2_scheduler_reorder(sa2_scheduler *s, sa2_sequence_group *group, const int *parents)
{
    sa2_kv_sequence *old[SA2_BEAM_MAX], *new[SA2_BEAM_MAX];
    int n_children[SA2_BEAM_MAX] = {0};
    int n = group->n_sequences;
    assert(n <= SA2_BEAM_MAX);
    for (int i = 0; i < n; i++) {
        old[i] = group->sequences[i].kv;
        n_children[parents[i]]++;
    }
    for (int i = 0; i < n; i++) /* first, so that there is room for the forks */
        if (n_children[i] == 0)
            sa2_kv_close(s->cache, old[i]);
    for (int i = 0; i < n; i++)
        if (n_children[parents[i]]-- == 1) /* the last child takes the pages over */
            new[i] = old[parents[i]];
        else
            new[i] = sa2_kv_fork(s->cache, old[parents[i]]);
    for (int i = 0; i < n; i++)
        group->sequences[i].kv = new[i];
}

sa2_scheduler_stats sa2_scheduler_get_stats(const sa2_scheduler *s)
{
    return (sa2_scheduler_stats){
        .n_running = s->running.n, .n_waiting = s->waiting.n, .n_preemptions = s->n_preemptions};
}
