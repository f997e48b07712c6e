/* engine.h - the public interface of libsa2: a model that answers requests, many at once.
 *
 *   sa2_engine_create()  reads a model, plans all memory and prints the plan
 *   sa2_engine_submit()  takes a request, or refuses it at once with the reason
 *   sa2_engine_poll()    gives what happened: text, speech codes, sound, tool calls, the end
 *
 * All running requests share each step of the model: pieces of prompts and single rows of decoding
 * in one forward. A request's tokens depend on the request alone: not on its neighbours, on how its
 * prompt was cut, on preemption, nor on a prefix found in the cache. Codes of spoken answers become
 * sound between the steps, chunk by chunk as they come; so does its every sample depend on the request alone.
 *
 * Threads: submit, cancel, pause, poll and stats may be called from any thread. One thread of the engine's
 * own drives the device.
 */
#ifndef SA2_RUNTIME_ENGINE_H
#define SA2_RUNTIME_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"
#include "runtime/audio/audio_length.h"
#include "runtime/decoder/logprobs.h"
#include "runtime/decoder/sampling_params.h"
#include "runtime/quant.h"
#include "runtime/token2wav/voice.h"
#include "tokenizer/chat.h"
#include "tokenizer/chat_template.h"

typedef struct sa2_engine sa2_engine;

/* ---- the engine ---- */

/* Where tokens are chosen from logits; the tokens are the same. */
typedef enum sa2_sampling_place {
    SA2_SAMPLING_AUTO = 0, /* on the host */
    SA2_SAMPLING_ON_HOST,
    SA2_SAMPLING_ON_DEVICE, /* but for requests that only the host can serve (serving/chooser.h); a GPU, one rank */
} sa2_sampling_place;

typedef struct sa2_engine_options {
    const char *device; /* "auto" (or NULL) or a name of backend.h */
    const char *isa;    /* "auto" (or NULL): of the CPU backend */
    int n_threads;      /* 0: all processors */
    bool cuda_graphs;   /* steps start as graphs where the device has them; answers are the same */
    /* Of a GPU: "own" (or NULL), or "cublaslt", whose settings are in backend.h: that library computes products of 1024 rows
     * and more. An answer then depends on the rows that are computed with its prompt, within the rounding to bf16. */
    const char *large_products;
    sa2_sampling_place sampling;
    /* With sampling on the device: a step of decoding is queued before the tokens of the one before it are known to the host,
     * where it would be the same whatever they are. Answers are the same. */
    bool run_ahead;
    bool f32;     /* activations and cache in f32 instead of bf16 */
    bool kv_int8; /* the cache in 8 bits instead: half the bytes of bf16, and a step a row */
    sa2_quant_options quant; /* weights of the decoder in fewer bits */

    int max_model_len;          /* positions of a request; 0: what the model has */
    int max_num_seqs;           /* requests (choices, beams) that run at once; 0: 32 */
    int max_num_batched_tokens; /* rows of a step; 0: 512 */
    int block_size;             /* positions in a page of the cache, a multiple of 16; 0: 64 */
    size_t kv_cache_bytes;      /* 0: what max_num_seqs requests of 2048 positions need, at least
                                   one request of max_model_len */
    int max_queued;             /* requests that may wait; 0: 1024 */
    bool no_prefix_caching;

    size_t request_bytes; /* host memory of all requests together: sounds, ids, texts; 0: 256 MB,
                             at least what the largest request needs */

    /* The ranks that share the decoder (serving/comm.h); it outlives the engine. Rank 0 has the engine, the others
     * follow with the same options. NULL: one rank. */
    struct sa2_comm *comm;

    sa2_length_rule audio_rule; /* how many rows a clip has in the prompt */
    sa2_template template;
    bool literal_user_text; /* control tokens written by a user are plain text */

    bool speech;                /* spoken answers have sound: the folder's token2wav/ is used */
    bool speech_bf16;           /* products of its flow in bf16 */
    int max_speech_streams;     /* computed side by side; 0: 4. Others wait for their turn */
    int max_speech_seconds;     /* of an answer, which ends there; 0: 60 */
    int max_voices;             /* set up at the same time; 0: 1 */
    int max_voice_seconds;      /* of a voice; 0: 17 */
    uint64_t speech_noise_seed; /* of the flow's noise, which all streams share */

    void (*log)(void *context,
                const char *line); /* the plan, and what loading does; NULL: silent */
    void (*progress)(void *context, const char *what, size_t done, size_t total); /* bytes loaded */
    void *context;
} sa2_engine_options;

/* `model` is a release folder or a native file. options NULL: defaults. Errors, all of one folder in one report:
 * SA2_ERR_IO, SA2_ERR_FORMAT; SA2_ERR_NOMEM with the sum of the plan; SA2_ERR_ARG an option that makes
 * no sense; SA2_ERR_UNSUPPORTED no such device. */
sa2_status sa2_engine_create(sa2_engine **engine, const char *model,
                             const sa2_engine_options *options, sa2_error *err);

