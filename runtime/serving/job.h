/* job.h - a request inside the engine: its own copy of all it needs, until its last event is released.
 *
 * Everything that can be refused is refused before there is a job (job_draft.h), but for its memory and its samples.
 */
#ifndef SA2_RUNTIME_SERVING_JOB_H
#define SA2_RUNTIME_SERVING_JOB_H

#include "runtime/decoder/beam.h"
#include "runtime/serving/output.h"
#include "runtime/serving/prompt.h"
#include "runtime/serving/scheduler.h"
#include "runtime/serving/script.h"
#include "runtime/serving/speaker.h"
#include "runtime/serving/voices.h"

/* One chunk of sound in the prompt: what makes the rows of group.audio[i]. */
typedef struct sa2_clip {
    const float *samples; /* [n_samples], 16 kHz */
    int64_t n_samples;
    const float *rows; /* or [audio.n, hidden], given as they are; NULL */
} sa2_clip;

/* Reasoning first: a pass of its own, then the answer to a prompt that has the reasoning in it. */
typedef struct sa2_job_thinking {
    bool now; /* the first pass */
    sa2_output_rules rules;
    bool speak; /* the answer to come is spoken */
    int answer; /* positions kept for it */
} sa2_job_thinking;

typedef struct sa2_job_beams {
    sa2_beam *search;    /* NULL: no beam search */
    sa2_beam_next *next; /* [n] */
    int *parents;        /* [n] */
    int32_t *
        *spare; /* [n]: ids of the beams to be; they change places with those of the sequences */
    const float **logits; /* [n] */
} sa2_job_beams;

typedef struct sa2_job {
    sa2_sequence_group group; /* the first member: a group of the scheduler is a job */
    sa2_request_id id;
    sa2_arena arena; /* where all of this lies */
    size_t bytes;    /* that it counts for */
    const struct sa2_job_setting *setting;

    int max_positions; /* room of the ids of each sequence */
    sa2_kv_audio *audio;
    sa2_clip *clips;       /* [group.n_audio] */
    float *samples, *rows; /* that the clips point to */
    sa2_sampling_params sampling;
    uint64_t seed;
    sa2_output_rules rules;
    sa2_output *outputs; /* [n_outputs], one an answer */
    int n_outputs;
    sa2_job_thinking thinking;
    sa2_job_beams beams;
    sa2_script script;             /* of a text that is given */
    const sa2_speech_voice *voice; /* taken; NULL: no sound */
    sa2_utterance *utterances;     /* [n_outputs] with a voice */
    bool left;                     /* the model: only sound is still to come */

    sa2_usage usage;
    double submitted_ms, deadline_ms; /* of the clock; deadline 0: none */
    sa2_timings timings;              /* of the clock too, until they are told */
    int64_t last_step;                /* that it took part in, by the engine's count */

    /* Under the engine's lock. */
    sa2_event_log log;
    bool cancelled; /* asked for */
    bool ended;     /* DONE is in the log */
    bool told;      /* DONE was taken */
    int n_held;     /* events taken and not released */
    bool ready;     /* in the queue of jobs with events */
    struct sa2_job *next_ready;
    struct sa2_job *next, *previous; /* of all jobs */
    sa2_finish finish;
    sa2_status status; /* of a failure */
    char message[512];
} sa2_job;

/* What jobs are made with; outlives them. */
typedef struct sa2_job_setting {
    sa2_prompt_setting prompt;
    sa2_length_rule audio_rule;
    int hidden;
    int page_size, n_pages, max_num_seqs;
    size_t longest_token;           /* bytes; 0 without a tokenizer */
    const sa2_token2wav *token2wav; /* sizes only; NULL: an engine without speech */
    sa2_voices *voices;

    /* Counts `bytes` as taken, or refuses; and gives them back. */
    sa2_status (*reserve)(void *context, size_t bytes, sa2_error *err);
    void (*release)(void *context, size_t bytes);
    void *context;
} sa2_job_setting;

/* Rows of sound as they are, instead of sounds, for checks of the decoder alone. */
typedef struct sa2_given_rows {
    const float *rows;        /* [n, hidden] */
    const int32_t *positions; /* [n] in the prompt, rising */
    int n;
} sa2_given_rows;

struct sa2_job_draft;

/* The job of a draft that was made; the draft may go. Errors: SA2_ERR_LIMIT, SA2_ERR_NOMEM no memory for it;
 * SA2_ERR_FORMAT a sample that is no number; SA2_ERR_ARG no such voice. */
sa2_status sa2_job_create(sa2_job **job, const struct sa2_job_draft *draft, sa2_error *err);
void sa2_job_destroy(sa2_job *job); /* NULL is fine */

/* FINISHED of answer i goes into the log; nothing of it comes after. */
void sa2_job_tell_finished(sa2_job *job, int i);

#endif
