#include "runtime/serving/engine_plan.h"

#include <stdio.h>

#include "kernels/base/limits.h"

enum {
    DEFAULT_SEQUENCES = 32,
    DEFAULT_ROWS = 512,
    DEFAULT_PAGE = 64,
    DEFAULT_POSITIONS = 2048, /* of a request, for the size of the cache */
    DEFAULT_QUEUED = 1024,
    DEFAULT_STREAMS = 4,
    MAX_ROWS = 1 << 20,
};

static const size_t default_request_bytes = (size_t)256 << 20;

/* ---- options ---- */

/* An option that is 0 gets its default, another one must lie in its range. */
static int number(int given, int otherwise, int least, int most, const char *name, sa2_status *st,
                  sa2_error *err)
{
    if (given == 0)
        return otherwise;
    if (given < least || given > most) {
        sa2_status found = sa2_fail_also(err, SA2_ERR_ARG, "%s: %d to %d expected, found %d", name,
                                         least, most, given);
        *st = *st == SA2_OK ? found : *st;
    }
    return given;
}

static sa2_status resolve(sa2_engine_plan *p, const sa2_engine_options *o, const sa2_model *model,
                          sa2_error *err)
{
    sa2_status st = SA2_OK;
    int len = model->config.decoder.max_positions;
    p->activations = o->f32 ? SA2_F32 : SA2_BF16;
    p->kv_dtype = o->kv_int8 ? SA2_I8 : p->activations;
    p->quant = o->quant;
    p->decoder = model->config.decoder;
    p->max_model_len = number(o->max_model_len, len, 2, len, "max_model_len", &st, err);
    p->max_num_seqs =
        number(o->max_num_seqs, DEFAULT_SEQUENCES, 1, SA2_MAX_SEQUENCES, "max_num_seqs", &st, err);
    int rows = p->max_num_seqs > DEFAULT_ROWS ? p->max_num_seqs : DEFAULT_ROWS;
    p->max_rows = number(o->max_num_batched_tokens, rows, p->max_num_seqs, MAX_ROWS,
                         "max_num_batched_tokens", &st, err);
    p->page_size = number(o->block_size, DEFAULT_PAGE, 16, 1 << 16, "block_size", &st, err);
    p->max_queued = number(o->max_queued, DEFAULT_QUEUED, 1, 1 << 20, "max_queued", &st, err);
    if (p->page_size % 16 != 0)
        st = sa2_fail_also(err, SA2_ERR_ARG, "block_size: a multiple of 16 expected, found %d",
                           p->page_size);
    return st;
}

/* ---- parts ---- */

sa2_status sa2_engine_plan_token2wav(sa2_token2wav_options *speech, const sa2_engine_options *o,
                                     sa2_error *err)
{
    sa2_status st = SA2_OK;
    number(o->max_voices, 1, 1, SA2_VOICES_MAX, "max_voices", &st, err);
    *speech = (sa2_token2wav_options){
        .bf16 = o->speech_bf16,
        .max_streams = number(o->max_speech_streams, DEFAULT_STREAMS, 1, SA2_VOCODER_SOUNDS,
                              "max_speech_streams", &st, err),
        .max_voice_seconds = number(o->max_voice_seconds, 0, 1, SA2_LIMIT_VOICE_SECONDS,
                                    "max_voice_seconds", &st, err),
        .max_seconds = number(o->max_speech_seconds, 0, 1, SA2_LIMIT_SOUND_SECONDS,
                              "max_speech_seconds", &st, err),
        .noise_seed = o->speech_noise_seed};
    return st;
}

int sa2_engine_plan_voices(const sa2_engine_options *o)
{
    return o->max_voices > 0 ? o->max_voices : 1;
}

sa2_kv_cache_options sa2_engine_plan_cache(const sa2_engine_plan *p)
{
    return (sa2_kv_cache_options){.n_pages = p->n_pages,
                                  .page_size = p->page_size,
                                  .max_sequences = p->max_num_seqs,
                                  .max_positions = p->max_model_len};
}

sa2_backend_options sa2_engine_plan_device(const sa2_engine_options *o)
{
    return (sa2_backend_options){.device = o->device,
                                 .isa = o->isa,
                                 .n_threads = o->n_threads,
                                 .graphs = o->cuda_graphs,
                                 .large_products = o->large_products};
}

sa2_model_options sa2_engine_plan_model(const sa2_engine_options *o)
{
    return (sa2_model_options){
        .quant = o->quant, .rank = sa2_comm_rank(o->comm), .n_ranks = sa2_comm_size(o->comm)};
}

sa2_scheduler_options sa2_engine_plan_scheduler(const sa2_engine_plan *p,
                                                const sa2_engine_options *o)
{
    return (sa2_scheduler_options){.max_rows = p->max_rows,
                                   .max_sequences = p->max_num_seqs,
                                   .prefix_caching = !o->no_prefix_caching};
}

