/* drive.c - the engine's thread: new jobs in, one step of the model after the other, sound between them, events out.
 *
 * The lock is held while jobs come in, are told and end, never while the model computes.
 */
#include <assert.h>
#include <errno.h>

#include "runtime/serving/clock.h"
#include "runtime/serving/engine_internal.h"

/* ---- under the lock ---- */

static void take_arrival(sa2_engine *e, sa2_job *job)
{
    sa2_scheduler_add(e->machine.scheduler, &job->group);
    for (int i = 0; job->utterances != NULL && i < job->n_outputs; i++)
        sa2_speaker_add(&e->speaker, &job->utterances[i]);
}

static void take_arrivals(sa2_engine *e)
{
    sa2_desk *desk = &e->desk;
    for (sa2_job *job = desk->arrived; job != NULL; job = job->next)
        take_arrival(e, job);
    desk->arrived = NULL;
}

/* Milliseconds since the job was submitted, of a time that may not have come. */
static double since_submit(const sa2_job *job, double ms)
{
    return ms < 0.0 ? -1.0 : ms - job->submitted_ms;
}

/* The model has nothing more to do with the job; `finish` is for answers that are not complete. */
static void leave_model(sa2_engine *e, sa2_job *job, sa2_finish finish)
{
    sa2_machine *m = &e->machine;
    if (job->left)
        return;
    job->left = true;
    sa2_generator_finish(m->generator, job, finish);
    sa2_scheduler_remove(m->scheduler, &job->group);
    sa2_clip_cache_passed(m->clips, &job->group, INT32_MAX);
}

/* Whatever is still to be heard of answer i is not. */
static void silence(sa2_engine *e, sa2_job *job, int i, sa2_finish finish)
{
    if (job->utterances != NULL)
        sa2_speaker_remove(&e->speaker, &job->utterances[i]);
    if (job->outputs[i].told)
        return;
    job->outputs[i].finish = finish;
    sa2_job_tell_finished(job, i);
}

/* The one end of every job. `finish` is for answers that are not complete, or not heard to their end. */
static void end_job(sa2_engine *e, sa2_job *job, sa2_finish finish)
{
    if (job->status != SA2_OK)
        finish = SA2_FINISH_ERROR;
    leave_model(e, job, finish);
    for (int i = 0; i < job->n_outputs; i++)
        silence(e, job, i, finish);
    job->finish = job->status != SA2_OK ? SA2_FINISH_ERROR : job->outputs[0].finish;
    sa2_timings *t = &job->timings;
    t->started_ms = since_submit(job, t->started_ms);
    t->encoded_ms = since_submit(job, t->encoded_ms);
    t->first_token_ms = since_submit(job, t->first_token_ms);
    t->first_audio_ms = since_submit(job, t->first_audio_ms);
    t->done_ms = since_submit(job, sa2_now_ms());
    t->n_preemptions = job->group.n_preemptions;
    sa2_event_log_mark(&job->log, SA2_EVENT_DONE, 0);
    sa2_desk_ended(&e->desk, job);
}

static bool all_told(const sa2_job *job)
{
    for (int i = 0; i < job->n_outputs; i++)
        if (!job->outputs[i].told)
            return false;
    return true;
}

/* All ids are there, or it has failed. What is spoken may still have to be heard. */
static void complete_job(sa2_engine *e, sa2_job *job)
{
    if (job->status != SA2_OK || all_told(job))
        end_job(e, job, SA2_FINISH_LENGTH);
    else
        leave_model(e, job, SA2_FINISH_LENGTH);
}

static void end_unwanted(sa2_engine *e)
{
    double now = sa2_now_ms();
    for (sa2_job *job = e->desk.first; job != NULL; job = job->next) {
        if (job->ended)
            continue;
        if (job->cancelled)
            end_job(e, job, SA2_FINISH_CANCELLED);
        else if (job->deadline_ms > 0.0 && now >= job->deadline_ms)
            end_job(e, job, SA2_FINISH_DEADLINE);
    }
}

static void publish(sa2_engine *e)
{
    sa2_engine_stats *stats = &e->desk.stats;
    sa2_scheduler_stats scheduler = sa2_scheduler_get_stats(e->machine.scheduler);
    sa2_kv_stats cache = sa2_kv_cache_stats(e->machine.cache);
    stats->n_running = scheduler.n_running;
    stats->n_preemptions = scheduler.n_preemptions;
    stats->n_pages = cache.n_pages;
    stats->n_pages_free = cache.n_free;
    stats->n_pages_cached = cache.n_cached;
}