/* What ranks other than 0 do with the same model and options: they take part in rank 0's engine until that is destroyed.
 * Errors: as above; SA2_ERR_DEVICE a rank that fails, dies or is silent, by its number. */
sa2_status sa2_engine_follow(const char *model, const sa2_engine_options *options, sa2_error *err);

/* Cancels what still runs, without events; no other call may be under way. NULL is fine. */
void sa2_engine_destroy(sa2_engine *engine);

/* Of the model: for whoever encodes or decodes text beside the engine. Valid as long as the engine. */
const sa2_tokenizer *sa2_engine_tokenizer(const sa2_engine *engine);
const sa2_special *sa2_engine_special(const sa2_engine *engine);
int sa2_engine_max_model_len(const sa2_engine *engine);

/* ---- voices ---- */

/* Sets up a voice, of voice.h or a file of voices, to be named in requests. Waits for the step that is under way.
 * Errors: SA2_ERR_UNSUPPORTED an engine without speech; SA2_ERR_ARG a name that is empty, longer than 64 bytes or there
 * already, a voice of other sizes than the model's; SA2_ERR_LIMIT more than max_voices or max_voice_seconds. */
sa2_status sa2_engine_add_voice(sa2_engine *engine, const char *name, const sa2_voice *voice,
                                sa2_error *err);

/* Errors: SA2_ERR_UNSUPPORTED; SA2_ERR_ARG no voice of this name, requests that speak in it. */
sa2_status sa2_engine_remove_voice(sa2_engine *engine, const char *name, sa2_error *err);

/* ---- a request ---- */

/* One sound of the prompt: mono, any rate from 1000 to 384000 Hz, at most 30 minutes. */
typedef struct sa2_sound {
    const float *samples; /* nominally in [-1, 1] */
    int64_t n_samples;
    int rate; /* Hz */
} sa2_sound;

typedef struct sa2_beam_options {
    int n_beams;          /* 0 or 1: none */
    float length_penalty; /* score / length^this */
    bool early_stopping;
    bool whole_length; /* rank by the length with the prompt and never stop early, as StepFun's
                             fork of vLLM does for use_beam_search */
} sa2_beam_options;

/* Everything is copied by submit. Start from sa2_request_default(). */
typedef struct sa2_request {
    /* The prompt: exactly one of the three. */
    const sa2_chat *chat; /* turns, by the engine's template; audio items take `sounds` in order */
    const sa2_chat_item *pieces; /* of a base model, which knows no turns; audio items likewise */
    size_t n_pieces;
    const int32_t
        *ids; /* as they are; <audio_start>, A x <audio_patch>, <audio_end> take `sounds` */
    size_t n_ids;
    const sa2_sound *sounds;
    size_t n_sounds;

    bool speak;        /* the answer starts with <tts_start>: text and speech codes */
    const char *say;   /* the text of a spoken answer, word for word: only its sound is made up */
    const char *voice; /* its codes become sound in this voice; NULL: no sound */
    int first_chunk; /* codes of the first piece of sound, 4 to 25, doubled until they are 25; 0: 25 from the start */
    uint64_t sound_seed;     /* of the vocoder's noise */
    bool think;              /* reason first, then answer: two passes (chat only) */
    int max_thinking_tokens; /* 0: no limit but the context's */

    sa2_sampling_params sampling;
    sa2_beam_options beam;
    int n;          /* answers; 0: 1 */
    int max_tokens; /* of each answer; 0: what the context leaves */
    bool ignore_eos;
    const char *const *stop; /* strings at which the answer ends */
    size_t n_stop;
    bool include_stop;       /* the matched string stays in the text */
    const int32_t *stop_ids; /* beside the model's own */
    size_t n_stop_ids;
    bool keep_special;      /* special tokens stay in the text */
    bool one_tool_call;     /* end after the first (parallel_tool_calls: false) */
    bool return_ids;        /* events carry the ids */
    int64_t deadline_ms;    /* from submit; 0: none */
    const char *cache_salt; /* requests share prefixes only within one salt; NULL: none */
} sa2_request;

/* The defaults of vLLM: temperature 1, no truncation, no penalties, random seed. */
sa2_request sa2_request_default(void);

typedef int64_t sa2_request_id; /* from 1 on, never used twice */

/* Queues the request. Errors, nothing is queued: SA2_ERR_ARG a field, by name, with its range and what was
 * found; SA2_ERR_LIMIT a prompt that never fits (positions, pages, sound), too many waiting;
 * SA2_ERR_FORMAT a template that cannot be rendered, NaN among samples; SA2_ERR_NOMEM. */
sa2_status sa2_engine_submit(sa2_engine *engine, const sa2_request *request, sa2_request_id *id,
                             sa2_error *err);

/* The request ends with reason SA2_FINISH_CANCELLED at the next step. One that is not there is fine. */
void sa2_engine_cancel(sa2_engine *engine, sa2_request_id id);

/* Ends the steps that are under way; no further one begins and what is submitted waits, until it is resumed: for requests
 * that are to begin in the same step. Cancellations and deadlines take effect, voices are set up, sound of what was said still
 * comes. Either is fine twice. */
