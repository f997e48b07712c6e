#include "runtime/engine.h"

#include <assert.h>
#include <stdlib.h>

#include "runtime/serving/engine_internal.h"
#include "runtime/serving/job_draft.h"
#include "runtime/token2wav/token2wav_files.h"

const char *sa2_finish_name(sa2_finish finish)
{
    switch (finish) {
    case SA2_FINISH_STOP:
        return "stop";
    case SA2_FINISH_LENGTH:
        return "length";
    case SA2_FINISH_TOOL_CALLS:
        return "tool_calls";
    case SA2_FINISH_CANCELLED:
        return "cancelled";
    case SA2_FINISH_DEADLINE:
        return "deadline";
    case SA2_FINISH_ERROR:
        return "error";
    }
    return "?";
}

sa2_request sa2_request_default(void)
{
    return (sa2_request){.sampling = sa2_sampling_defaults(SA2_SAMPLING_VLLM),
                         .beam = {.length_penalty = 1.0f},
                         .n = 1};
}

/* ---- create ---- */

/* The plan of a model whose sizes are known, told and judged. */
static sa2_status plan_engine(void *engine, const sa2_model *model, sa2_error *err)
{
    sa2_engine *e = engine;
    return sa2_ranks_plan(&e->agreement, &e->plan, &e->options, model, e->speaker.token2wav, err);
}

/* What requests are made with. */
static sa2_status set_up_requests(sa2_engine *e, sa2_error *err)
{
    const sa2_engine_plan *plan = &e->plan;
    sa2_encoder *encoder = NULL;
    if (e->model->tokenizer != NULL) {
        sa2_status st = sa2_encoder_create(&encoder, e->model->tokenizer, err);
        if (st != SA2_OK)
            return st;
    }
    e->setting = (sa2_job_setting){
        .prompt = sa2_machine_prompt_setting(plan, &e->options, e->model, encoder),
        .audio_rule = e->options.audio_rule,
        .hidden = e->model->config.decoder.hidden,
        .page_size = plan->page_size,
        .n_pages = plan->n_pages,
        .max_num_seqs = plan->max_num_seqs,
        .longest_token = e->machine.longest_token,
        .token2wav = e->speaker.token2wav,
        .voices = &e->voices,
        .reserve = sa2_desk_reserve,
        .release = sa2_desk_release,
        .context = &e->desk};
    e->has_submitting = pthread_mutex_init(&e->submitting, NULL) == 0;
    return e->has_submitting ? SA2_OK : sa2_fail(err, SA2_ERR_NOMEM, "engine: no lock");
}

/* Everything behind the plan. */
static sa2_status start(sa2_engine *e, sa2_error *err)
{
    const sa2_engine_plan *plan = &e->plan;
    sa2_status st =
        sa2_desk_open(&e->desk, plan->max_num_seqs + plan->max_queued, plan->requests, err);
    if (st == SA2_OK)
        st = sa2_machine_create(&e->machine, plan, &e->options, e->model, err);
    if (st == SA2_OK)
        st = sa2_voices_open(&e->voices, sa2_engine_plan_voices(&e->options), err);
    if (st == SA2_OK)
        st = set_up_requests(e, err);
    st = sa2_ranks_agree(&e->agreement, st, plan, err);
    if (st != SA2_OK)
        return st;
    e->desk.stats = (sa2_engine_stats){.n_pages = plan->n_pages,
                                       .n_pages_free = plan->n_pages,
                                       .weights_bytes = plan->weights,
                                       .kv_bytes = plan->pages,
                                       .work_bytes = plan->device + plan->work + plan->scratch,
                                       .host_bytes = plan->host + plan->requests,
                                       .speech_bytes = plan->speech};
    e->has_thread = pthread_create(&e->thread, NULL, sa2_engine_drive, e) == 0;
    return e->has_thread ? SA2_OK : sa2_fail(err, SA2_ERR_NOMEM, "engine: no thread");
}

/* An engine of nothing but its options. */
static sa2_status allocate(sa2_engine **engine, const sa2_engine_options *options, sa2_error *err)
{
    *engine = NULL;
    sa2_engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "engine: no memory");
    if (options != NULL)
        e->options = *options;
    e->agreement.comm = e->options.comm;
    *engine = e;
    return SA2_OK;
}

static sa2_status give_up(sa2_engine **engine, sa2_status st)
{
    sa2_ranks_agree(&(*engine)->agreement, st, &(*engine)->plan, NULL);
    sa2_engine_destroy(*engine);
    *engine = NULL;
    return st;
}

sa2_status sa2_engine_create_from_model(sa2_engine **engine, const sa2_model *model,
                                        sa2_token2wav *token2wav, const sa2_engine_options *options,
                                        sa2_error *err)
{
    sa2_status st = allocate(engine, options, err);
    if (st != SA2_OK)
        return st;
    assert(*engine != NULL);
    (*engine)->model = model;
    (*engine)->speaker.token2wav = token2wav;
    st = plan_engine(*engine, model, err);
    if (st == SA2_OK)
        st = start(*engine, err);
    return st == SA2_OK ? st : give_up(engine, st);
}

static void show_progress(void *engine, const char *what, size_t done, size_t total)
{
    const sa2_engine_options *options = &((const sa2_engine *)engine)->options;
    if (options->progress != NULL)
        options->progress(options->context, what, done, total);
}

