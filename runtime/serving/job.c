#include "runtime/serving/job.h"

#include <string.h>

#include "runtime/serving/job_draft.h"
#include "runtime/serving/request_check.h"

/* ---- memory ---- */

/* Measures with arena NULL, then takes; both go through the same calls. */
typedef struct layout {
    sa2_arena *arena;
    size_t bytes, uncounted;
} layout;

static void *take(layout *l, size_t n, size_t size)
{
    l->bytes += sa2_arena_round(n * size);
    return l->arena != NULL ? sa2_arena_take(l->arena, n * size) : NULL;
}

static const void *copy(layout *l, const void *data, size_t n, size_t size)
{
    void *to = take(l, n, size);
    if (to != NULL && n > 0)
        memcpy(to, data, n * size);
    return to;
}

static sa2_token_list copy_list(layout *l, sa2_token_list list)
{
    return (sa2_token_list){copy(l, list.ids, (size_t)list.n, sizeof *list.ids), list.n};
}

static void lay_sampling(layout *l, sa2_job *job, const sa2_request *request)
{
    sa2_sampling_params *p = &job->sampling;
    *p = request->sampling;
    p->logit_bias = copy(l, p->logit_bias, (size_t)p->n_logit_bias, sizeof *p->logit_bias);
    p->allowed = copy_list(l, p->allowed);
    sa2_token_list *words = take(l, (size_t)p->n_bad_words, sizeof *words);
    for (int i = 0; i < p->n_bad_words; i++) {
        sa2_token_list word = copy_list(l, request->sampling.bad_words[i]);
        if (words != NULL)
            words[i] = word;
    }
    p->bad_words = words;
}

/* The ids that end an answer: the model's own, the request's, both together for the sampler. */
static void lay_stops(layout *l, sa2_job *job, const sa2_job_draft *d)
{
    const sa2_request *request = d->request;
    const sa2_special *special = d->setting->prompt.special;
    int n_own = special != NULL && !request->ignore_eos ? SA2_N_STOP_IDS : 0;
    int n_asked = (int)request->n_stop_ids + request->sampling.stop.n;
    int32_t *ids = take(l, (size_t)n_own + (size_t)n_asked, sizeof *ids);
    if (ids != NULL) {
        if (n_own > 0)
            memcpy(ids, special->stop_ids, sizeof special->stop_ids);
        int32_t *asked = ids + n_own;
        if (request->n_stop_ids > 0)
            memcpy(asked, request->stop_ids, request->n_stop_ids * sizeof *ids);
        if (request->sampling.stop.n > 0)
            memcpy(asked + request->n_stop_ids, request->sampling.stop.ids,
                   (size_t)request->sampling.stop.n * sizeof *ids);
    }
    job->rules.end_ids = (sa2_token_list){ids, n_own};
    job->rules.stop_ids = (sa2_token_list){ids != NULL ? ids + n_own : NULL, n_asked};
    job->sampling.stop = (sa2_token_list){ids, n_own + n_asked};

    const char **strings = take(l, request->n_stop, sizeof *strings);
    for (size_t i = 0; i < request->n_stop; i++) {
        const char *string = copy(l, request->stop[i], strlen(request->stop[i]) + 1, 1);
        if (strings != NULL)
            strings[i] = string;
    }
    job->rules.stop = (sa2_stop_strings){strings, (int)request->n_stop, request->include_stop};
}

static void lay_tool_names(layout *l, sa2_job *job, const sa2_job_draft *d)
{
    const sa2_tool_names *tools = &d->tools;
    const char **names = take(l, tools->n, sizeof *names);
    for (size_t i = 0; i < tools->n; i++) {
        const char *name = copy(l, tools->names[i], strlen(tools->names[i]) + 1, 1);
        if (names != NULL)
            names[i] = name;
    }
    job->rules.tool_names = tools->names != NULL ? names : NULL;
    job->rules.n_tool_names = tools->n;
}

static void lay_beams(layout *l, sa2_job *job, const sa2_job_draft *d)
{
    if (d->request->beam.n_beams <= 1)
        return;
    size_t n = (size_t)d->n_sequences;
    sa2_job_beams *b = &job->beams;
    b->next = take(l, n, sizeof *b->next);
    b->parents = take(l, n, sizeof *b->parents);
    b->spare = take(l, n, sizeof *b->spare);
    b->logits = take(l, n, sizeof *b->logits);
    for (size_t i = 0; i < n; i++) {
        int32_t *ids = take(l, (size_t)d->max_positions, sizeof *ids);
        if (b->spare != NULL)
            b->spare[i] = ids;
    }
}