void sa2_engine_pause(sa2_engine *engine);
void sa2_engine_resume(sa2_engine *engine);

/* ---- events ---- */

typedef enum sa2_event_kind {
    SA2_EVENT_NONE = 0,  /* the timeout passed */
    SA2_EVENT_TEXT,      /* of the answer */
    SA2_EVENT_REASONING, /* text before the answer */
    SA2_EVENT_SPOKEN,    /* text of a spoken answer */
    SA2_EVENT_CODES,     /* speech codes 0 to 6560 of a spoken answer */
    SA2_EVENT_AUDIO,     /* samples of a spoken answer in a voice */
    SA2_EVENT_TOOL_CALL, /* a whole call */
    SA2_EVENT_TOKEN,     /* one generated id, when return_ids or logprobs were asked for */
    SA2_EVENT_FINISHED,  /* one answer of the request is complete */
    SA2_EVENT_DONE, /* the last event of a request: all its answers are complete, or it failed */
} sa2_event_kind;

typedef enum sa2_finish {
    SA2_FINISH_STOP = 0, /* an end token, a stop id or a stop string */
    SA2_FINISH_LENGTH,   /* max_tokens, or the context is full */
    SA2_FINISH_TOOL_CALLS,
    SA2_FINISH_CANCELLED,
    SA2_FINISH_DEADLINE,
    SA2_FINISH_ERROR,
} sa2_finish;

const char *sa2_finish_name(sa2_finish finish); /* "stop", "length", "tool_calls", ... */

typedef struct sa2_usage {
    int prompt_tokens;
    int cached_tokens;     /* of the prompt, found in the cache */
    int audio_tokens;      /* of the prompt: rows of sound and their brackets */
    int completion_tokens; /* of all answers; stop ids are counted */
    int speech_tokens;     /* of them */
    int reasoning_tokens;  /* of them */
} sa2_usage;

/* Milliseconds since submit; -1: has not happened. */
typedef struct sa2_timings {
    double started_ms; /* left the queue */
    double encoded_ms; /* sound is encoded */
    double first_token_ms;
    double first_audio_ms;
    double done_ms;
    int n_steps; /* of the model that this request took part in */
    int n_preemptions;
} sa2_timings;

/* Strings are UTF-8, followed by a 0. They and the arrays live until sa2_event_release(). */
typedef struct sa2_event {
    sa2_event_kind kind;
    sa2_request_id request;
    int choice; /* which of the n answers */

    const char *text; /* TEXT, REASONING, SPOKEN */
    size_t n_bytes;
    const int32_t *codes; /* CODES */
    size_t n_codes;
    const float *samples; /* AUDIO: mono, 24 kHz */
    size_t n_samples;
    int tool_index; /* TOOL_CALL */
    const char *tool_name;
    const char *tool_arguments; /* JSON */
    int32_t id;                 /* TOKEN */
    float logprob;              /* NaN: none was asked for */
    const sa2_logprob *top;     /* best first */
    size_t n_top;

    sa2_finish finish;       /* FINISHED; DONE: of the first answer */
    const char *stop_string; /* FINISHED: the string that matched, or NULL */
    int32_t stop_id;         /* FINISHED: of stop_ids, or -1 */
    double score;            /* FINISHED: of beam search */
    const int32_t *ids;      /* FINISHED: all ids of the answer as generated, for the history */
    size_t n_ids;
    sa2_usage usage;     /* DONE */
    sa2_timings timings; /* DONE */
    sa2_status status;   /* DONE with SA2_FINISH_ERROR */
    const char *message;
} sa2_event;

enum { SA2_MAX_EVENTS_HELD = 256 };

/* Waits for the next event of any request, at most timeout_ms (negative: as long as it takes). NULL when
 * the time has passed. Every event is given out once and in order of its request; text and codes that
 * nobody took yet come as one. While SA2_MAX_EVENTS_HELD are not released there is no next one. */
sa2_event *sa2_engine_poll(sa2_engine *engine, int timeout_ms);
void sa2_event_release(sa2_engine *engine, sa2_event *event); /* NULL is fine */

/* ---- figures ---- */

typedef struct sa2_engine_stats {
    int n_running, n_waiting;
    int n_pages, n_pages_free,
        n_pages_cached;      /* cached: free, with a prefix that may be found again */
    int64_t n_steps, n_rows; /* of the decoder so far */
    int64_t n_prompt_tokens, n_cached_tokens, n_generated_tokens;
    int64_t n_preemptions;
    int64_t n_steps_ahead;        /* queued behind a step that was under way */
    int64_t n_rows_dropped;       /* of these steps, computed for an answer that had ended */
    int64_t n_steps_beside_sound; /* computed while a device made sound */
    double step_ms_total, encode_ms_total, speech_ms_total;
    int64_t n_speech_samples;
    size_t weights_bytes, kv_bytes, work_bytes, host_bytes, speech_bytes; /* the plan */
} sa2_engine_stats;

void sa2_engine_get_stats(sa2_engine *engine, sa2_engine_stats *stats);

#endif