/* What a step of `ms`, `encode_ms` of them for sound, has done. Of a step that ran ahead some rows may be for nobody. */
static void count_step(sa2_engine *e, const sa2_step_plan *plan, double ms, double encode_ms)
{
    sa2_engine_stats *stats = &e->desk.stats;
    stats->n_steps++;
    stats->n_rows += plan->n_rows;
    stats->n_generated_tokens += sa2_generator_chosen(e->machine.generator);
    stats->step_ms_total += ms - encode_ms;
    stats->encode_ms_total += encode_ms;
    for (int i = 0; i < plan->n_parts; i++) {
        sa2_job *job = (sa2_job *)plan->parts[i].group;
        stats->n_rows_dropped += job == NULL;
        if (job == NULL || job->last_step == stats->n_steps)
            continue;
        job->last_step = stats->n_steps;
        if (job->timings.n_steps++ == 0) {
            stats->n_prompt_tokens += job->usage.prompt_tokens;
            stats->n_cached_tokens += job->usage.cached_tokens;
        }
    }
}

static void tell(sa2_engine *e, const sa2_step_plan *plan)
{
    sa2_job *ended[SA2_MAX_SEQUENCES];
    int n_ended = sa2_generator_tell(e->machine.generator, ended);
    for (int i = 0; i < plan->n_parts; i++)
        if (plan->parts[i].group != NULL)
            sa2_desk_ready(&e->desk, (sa2_job *)plan->parts[i].group);
    for (int i = 0; i < n_ended; i++)
        complete_job(e, ended[i]);
}

/* A step that failed takes all its jobs with it: their pages hold nobody knows what. */
static void end_failed_step(sa2_engine *e, const sa2_step_plan *plan, sa2_status st,
                            const sa2_error *err)
{
    for (int i = 0; i < plan->n_parts; i++) {
        sa2_job *job = (sa2_job *)plan->parts[i].group;
        if (job == NULL || job->ended)
            continue;
        sa2_job_fail(job, st, err);
        end_job(e, job, SA2_FINISH_ERROR);
    }
}

/* ---- not under the lock ---- */

static void note_starts(const sa2_step_plan *plan)
{
    for (int i = 0; i < plan->n_parts; i++) {
        sa2_job *job = (sa2_job *)plan->parts[i].group;
        if (job->timings.started_ms >= 0.0)
            continue;
        job->timings.started_ms = sa2_now_ms();
        job->usage.cached_tokens = job->group.n_matched;
    }
}

/* Plans the next step and begins it, when the sounds that it needs are encoded. */
static const sa2_step_plan *begin_step(sa2_engine *e, double *encode_ms, sa2_status *st,
                                       sa2_error *err)
{
    sa2_machine *m = &e->machine;
    double began_ms = sa2_now_ms();
    sa2_clip_cache_begin(m->clips);
    const sa2_step_plan *plan = sa2_scheduler_plan(m->scheduler);
    assert(plan->n_rows > 0); /* one job is always possible */
    note_starts(plan);
    *st = sa2_clip_cache_encode(m->clips, m->stream, &m->work, err);
    *encode_ms = sa2_now_ms() - began_ms;
    const sa2_step_sampling *sampling = sa2_generator_plan(m->generator, plan);
    if (*st == SA2_OK)
        sa2_step_begin(m->step, m->stream, &m->work, m->clips, plan, sampling);
    return plan;
}

/* Begins the step behind one that is under way, so that the device goes on while the host reads what that has chosen. NULL:
 * it has to be known first. */
static const sa2_step_plan *begin_step_ahead(sa2_engine *e, const sa2_step_plan *before)
{
    sa2_machine *m = &e->machine;
    if (!e->options.run_ahead || !sa2_generator_may_run_ahead(m->generator, before))
        return NULL;
    const sa2_step_plan *plan = sa2_scheduler_plan_ahead(m->scheduler, before);
    if (plan != NULL)
        sa2_step_begin(m->step, m->stream, &m->work, m->clips, plan,
                       sa2_generator_plan_ahead(m->generator, plan, before));
    return plan;
}