sa2_step_options sa2_engine_plan_step(const sa2_engine_plan *p, const sa2_engine_options *o,
                                      const sa2_model *model)
{
    return (sa2_step_options){.model = model,
                              .activations = p->activations,
                              .kv_dtype = p->kv_dtype,
                              .max_rows = p->max_rows,
                              .max_sequences = p->max_num_seqs,
                              .max_positions = p->max_model_len,
                              .n_pages = p->n_pages,
                              .page_size = p->page_size,
                              .comm = o->comm};
}

sa2_clip_cache_options sa2_engine_plan_clips(const sa2_engine_plan *p, const sa2_engine_options *o,
                                             const sa2_model *model)
{
    return (sa2_clip_cache_options){.model = model,
                                    .activations = p->activations,
                                    .rule = o->audio_rule,
                                    .max_rows = p->max_rows};
}

sa2_generator_options sa2_engine_plan_generator(const sa2_engine_plan *p,
                                                const sa2_engine_options *o, const sa2_model *model)
{
    return (sa2_generator_options){.model = model,
                                   .max_sequences = p->max_num_seqs,
                                   .sampling_on_device = o->sampling == SA2_SAMPLING_ON_DEVICE};
}

/* ---- bytes ---- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static sa2_status plan_pages(sa2_engine_plan *p, const sa2_engine_options *o,
                             const sa2_model *model, sa2_error *err)
{
    sa2_step_options step = sa2_engine_plan_step(p, o, model);
    size_t page = sa2_step_kv_page_bytes(&step);
    int64_t positions = (int64_t)p->max_num_seqs * DEFAULT_POSITIONS;
    positions = positions > p->max_model_len ? positions : p->max_model_len;
    int64_t n = (positions + p->page_size - 1) / p->page_size;
    if (o->kv_cache_bytes > 0)
        n = (int64_t)(o->kv_cache_bytes / page);
    if (n < 1 || n > INT32_MAX / 2)
        return sa2_fail_also(err, SA2_ERR_ARG,
                             "kv_cache_bytes: 1 to %d pages of %zu bytes expected, found %zu bytes",
                             INT32_MAX / 2, page, o->kv_cache_bytes);
    p->n_pages = (int)n;
    p->pages = (size_t)n * page + (size_t)model->config.decoder.layers * SA2_ARENA_ALIGN;
    return SA2_OK;
}

/* Sounds that fill the context, what goes with every position, and the longest spoken answer. */
static size_t largest_request(const sa2_engine_plan *p, const sa2_token2wav *t)
{
    enum { BYTES_OF_A_POSITION = 256 };
    size_t rows = (size_t)sa2_audio_lengths_of(SA2_AUDIO_CHUNK, SA2_LENGTH_HF).tokens + 2;
    size_t chunks = (size_t)p->max_model_len / rows + 1;
    return chunks * SA2_AUDIO_CHUNK * sizeof(float) +
           (size_t)p->max_model_len * BYTES_OF_A_POSITION +
           (t != NULL ? (size_t)sa2_speech_samples(t, sa2_token2wav_max_codes(t)) * sizeof(float)
                      : 0);
}

/* What every rank has. */
static void plan_step(sa2_engine_plan *p, const sa2_engine_options *o, const sa2_model *model)
{
    sa2_step_options step = sa2_engine_plan_step(p, o, model);
    int64_t summed, joined;
    sa2_step_comm_elements(&step, &summed, &joined);
    p->device = sa2_step_device_bytes(&step);
    p->work = sa2_step_work_bytes(&step);
    p->scratch = sa2_step_scratch_bytes(&step);
    p->host = sa2_step_host_bytes(&step);
    if (o->comm != NULL)
        p->host += sa2_comm_bytes(sa2_comm_size(o->comm), summed, joined);
}

/* What rank 0 has beside that: requests, what they hear and say. */
static void plan_service(sa2_engine_plan *p, const sa2_engine_options *o, const sa2_model *model,
                         const sa2_token2wav *t, const sa2_stream *s)
{
    sa2_kv_cache_options cache = sa2_engine_plan_cache(p);
    sa2_scheduler_options scheduler = sa2_engine_plan_scheduler(p, o);
    sa2_clip_cache_options clips = sa2_engine_plan_clips(p, o, model);
    sa2_generator_options generator = sa2_engine_plan_generator(p, o, model);
    p->device += sa2_clip_cache_device_bytes(&clips, s) + sa2_generator_device_bytes(&generator);
    p->work = larger(p->work, sa2_clip_cache_work_bytes(&clips));
    p->scratch = larger(p->scratch, sa2_clip_cache_scratch_bytes(&clips));
    p->host += sa2_arena_round(sa2_kv_cache_bytes(&cache)) + sa2_scheduler_bytes(&scheduler) +
               sa2_clip_cache_host_bytes(&clips) + sa2_generator_bytes(&generator);
    p->requests = o->request_bytes > 0 ? o->request_bytes
                                       : larger(default_request_bytes, largest_request(p, t));
    if (t != NULL) {
        sa2_token2wav_plan speech = sa2_token2wav_planned(t);
        p->speech = speech.weights + speech.kept + speech.work +
                    (size_t)sa2_engine_plan_voices(o) * sa2_speech_voice_bytes(t);
    }
}