static void lay_script(layout *l, sa2_job *job, const sa2_job_draft *d)
{
    const sa2_special *special = d->setting->prompt.special;
    if (d->say.n == 0)
        return;
    const int32_t *ids = copy(l, d->say.data, d->say.n, sizeof *ids);
    int32_t *speech = take(l, (size_t)sa2_script_speech_ids(special), sizeof *speech);
    if (speech != NULL)
        job->script = sa2_script_of(special, ids, (int)d->say.n, speech);
}

/* Sound of the answers; samples count, and exist once they are written. */
static void lay_speech(layout *l, sa2_job *job, const sa2_job_draft *d)
{
    if (d->request->voice == NULL)
        return;
    sa2_utterance *u = take(l, (size_t)d->n_outputs, sizeof *u);
    for (int i = 0; i < d->n_outputs; i++) {
        int32_t *codes = take(l, (size_t)d->max_codes, sizeof *codes);
        if (u != NULL)
            u[i] = (sa2_utterance){.speech = {.codes = codes}};
    }
    job->utterances = u;
}

/* What is written while the request runs. Text is planned for the longest tokens there are, but counts as 16 bytes a
 * token: pages that nobody touches do not exist. */
static size_t samples_of(const sa2_job_draft *d)
{
    if (d->request->voice == NULL)
        return 0;
    return (size_t)d->n_outputs * (size_t)sa2_speech_samples(d->setting->token2wav, d->max_codes);
}

static void lay_log(layout *l, sa2_job *job, const sa2_job_draft *d)
{
    size_t longest = d->setting->longest_token;
    size_t tokens = (size_t)d->n_outputs * (size_t)(d->max_tokens + d->max_thinking);
    bool tell = d->request->return_ids || d->request->sampling.n_logprobs >= 0;
    sa2_event_room room = {.runs = tokens * 4 + 8 * (size_t)d->n_outputs,
                           .text = tokens * (3 * longest + 1) + 64, /* U+FFFD for each byte */
                           .codes = longest > 0 ? tokens : 0,
                           .samples = samples_of(d),
                           .tokens = tell ? tokens : 0};
    room.n_top = tell && d->request->sampling.n_logprobs > 0 ? d->request->sampling.n_logprobs : 0;
    sa2_event_log *log = &job->log;
    *log = (sa2_event_log){.room = room};
    log->runs = take(l, room.runs + (size_t)d->n_outputs + 1, sizeof *log->runs);
    log->codes = take(l, room.codes, sizeof *log->codes);
    log->samples = take(l, room.samples, sizeof *log->samples);
    log->tokens = take(l, room.tokens, sizeof *log->tokens);
    log->top = take(l, room.tokens * (size_t)room.n_top, sizeof *log->top);
    size_t record = (size_t)d->max_thinking * 3 * longest;
    char *text = take(l, record, 1);
    if (job->outputs != NULL)
        job->outputs[0].record = (sa2_output_record){.text = text, .room = record};
    log->text = take(l, room.text, 1);
    size_t planned = record + room.text, expected = 16 * tokens + 64;
    l->uncounted = planned > expected ? planned - expected : 0;
}

/* Into *job, which is in the arena already when there is one. */
static void lay_out(layout *l, sa2_job *job, const sa2_job_draft *d)
{
    size_t n = (size_t)d->n_sequences, n_rows = d->given != NULL ? (size_t)d->given->n : 0;
    job->max_positions = d->max_positions;
    job->n_outputs = d->n_outputs;
    job->group.n_sequences = d->n_sequences;
    job->group.sequences = take(l, n, sizeof *job->group.sequences);
    job->outputs = take(l, (size_t)d->n_outputs, sizeof *job->outputs);
    for (size_t i = 0; i < n; i++) {
        int32_t *ids = take(l, (size_t)d->max_positions, sizeof *ids);
        if (l->arena != NULL)
            job->group.sequences[i].ids = ids;
    }
    lay_sampling(l, job, d->request);
    lay_stops(l, job, d);
    lay_tool_names(l, job, d);
    lay_beams(l, job, d);
    job->audio = take(l, d->n_clips, sizeof *job->audio);
    job->clips = take(l, d->n_clips, sizeof *job->clips);
    job->samples = take(l, (size_t)d->sounds.total_samples, sizeof *job->samples);
    job->rows = take(l, n_rows * (size_t)d->setting->hidden, sizeof *job->rows);
    lay_script(l, job, d);
    lay_speech(l, job, d);
    lay_log(l, job, d);
}