/* First, so that its sizes are in the plan. */
static sa2_status open_speech(sa2_engine *e, const char *model, sa2_error *err)
{
    char place[4096];
    sa2_token2wav_options options;
    sa2_status st = sa2_token2wav_place(place, sizeof place, model, err);
    if (st == SA2_OK)
        st = sa2_engine_plan_token2wav(&options, &e->options, err);
    if (st == SA2_OK)
        st = sa2_token2wav_open(&e->own_token2wav, e->own_backend, place, &options, err);
    if (st == SA2_OK)
        e->speaker.token2wav = &e->own_token2wav;
    return st;
}

sa2_status sa2_engine_create(sa2_engine **engine, const char *model,
                             const sa2_engine_options *options, sa2_error *err)
{
    sa2_status st = allocate(engine, options, err);
    if (st != SA2_OK)
        return st;
    sa2_engine *e = *engine;
    assert(e != NULL);
    const sa2_backend_options device = sa2_engine_plan_device(&e->options);
    sa2_model_options loading = sa2_engine_plan_model(&e->options);
    loading.measured = plan_engine;
    loading.progress = show_progress;
    loading.context = e;
    st = sa2_backend_open(&e->own_backend, &device, err);
    if (st == SA2_OK && e->options.speech)
        st = open_speech(e, model, err);
    if (st == SA2_OK)
        st = sa2_model_open(&e->own_model, e->own_backend, model, &loading, err);
    if (st == SA2_OK) {
        e->model = &e->own_model;
        e->options.device = e->options.isa = NULL; /* the caller's */
        st = start(e, err);
    }
    return st == SA2_OK ? st : give_up(engine, st);
}

void sa2_engine_destroy(sa2_engine *e)
{
    if (e == NULL)
        return;
    if (e->has_thread) {
        pthread_mutex_lock(&e->desk.lock);
        e->desk.closing = true;
        pthread_cond_signal(&e->desk.work);
        pthread_mutex_unlock(&e->desk.lock);
        pthread_join(e->thread, NULL);
    }
    sa2_desk_close(&e->desk);
    sa2_machine_destroy(&e->machine);
    sa2_voices_close(&e->voices);
    sa2_token2wav_close(&e->own_token2wav);
    sa2_encoder_destroy(e->setting.prompt.encoder);
    if (e->has_submitting)
        pthread_mutex_destroy(&e->submitting);
    sa2_model_close(&e->own_model);
    sa2_backend_close(e->own_backend);
    free(e);
}

/* ---- of the model ---- */

const sa2_tokenizer *sa2_engine_tokenizer(const sa2_engine *e)
{
    return e->model->tokenizer;
}

const sa2_special *sa2_engine_special(const sa2_engine *e)
{
    return &e->model->special;
}

int sa2_engine_max_model_len(const sa2_engine *e)
{
    return e->plan.max_model_len;
}

/* ---- voices ---- */

static sa2_status need_speech(const sa2_engine *e, sa2_error *err)
{
    return e->speaker.token2wav != NULL
               ? SA2_OK
               : sa2_fail(err, SA2_ERR_UNSUPPORTED, "voice: the engine was opened without speech");
}

sa2_status sa2_engine_add_voice(sa2_engine *e, const char *name, const sa2_voice *voice,
                                sa2_error *err)
{
    sa2_status st = need_speech(e, err);
    if (st != SA2_OK)
        return st;
    sa2_voice_errand errand = {.name = name, .voice = voice, .err = err};
    sa2_desk_run_errand(&e->desk, &errand);
    return errand.status;
}

sa2_status sa2_engine_remove_voice(sa2_engine *e, const char *name, sa2_error *err)
{
    sa2_status st = need_speech(e, err);
    return st == SA2_OK ? sa2_voices_remove(&e->voices, name, err) : st;
}

/* ---- requests and events ---- */

sa2_status sa2_engine_submit_rows(sa2_engine *e, const sa2_request *request,
                                  const sa2_given_rows *given, sa2_request_id *id, sa2_error *err)
{
    sa2_job *job = NULL;
    sa2_job_draft draft = {.setting = &e->setting, .request = request, .given = given};
    pthread_mutex_lock(&e->submitting);
    sa2_status st = sa2_job_draft_make(&draft, err);
    pthread_mutex_unlock(&e->submitting);
    if (st == SA2_OK)
        st = sa2_job_create(&job, &draft, err);
    sa2_job_draft_free(&draft);
    if (st == SA2_OK)
        st = sa2_desk_add(&e->desk, job, request->sampling.seed, request->deadline_ms, id, err);
    if (st != SA2_OK)
        sa2_job_destroy(job);
    return st;
}

sa2_status sa2_engine_submit(sa2_engine *e, const sa2_request *request, sa2_request_id *id,
                             sa2_error *err)
{
    return sa2_engine_submit_rows(e, request, NULL, id, err);
}

void sa2_engine_cancel(sa2_engine *e, sa2_request_id id)
{
    sa2_desk_cancel(&e->desk, id);
}

void sa2_engine_pause(sa2_engine *e)
{
    sa2_desk_pause(&e->desk, true);
}

void sa2_engine_resume(sa2_engine *e)
{
    sa2_desk_pause(&e->desk, false);
}

sa2_event *sa2_engine_poll(sa2_engine *e, int timeout_ms)
{
    return sa2_desk_poll(&e->desk, timeout_ms);
}

void sa2_event_release(sa2_engine *e, sa2_event *event)
{
    sa2_desk_return(&e->desk, event);
}

void sa2_engine_get_stats(sa2_engine *e, sa2_engine_stats *stats)
{
    pthread_mutex_lock(&e->desk.lock);
    *stats = e->desk.stats;
    stats->n_waiting = e->desk.n_active - stats->n_running; /* those that just came included */
    pthread_mutex_unlock(&e->desk.lock);
}
