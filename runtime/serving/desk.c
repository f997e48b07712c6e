#include "runtime/serving/desk.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

#include "runtime/serving/clock.h"

/* ---- opening and closing ---- */

static bool open_lock(sa2_desk *desk)
{
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0)
        return false;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    bool lock = pthread_mutex_init(&desk->lock, NULL) == 0;
    bool work = pthread_cond_init(&desk->work, &monotonic) == 0;
    bool news = pthread_cond_init(&desk->news, &monotonic) == 0;
    pthread_condattr_destroy(&monotonic);
    desk->open = lock && work && news;
    if (desk->open)
        return true;
    if (lock)
        pthread_mutex_destroy(&desk->lock);
    if (work)
        pthread_cond_destroy(&desk->work);
    if (news)
        pthread_cond_destroy(&desk->news);
    return false;
}

sa2_status sa2_desk_open(sa2_desk *desk, int max_active, size_t max_bytes, sa2_error *err)
{
    *desk = (sa2_desk){.max_active = max_active, .max_bytes = max_bytes};
    if (!open_lock(desk))
        return sa2_fail(err, SA2_ERR_NOMEM, "engine: the system has no lock to give");
    for (int i = SA2_MAX_EVENTS_HELD - 1; i >= 0; i--) {
        desk->events[i].next = desk->free_events;
        desk->free_events = &desk->events[i];
    }
    if (getrandom(&desk->seed, sizeof desk->seed, GRND_NONBLOCK) != sizeof desk->seed)
        desk->seed = (uint64_t)(sa2_now_ms() * 1e6);
    return SA2_OK;
}

void sa2_desk_close(sa2_desk *desk)
{
    if (!desk->open)
        return;
    for (sa2_job *job = desk->first, *next; job != NULL; job = next) {
        next = job->next;
        sa2_job_destroy(job);
    }
    pthread_cond_destroy(&desk->news);
    pthread_cond_destroy(&desk->work);
    pthread_mutex_destroy(&desk->lock);
    *desk = (sa2_desk){0};
}

/* ---- memory of the jobs ---- */

sa2_status sa2_desk_reserve(void *context, size_t bytes, sa2_error *err)
{
    sa2_desk *desk = context;
    pthread_mutex_lock(&desk->lock);
    size_t left = desk->max_bytes - desk->n_bytes;
    if (bytes <= left)
        desk->n_bytes += bytes;
    pthread_mutex_unlock(&desk->lock);
    if (bytes <= left)
        return SA2_OK;
    return sa2_fail(err, bytes > desk->max_bytes ? SA2_ERR_LIMIT : SA2_ERR_NOMEM,
                    "request: it needs %zu bytes, %zu of the %zu that are planned for requests are "
                    "free",
                    bytes, left, desk->max_bytes);
}

void sa2_desk_release(void *context, size_t bytes)
{
    sa2_desk *desk = context;
    pthread_mutex_lock(&desk->lock);
    desk->n_bytes -= bytes;
    pthread_mutex_unlock(&desk->lock);
}

/* ---- jobs ---- */

static void append_job(sa2_desk *desk, sa2_job *job)
{
    job->previous = desk->last;
    job->next = NULL;
    *(desk->last != NULL ? &desk->last->next : &desk->first) = job;
    desk->last = job;
    if (desk->arrived == NULL)
        desk->arrived = job;
}

static void take_job_out(sa2_desk *desk, sa2_job *job)
{
    *(job->previous != NULL ? &job->previous->next : &desk->first) = job->next;
    *(job->next != NULL ? &job->next->previous : &desk->last) = job->previous;
}

sa2_status sa2_desk_add(sa2_desk *desk, sa2_job *job, int64_t seed, int64_t deadline_ms,
                        sa2_request_id *id, sa2_error *err)
{
    pthread_mutex_lock(&desk->lock);
    int n_active = desk->n_active;
    if (n_active < desk->max_active) {
        *id = job->id = job->group.order = ++desk->last_id;
        job->seed = seed >= 0 ? (uint64_t)seed
                              : desk->seed + (uint64_t)job->id * 0x9e3779b97f4a7c15u; /* distinct */
        job->submitted_ms = sa2_now_ms();
        job->deadline_ms = deadline_ms > 0 ? job->submitted_ms + (double)deadline_ms : 0.0;
        append_job(desk, job);
        desk->n_active++;
        pthread_cond_signal(&desk->work);
    }
    pthread_mutex_unlock(&desk->lock);
    if (n_active < desk->max_active)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_LIMIT, "request: %d are there already, at most %d run or wait",
                    n_active, desk->max_active);
}