/* ---- filling ---- */

static void fill_rules(sa2_job *job, const sa2_job_draft *d)
{
    const sa2_request *request = d->request;
    const sa2_prompt_setting *setting = &d->setting->prompt;
    const sa2_ids *ids = &d->prompt.ids;
    sa2_output_rules *rules = &job->rules;
    rules->tokenizer = setting->encoder != NULL ? sa2_encoder_tokenizer(setting->encoder) : NULL;
    rules->special = setting->special;
    rules->min_tokens = request->sampling.min_tokens;
    rules->max_tokens = d->max_tokens;
    rules->spoken =
        setting->special != NULL && ids->data[ids->n - 1] == setting->special->tts_start;
    rules->keep_special = request->keep_special;
    rules->one_tool_call = request->one_tool_call;
    rules->tell_tokens = job->log.room.tokens > 0;
    job->thinking =
        (sa2_job_thinking){.now = request->think, .speak = request->speak, .answer = d->max_answer};
    if (!request->think)
        return;
    static const char *const end_of_thought[] = {"</think>"};
    sa2_output_rules *thinking = &job->thinking.rules;
    *thinking = *rules;
    thinking->stop = (sa2_stop_strings){end_of_thought, 1, false};
    thinking->reasoning = true;
    thinking->min_tokens = 0;
    thinking->max_tokens = d->max_thinking;
}

static sa2_beam_params beam_params(const sa2_job *job, const sa2_job_draft *d)
{
    sa2_beam_params params = sa2_request_beam(d->request, d->setting->prompt.n_tokens);
    params.max_tokens = d->max_tokens;
    params.eos = job->sampling.stop;
    return params;
}

static sa2_status fill_beams(sa2_job *job, const sa2_job_draft *d, sa2_error *err)
{
    if (d->request->beam.n_beams <= 1)
        return SA2_OK;
    sa2_beam_params params = beam_params(job, d);
    sa2_status st = sa2_beam_check(&params, err);
    if (st == SA2_OK)
        st = sa2_beam_create(&job->beams.search, &params, job->group.sequences[0].ids,
                             job->group.n_prompt, &job->arena, err);
    return st;
}

static void fill_sequences(sa2_job *job, const sa2_job_draft *d)
{
    const sa2_ids *ids = &d->prompt.ids;
    job->group.n_prompt = (int)ids->n;
    job->group.lockstep = d->request->beam.n_beams > 1;
    for (int i = 0; i < d->n_sequences; i++) {
        sa2_sequence *sequence = &job->group.sequences[i];
        memcpy(sequence->ids, ids->data, ids->n * sizeof *ids->data);
        sequence->n_ids = (int)ids->n;
        if (job->beams.spare != NULL)
            memcpy(job->beams.spare[i], ids->data, ids->n * sizeof *ids->data);
    }
    const sa2_output_rules *rules = job->thinking.now ? &job->thinking.rules : &job->rules;
    for (int i = 0; i < d->n_sequences; i++)
        job->group.sequences[i].max_ids = (int)ids->n + rules->max_tokens;
    for (int i = 0; i < d->n_outputs; i++) {
        job->outputs[i].log = &job->log;
        job->outputs[i].choice = i;
        sa2_output_begin(&job->outputs[i], rules);
    }
    job->timings = (sa2_timings){
        .started_ms = -1.0, .encoded_ms = -1.0, .first_token_ms = -1.0, .first_audio_ms = -1.0};
    job->usage.prompt_tokens = (int)ids->n;
    job->usage.audio_tokens = d->n_audio_positions;
    const char *salt = d->request->cache_salt;
    job->group.salt = salt != NULL ? sa2_kv_hash_bytes(salt, strlen(salt)).low : 0;
}

/* Clips of sound, each known by a hash of its samples. */
static void fill_clips(sa2_job *job, const sa2_job_draft *d)
{
    for (size_t i = 0; i < d->prompt.n_slots; i++) {
        const sa2_audio_slot *slot = &d->prompt.slots[i];
        if (slot->n == 0)
            continue;
        int64_t first, n = sa2_sound_list_chunk(&d->sounds, slot->audio, slot->chunk, &first);
        int k = job->group.n_audio++;
        const float *samples = job->samples + first;
        job->clips[k] = (sa2_clip){.samples = samples, .n_samples = n};
        job->audio[k] =
            (sa2_kv_audio){.first = (int)slot->first,
                           .n = slot->n,
                           .hash = sa2_kv_hash_bytes(samples, (size_t)n * sizeof *samples)};
    }
}