/* Logits are chosen from on a device that has all of them, apart from the host. */
static sa2_status check_sampling(const sa2_engine_options *o, sa2_backend *backend, sa2_error *err)
{
    if (sa2_backend_reads_host(backend))
        return sa2_fail(
            err, SA2_ERR_UNSUPPORTED,
            "sampling on the device: a GPU expected, found %s, where logits are the host's",
            sa2_backend_device(backend));
    if (sa2_comm_size(o->comm) > 1)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED,
                        "sampling on the device: one rank expected, found %d, each with a part of "
                        "the logits",
                        sa2_comm_size(o->comm));
    return SA2_OK;
}

static sa2_status check_run_ahead(const sa2_engine_options *o, sa2_error *err)
{
    if (o->sampling == SA2_SAMPLING_ON_DEVICE)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_ARG,
                    "run_ahead: sampling on the device expected, found sampling on the host, which "
                    "has to have the logits first");
}

sa2_status sa2_engine_plan_make(sa2_engine_plan *p, const sa2_engine_options *o,
                                const sa2_model *model, const sa2_token2wav *t,
                                sa2_backend *backend, sa2_error *err)
{
    *p = (sa2_engine_plan){.weights = model->weight_bytes};
    sa2_status st = resolve(p, o, model, err);
    if (st == SA2_OK && o->sampling == SA2_SAMPLING_ON_DEVICE)
        st = check_sampling(o, backend, err);
    if (st == SA2_OK && o->run_ahead)
        st = check_run_ahead(o, err);
    sa2_stream *s = NULL;
    if (st == SA2_OK)
        st = sa2_stream_create(&s, backend, 0, err);
    if (st == SA2_OK)
        st = plan_pages(p, o, model, err);
    if (st == SA2_OK) {
        plan_step(p, o, model);
        if (model->shard.rank == 0)
            plan_service(p, o, model, t, s);
        p->streams = (t != NULL ? 2 : 1) * sa2_backend_stream_bytes(backend);
        p->sum = p->weights + p->pages + p->device + p->work + p->scratch + p->streams + p->host +
                 p->requests + p->speech;
    }
    sa2_stream_destroy(s);
    return st;
}

/* ---- telling ---- */

enum { N_ITEMS = 10, LINE = 128 };

static void write_lines(const sa2_engine_plan *p, char lines[N_ITEMS][LINE])
{
    const struct {
        const char *name;
        size_t bytes;
    } items[N_ITEMS] = {{"weights", p->weights}, {"keys and values", p->pages},
                        {"step", p->device},     {"activations", p->work},
                        {"scratch", p->scratch}, {"streams", p->streams},
                        {"tables", p->host},     {"requests", p->requests},
                        {"speech", p->speech},   {"sum", p->sum}};
    for (int i = 0; i < N_ITEMS; i++) {
        int n = snprintf(lines[i], LINE, "memory: %-15s %10.1f MB", items[i].name,
                         (double)items[i].bytes * 1e-6);
        if (items[i].bytes == p->pages && i == 1)
            snprintf(lines[i] + n, (size_t)(LINE - n),
                     "  %s: %d pages of %d positions, %lld in all",
                     p->kv_dtype == SA2_I8 ? "int8" : sa2_dtype_name(p->kv_dtype), p->n_pages,
                     p->page_size, (long long)p->n_pages * p->page_size);
    }
}

void sa2_engine_plan_print(const sa2_engine_plan *p, const sa2_engine_options *o)
{
    if (o->log == NULL)
        return;
    char lines[N_ITEMS][LINE];
    write_lines(p, lines);
    for (int i = 0; i < N_ITEMS; i++)
        o->log(o->context, lines[i]);
}

sa2_status sa2_engine_plan_check(const sa2_engine_plan *p, size_t physical_bytes, sa2_error *err)
{
    if (p->sum <= physical_bytes)
        return SA2_OK;
    char lines[N_ITEMS][LINE];
    write_lines(p, lines);
    sa2_status st =
        sa2_fail(err, SA2_ERR_NOMEM,
                 "the plan needs %.1f MB, this machine has %.1f MB:", (double)p->sum * 1e-6,
                 (double)physical_bytes * 1e-6);
    for (int i = 0; i < N_ITEMS; i++)
        sa2_fail_also(err, st, "%s", lines[i]);
    return st;
}
