/* desk.h - where callers and the engine's thread meet: all jobs and their events, under one lock.
 *
 * A job comes in by sa2_desk_add(), is ended by the engine's thread once, in every case, and goes when
 * its last event is released.
 */
#ifndef SA2_RUNTIME_SERVING_DESK_H
#define SA2_RUNTIME_SERVING_DESK_H

#include <pthread.h>

#include "runtime/serving/job.h"

/* An event that somebody has; its content lies in the job. */
typedef struct sa2_held_event {
    sa2_event event; /* the first member: what callers see */
    sa2_job *job;
    struct sa2_held_event *next; /* in the list of free ones */
} sa2_held_event;

/* A voice that a caller wants set up, and waits for. */
typedef struct sa2_voice_errand {
    const char *name;
    const sa2_voice *voice;
    sa2_status status;
    sa2_error *err;
    bool done;
} sa2_voice_errand;

typedef struct sa2_desk {
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job, a cancellation, the end: for the engine's thread */
    /* For those who poll: an event, or room for one. For those who wait: an errand that is done, rest in a pause. */
    pthread_cond_t news;
    bool open; /* the three above are there */

    /* Under the lock. */
    sa2_job *first, *last;             /* all jobs, by rising id */
    sa2_job *arrived;                  /* the first that the engine's thread has not seen */
    sa2_job *ready_first, *ready_last; /* with events to take */
    sa2_held_event events[SA2_MAX_EVENTS_HELD];
    sa2_held_event *free_events;
    sa2_voice_errand *errand;  /* for the engine's thread; NULL: none */
    int n_active, max_active;  /* jobs that have not ended */
    size_t n_bytes, max_bytes; /* of all jobs */
    sa2_request_id last_id;
    uint64_t seed; /* of requests that bring none */
    bool paused, closing;
    bool at_rest; /* no step is under way */
    sa2_engine_stats stats;
} sa2_desk;

/* Errors: SA2_ERR_NOMEM. */
sa2_status sa2_desk_open(sa2_desk *desk, int max_active, size_t max_bytes, sa2_error *err);

/* Destroys all jobs that are left; the engine's thread is gone. Zeroed is fine. */
void sa2_desk_close(sa2_desk *desk);

/* reserve and release of sa2_job_setting. */
sa2_status sa2_desk_reserve(void *desk, size_t bytes, sa2_error *err);
void sa2_desk_release(void *desk, size_t bytes);

/* Takes the job over and gives it an id, a seed and its deadline. Errors: SA2_ERR_LIMIT too many wait. */
sa2_status sa2_desk_add(sa2_desk *desk, sa2_job *job, int64_t seed, int64_t deadline_ms,
                        sa2_request_id *id, sa2_error *err);

/* Leaves the errand to the engine's thread and waits until it is done. */
void sa2_desk_run_errand(sa2_desk *desk, sa2_voice_errand *errand);

/* As sa2_engine_cancel(), sa2_engine_pause() or sa2_engine_resume(), sa2_engine_poll(), sa2_event_release(). */
void sa2_desk_cancel(sa2_desk *desk, sa2_request_id id);
void sa2_desk_pause(sa2_desk *desk, bool paused);
sa2_event *sa2_desk_poll(sa2_desk *desk, int timeout_ms);
void sa2_desk_return(sa2_desk *desk, sa2_event *event);

/* Under the lock: the job has events to take, if it has; it has ended, its DONE is in the log. */
void sa2_desk_ready(sa2_desk *desk, sa2_job *job);
void sa2_desk_ended(sa2_desk *desk, sa2_job *job);

#endif