/* Rows given as they are; every run of neighbouring positions is a clip. */
static void fill_given(sa2_job *job, const sa2_job_draft *d)
{
    const sa2_given_rows *given = d->given;
    size_t row = (size_t)d->setting->hidden;
    memcpy(job->rows, given->rows, (size_t)given->n * row * sizeof *job->rows);
    for (int i = 0, end; i < given->n; i = end) {
        for (end = i + 1; end < given->n && given->positions[end] == given->positions[end - 1] + 1;)
            end++;
        int k = job->group.n_audio++;
        const float *first = job->rows + (size_t)i * row;
        job->clips[k] = (sa2_clip){.rows = first};
        job->audio[k] = (sa2_kv_audio){
            .first = given->positions[i],
            .n = end - i,
            .hash = sa2_kv_hash_bytes(first, (size_t)(end - i) * row * sizeof *first)};
    }
}

/* The voice is taken until the job goes. */
static sa2_status fill_speech(sa2_job *job, const sa2_job_draft *d, sa2_error *err)
{
    const sa2_request *request = d->request;
    if (request->voice == NULL)
        return SA2_OK;
    sa2_speech_ladder ladder = {0};
    sa2_status st = sa2_voices_take(d->setting->voices, request->voice, &job->voice, err);
    if (st == SA2_OK && request->first_chunk > 0)
        st = sa2_speech_ladder_from(&ladder, request->first_chunk, err);
    for (int i = 0; i < d->n_outputs && st == SA2_OK; i++) {
        sa2_utterance *u = &job->utterances[i];
        u->owner = job;
        u->choice = i;
        u->seed = request->sound_seed;
        job->outputs[i].speech = &u->speech;
        st = sa2_speech_init(d->setting->token2wav, &u->speech, job->voice, &ladder,
                             u->speech.codes, d->max_codes, err);
    }
    return st;
}

static sa2_status fill(sa2_job *job, const sa2_job_draft *d, sa2_error *err)
{
    sa2_status st = sa2_sound_list_resample(&d->sounds, job->samples, err);
    if (st != SA2_OK)
        return st;
    fill_rules(job, d);
    fill_sequences(job, d);
    fill_clips(job, d);
    if (d->given != NULL && d->given->n > 0)
        fill_given(job, d);
    job->group.audio = job->audio;
    st = fill_speech(job, d, err);
    return st == SA2_OK ? fill_beams(job, d, err) : st;
}

/* ---- a job ---- */

/* Memory that is counted, then taken. */
sa2_status sa2_job_create(sa2_job **job, const sa2_job_draft *d, sa2_error *err)
{
    layout l = {0};
    sa2_job measured = {0};
    take(&l, 1, sizeof measured);
    lay_out(&l, &measured, d);
    if (d->request->beam.n_beams > 1) {
        sa2_beam_params params = beam_params(&measured, d);
        l.bytes += sa2_arena_round(sa2_beam_bytes(&params));
    }
    size_t counted = l.bytes - l.uncounted;
    sa2_status st = d->setting->reserve(d->setting->context, counted, err);
    if (st != SA2_OK)
        return st;
    sa2_arena arena;
    st = sa2_arena_reserve(&arena, l.bytes, err);
    if (st != SA2_OK) {
        d->setting->release(d->setting->context, counted);
        return sa2_wrap(err, st, "request");
    }
    l = (layout){.arena = &arena};
    sa2_job *made = take(&l, 1, sizeof *made);
    lay_out(&l, made, d);
    made->arena = arena;
    made->bytes = counted;
    made->setting = d->setting;
    st = fill(made, d, err);
    if (st != SA2_OK)
        sa2_job_destroy(made);
    else
        *job = made;
    return st;
}

void sa2_job_destroy(sa2_job *job)
{
    if (job == NULL)
        return;
    for (int i = 0; i < job->n_outputs; i++)
        sa2_output_free(&job->outputs[i]);
    sa2_voices_give(job->setting->voices, job->voice);
    job->setting->release(job->setting->context, job->bytes);
    sa2_arena arena = job->arena; /* the job lies in it */
    sa2_arena_destroy(&arena);
}

void sa2_job_tell_finished(sa2_job *job, int i)
{
    sa2_event_log_mark(&job->log, SA2_EVENT_FINISHED, i);
    job->outputs[i].told = true;
}