void sa2_desk_cancel(sa2_desk *desk, sa2_request_id id)
{
    pthread_mutex_lock(&desk->lock);
    for (sa2_job *job = desk->first; job != NULL && job->id <= id; job = job->next)
        if (job->id == id)
            job->cancelled = true;
    pthread_cond_signal(&desk->work);
    pthread_mutex_unlock(&desk->lock);
}

void sa2_desk_pause(sa2_desk *desk, bool paused)
{
    pthread_mutex_lock(&desk->lock);
    desk->paused = paused;
    pthread_cond_signal(&desk->work);
    while (desk->paused && !desk->at_rest)
        pthread_cond_wait(&desk->news, &desk->lock);
    pthread_mutex_unlock(&desk->lock);
}

void sa2_desk_run_errand(sa2_desk *desk, sa2_voice_errand *errand)
{
    pthread_mutex_lock(&desk->lock);
    while (desk->errand != NULL)
        pthread_cond_wait(&desk->news, &desk->lock);
    desk->errand = errand;
    pthread_cond_signal(&desk->work);
    while (!errand->done)
        pthread_cond_wait(&desk->news, &desk->lock);
    pthread_mutex_unlock(&desk->lock);
}

void sa2_desk_ended(sa2_desk *desk, sa2_job *job)
{
    assert(!job->ended);
    job->ended = true;
    desk->n_active--;
    sa2_desk_ready(desk, job);
}

/* ---- events ---- */

void sa2_desk_ready(sa2_desk *desk, sa2_job *job)
{
    if (job->ready || job->log.next == job->log.n_runs)
        return;
    job->ready = true;
    job->next_ready = NULL;
    *(desk->ready_last != NULL ? &desk->ready_last->next_ready : &desk->ready_first) = job;
    desk->ready_last = job;
    pthread_cond_broadcast(&desk->news);
}

/* What the log does not hold. */
static void fill_event(sa2_event *event, const sa2_job *job)
{
    event->request = job->id;
    if (event->kind == SA2_EVENT_FINISHED) {
        const sa2_output *output = &job->outputs[event->choice];
        event->finish = output->finish;
        event->stop_string = output->stop_string;
        event->stop_id = output->stop_id;
        event->score = output->score;
        event->ids = output->ids;
        event->n_ids = (size_t)output->n_ids;
    }
    if (event->kind == SA2_EVENT_DONE) {
        event->finish = job->finish;
        event->usage = job->usage;
        event->timings = job->timings;
        event->status = job->status;
        event->message = job->status != SA2_OK ? job->message : NULL;
    }
}

/* The next event of the job that has waited longest; the others get their turn before its next one. */
static sa2_event *take_event(sa2_desk *desk)
{
    sa2_job *job = desk->ready_first;
    sa2_held_event *held = desk->free_events;
    if (job == NULL || held == NULL)
        return NULL;
    desk->ready_first = job->next_ready;
    if (desk->ready_first == NULL)
        desk->ready_last = NULL;
    job->ready = false;
    desk->free_events = held->next;
    *held = (sa2_held_event){.job = job, .event = {.stop_id = -1}};
    bool taken = sa2_event_log_take(&job->log, &held->event);
    assert(taken);
    (void)taken;
    fill_event(&held->event, job);
    job->n_held++;
    job->told = held->event.kind == SA2_EVENT_DONE;
    sa2_desk_ready(desk, job);
    return &held->event;
}

sa2_event *sa2_desk_poll(sa2_desk *desk, int timeout_ms)
{
    struct timespec until = sa2_in_ms(timeout_ms);
    pthread_mutex_lock(&desk->lock);
    sa2_event *event = take_event(desk);
    int waited = 0;
    while (event == NULL && waited != ETIMEDOUT && timeout_ms != 0) {
        if (timeout_ms < 0)
            pthread_cond_wait(&desk->news, &desk->lock);
        else
            waited = pthread_cond_timedwait(&desk->news, &desk->lock, &until);
        event = take_event(desk);
    }
    pthread_mutex_unlock(&desk->lock);
    return event;
}

void sa2_desk_return(sa2_desk *desk, sa2_event *event)
{
    if (event == NULL)
        return;
    sa2_held_event *held = (sa2_held_event *)event;
    sa2_job *job = held->job;
    pthread_mutex_lock(&desk->lock);
    job->n_held--;
    bool gone = job->told && job->n_held == 0;
    if (gone)
        take_job_out(desk, job);
    if (desk->free_events == NULL)
        pthread_cond_broadcast(&desk->news);
    held->next = desk->free_events;
    desk->free_events = held;
    pthread_mutex_unlock(&desk->lock);
    if (gone)
        sa2_job_destroy(job);
}