static sa2_status end_step(sa2_machine *m, const sa2_step_plan *plan, sa2_error *err)
{
    sa2_status st = sa2_step_end(m->step, m->stream, plan, err);
    if (st != SA2_OK)
        return st;
    sa2_scheduler_commit(m->scheduler, plan);
    for (int i = 0; i < plan->n_parts; i++)
        if (plan->parts[i].group != NULL)
            sa2_clip_cache_passed(m->clips, plan->parts[i].group,
                                  plan->parts[i].first + plan->parts[i].n);
    sa2_generator_choose(m->generator, plan);
    return SA2_OK;
}

/* There is one to begin, or under way. */
static bool has_steps(const sa2_engine *e)
{
    sa2_scheduler_stats stats = sa2_scheduler_get_stats(e->machine.scheduler);
    return (!e->desk.paused && stats.n_running + stats.n_waiting > 0) || e->ahead != NULL;
}

/* Something that came while the lock was open. */
static bool has_news(const sa2_desk *desk)
{
    return desk->arrived != NULL || desk->errand != NULL || desk->closing;
}

/* Called and left with the lock held. */
static void run_step(sa2_engine *e)
{
    sa2_job *stuck[SA2_MAX_SEQUENCES];
    sa2_error err = {0};
    sa2_status st = SA2_OK;
    double began_ms = sa2_now_ms(), encode_ms = 0.0;
    const sa2_step_plan *plan = e->ahead, *next = NULL;
    bool go_on = !has_news(&e->desk) && !e->desk.paused;
    pthread_mutex_unlock(&e->desk.lock);
    if (plan == NULL)
        plan = begin_step(e, &encode_ms, &st, &err);
    if (st == SA2_OK && go_on)
        next = begin_step_ahead(e, plan);
    if (st == SA2_OK)
        st = end_step(&e->machine, plan, &err);
    pthread_mutex_lock(&e->desk.lock);

    e->ahead = st == SA2_OK ? next : NULL; /* all its jobs are in the one before */
    if (st != SA2_OK) {
        end_failed_step(e, plan, st, &err);
        return;
    }
    e->desk.stats.n_steps_ahead += next != NULL;
    e->desk.stats.n_steps_beside_sound += sa2_speaker_busy(&e->speaker);
    count_step(e, plan, sa2_now_ms() - began_ms, encode_ms);
    tell(e, plan);
    publish(e);
    pthread_mutex_unlock(&e->desk.lock);
    int n_stuck = sa2_generator_turn(e->machine.generator, stuck);
    pthread_mutex_lock(&e->desk.lock);
    for (int i = 0; i < n_stuck; i++)
        end_job(e, stuck[i], SA2_FINISH_ERROR);
}

/* ---- sound ---- */

static void take_samples(void *engine, sa2_utterance *u, const float *samples, int64_t n)
{
    sa2_engine *e = engine;
    sa2_job *job = u->owner;
    pthread_mutex_lock(&e->desk.lock);
    if (job->timings.first_audio_ms < 0.0)
        job->timings.first_audio_ms = sa2_now_ms();
    sa2_event_log_samples(&job->log, u->choice, samples, (size_t)n);
    e->desk.stats.n_speech_samples += n;
    sa2_desk_ready(&e->desk, job);
    pthread_mutex_unlock(&e->desk.lock);
}

/* Answers that are heard to their end, and those whose sound was lost. */
static void end_utterances(sa2_engine *e, sa2_status st, const sa2_error *err)
{
    for (sa2_utterance *u = e->speaker.first, *next; u != NULL; u = next) {
        next = u->next;
        sa2_job *job = u->owner;
        if (u->lost) {
            sa2_job_fail(job, st, err);
        } else if (sa2_speech_complete(&u->speech)) {
            sa2_speaker_remove(&e->speaker, u);
            if (!job->outputs[u->choice].told)
                sa2_job_tell_finished(job, u->choice);
            sa2_desk_ready(&e->desk, job);
        }
    }
    for (sa2_job *job = e->desk.first; job != NULL; job = job->next)
        if (!job->ended && job->utterances != NULL &&
            (job->status != SA2_OK || (job->left && all_told(job))))
            end_job(e, job, SA2_FINISH_LENGTH);
}

/* Called and left with the lock held. */
static void begin_sound(sa2_engine *e)
{
    sa2_error err = {0};
    pthread_mutex_unlock(&e->desk.lock);
    e->sound_began_ms = sa2_now_ms();
    sa2_status st = sa2_speaker_begin(&e->speaker, &err);
    pthread_mutex_lock(&e->desk.lock);
    if (st != SA2_OK)
        end_utterances(e, st, &err);
}

/* Called and left with the lock held. */
static void end_sound(sa2_engine *e)
{
    sa2_error err = {0};
    pthread_mutex_unlock(&e->desk.lock);
    sa2_status st = sa2_speaker_end(&e->speaker, take_samples, e, &err);
    pthread_mutex_lock(&e->desk.lock);
    e->desk.stats.speech_ms_total += sa2_now_ms() - e->sound_began_ms;
    end_utterances(e, st, &err);
}

/* A device makes the next chunks of sound, in a queue of their own, beside the steps that go on meanwhile; a processor has made
 * them at once. Called and left with the lock held; false: there was nothing to do. */
static bool make_sound(sa2_engine *e)
{
    bool begins = sa2_speaker_ready(&e->speaker);
    if (begins)
        begin_sound(e);
    bool ends = sa2_speaker_busy(&e->speaker) && (!has_steps(e) || sa2_speaker_done(&e->speaker));
    if (ends)
        end_sound(e);
    return begins || ends;
}

/* Called and left with the lock held. */
static void run_errand(sa2_engine *e)
{
    sa2_voice_errand *errand = e->desk.errand;
    if (errand == NULL)
        return;
    if (sa2_speaker_busy(&e->speaker))
        end_sound(e); /* in the queue that voices are made in */
    pthread_mutex_unlock(&e->desk.lock);
    errand->status =
        sa2_voices_add(&e->voices, e->speaker.token2wav, errand->name, errand->voice, errand->err);
    pthread_mutex_lock(&e->desk.lock);
    errand->done = true;
    e->desk.errand = NULL;
    pthread_cond_broadcast(&e->desk.news);
}

/* Until the first deadline of a job that waits, at most `most`. */
static int64_t ms_to_deadline(const sa2_desk *desk, int64_t most)
{
    double now = sa2_now_ms();
    for (const sa2_job *job = desk->first; job != NULL; job = job->next)
        if (!job->ended && job->deadline_ms > 0.0 && job->deadline_ms < now + (double)most)
            most = job->deadline_ms > now ? (int64_t)(job->deadline_ms - now) + 1 : 0;
    return most;
}

/* Until there is work; other ranks hear from time to time that there is none. Called and left with the lock held. */
static void wait_for_work(sa2_engine *e)
{
    enum { LONG_MS = 60000 };
    const sa2_comm *comm = e->options.comm;
    sa2_desk *desk = &e->desk;
    int64_t ms = ms_to_deadline(desk, comm == NULL ? LONG_MS : sa2_ranks_beat_ms(comm));
    struct timespec until = sa2_in_ms(ms);
    if (pthread_cond_timedwait(&desk->work, &desk->lock, &until) != ETIMEDOUT || comm == NULL)
        return;
    pthread_mutex_unlock(&desk->lock);
    sa2_step_pause(e->machine.step, false, NULL); /* a failure is that of the next step too */
    pthread_mutex_lock(&desk->lock);
}

void *sa2_engine_drive(void *engine)
{
    sa2_engine *e = engine;
    sa2_desk *desk = &e->desk;
    pthread_mutex_lock(&desk->lock);
    while (!desk->closing) {
        take_arrivals(e);
        run_errand(e);
        end_unwanted(e);
        publish(e);
        bool idle = !make_sound(e);
        desk->at_rest = !has_steps(e);
        if (!desk->at_rest) {
            run_step(e);
            idle = false;
        } else if (desk->paused) {
            pthread_cond_broadcast(&desk->news);
        }
        if (idle && !has_news(desk))
            wait_for_work(e);
    }
    pthread_mutex_unlock(&desk->lock);
    if (sa2_speaker_busy(&e->speaker))
        sa2_speaker_end(&e->speaker, NULL, NULL, NULL);
    if (e->ahead != NULL)
        sa2_step_end(e->machine.step, e->machine.stream, e->ahead, NULL);
    sa2_step_pause(e->machine.step, true, NULL); /* who does not hear it has failed before */
    return NULL;
}
