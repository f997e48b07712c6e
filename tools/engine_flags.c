#include "tools/engine_flags.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

void sa2_engine_flags_init(sa2_engine_flags *f)
{
    *f = (sa2_engine_flags){
        .dtype = "bf16", .audio_rule = "hf", .template = "default", .sampling = "auto"};
    f->progress = (sa2_progress){.what = "loading", .unit = "B"};
    sa2_engine_options *o = &f->options;
    const sa2_option table[] = {
        {"model", 'm', SA2_OPTION_TEXT, &f->model, "MODEL",
         "release folder, native file, or nano: the small one that is built in"},
        {"device", 0, SA2_OPTION_TEXT, &o->device, "NAME", "auto or cpu"},
        {"isa", 0, SA2_OPTION_TEXT, &o->isa, "NAME", "auto, c, avx2, avx512, avx512bf16, amx"},
        {"threads", 't', SA2_OPTION_INT, &o->n_threads, "N",
         "threads of the CPU backend (all processors; this rank's share)"},
        {"cuda-graphs", 0, SA2_OPTION_FLAG, &o->cuda_graphs, NULL,
         "start steps of a GPU as graphs; answers are the same"},
        SA2_LARGE_PRODUCTS_OPTION(&o->large_products),
        {"sampling", 0, SA2_OPTION_TEXT, &f->sampling, "WHERE",
         "choose tokens on the host or the device (auto: host); they are the same"},
        {"run-ahead", 0, SA2_OPTION_FLAG, &o->run_ahead, NULL,
         "queue a step before the tokens of the last are read (with --sampling device); they are "
         "the same"},
        {"dtype", 0, SA2_OPTION_TEXT, &f->dtype, "TYPE", "activations and cache: bf16 or f32"},
        SA2_KV_OPTION(&f->kv_dtype),
        SA2_QUANT_OPTIONS(&f->quant),
        {"max-model-len", 0, SA2_OPTION_INT, &o->max_model_len, "N",
         "positions of a request (what the model has)"},
        {"max-num-seqs", 0, SA2_OPTION_INT, &o->max_num_seqs, "N", "answers that run at once (32)"},
        {"max-num-batched-tokens", 0, SA2_OPTION_INT, &o->max_num_batched_tokens, "N",
         "rows of a step (512)"},
        {"block-size", 0, SA2_OPTION_INT, &o->block_size, "N",
         "positions in a page of the cache (64)"},
        {"kv-cache-memory", 0, SA2_OPTION_BYTES, &o->kv_cache_bytes, "SIZE", "memory of the cache"},
        {"no-prefix-caching", 0, SA2_OPTION_FLAG, &o->no_prefix_caching, NULL,
         "never share prefixes"},
        {"audio-rule", 0, SA2_OPTION_TEXT, &f->audio_rule, "RULE",
         "rows of a clip in the prompt: hf or vllm"},
        {"template", 0, SA2_OPTION_TEXT, &f->template, "NAME", "prompt: default, hf or fork"},
        {"literal-user-text", 0, SA2_OPTION_FLAG, &o->literal_user_text, NULL,
         "control tokens written by a user are plain text"},
        SA2_RANK_OPTION(&f->ranks),
        {"verbose", 'v', SA2_OPTION_FLAG, &f->verbose, NULL, "print the memory plan"},
        {0},
    };
    static_assert(sizeof table <= sizeof f->table, "the table has room");
    memcpy(f->table, table, sizeof table);
}

static void print_line(void *context, const char *line)
{
    const sa2_engine_flags *f = context;
    if (f->verbose)
        fprintf(stderr, "%s\n", line);
}

static void show_progress(void *context, const char *what, size_t done, size_t total)
{
    sa2_engine_flags *f = context;
    (void)what;
    sa2_progress_show(&f->progress, (double)done, (double)total);
}

/* The index of `text` among `names`, or -1 after a complaint. */
static int choose(const sa2_usage_text *usage, const char *option, const char *text, int n,
                  const char *const *names)
{
    char all[128] = "";
    for (int i = 0; i < n; i++) {
        if (strcmp(text, names[i]) == 0)
            return i;
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s",
                 i == 0      ? ""
                 : i < n - 1 ? ", "
                             : " or ",
                 names[i]);
    }
    sa2_options_refuse(usage, "--%s: %s expected, \"%s\" found", option, all, text);
    return -1;
}

bool sa2_sampling_place_read(const char *text, const sa2_usage_text *usage,
                             sa2_sampling_place *place)
{
    int found = choose(usage, "sampling", text, 3, (const char *const[]){"auto", "host", "device"});
    *place = found < 0 ? SA2_SAMPLING_AUTO : (sa2_sampling_place)found;
    return found >= 0;
}

/* Rank 0 gets the engine, the others come back when it is gone. */
static sa2_engine *open_as_rank(sa2_engine_flags *f, const sa2_usage_text *usage, int *exit_code)
{
    sa2_engine *engine = NULL;
    sa2_error err = {0};
    if (!sa2_rank_flags_open(&f->ranks, &f->options.n_threads, usage, exit_code))
        return NULL;
    f->options.comm = f->ranks.comm;
    f->options.device = sa2_rank_flags_device(&f->ranks, f->options.device);
    bool first = sa2_comm_rank(f->ranks.comm) == 0;
    f->progress.quiet = f->progress.quiet || !first;
    if (!first)
        f->options.log = NULL;
    sa2_status st = first ? sa2_engine_create(&engine, f->model, &f->options, &err)
                          : sa2_engine_follow(f->model, &f->options, &err);
    *exit_code = st == SA2_OK ? EX_OK : sa2_report_failure(usage->name, st, &err);
    if (engine == NULL)
        sa2_rank_flags_close(&f->ranks);
    return engine;
}

bool sa2_engine_flags_expect(sa2_engine_flags *f, const sa2_usage_text *usage)
{
    f->model = sa2_model_place(f->place, f->model);
    if (f->model == NULL)
        sa2_options_refuse(usage, "--model: a folder expected, none given");
    return f->model != NULL;
}

sa2_engine *sa2_engine_flags_open(sa2_engine_flags *f, const sa2_usage_text *usage, int *exit_code)
{
    *exit_code = EX_USAGE;
    if (!sa2_engine_flags_expect(f, usage))
        return NULL;
    int dtype = choose(usage, "dtype", f->dtype, 2, (const char *const[]){"bf16", "f32"});
    int rule = choose(usage, "audio-rule", f->audio_rule, 2, (const char *const[]){"hf", "vllm"});
    int template =
        choose(usage, "template", f->template, 3, (const char *const[]){"default", "hf", "fork"});
    if (dtype < 0 || rule < 0 ||
        template <0 || !sa2_sampling_place_read(f->sampling, usage, &f->options.sampling) ||
                  !sa2_quant_flags_finish(&f->quant, usage, &f->options.quant) ||
                  !sa2_kv_flag_finish(f->kv_dtype, usage, &f->options.kv_int8))
        return NULL;
    f->options.f32 = dtype == 1;
    f->options.audio_rule = rule == 1 ? SA2_LENGTH_VLLM : SA2_LENGTH_HF;
    f->options.template = (sa2_template) template;
    f->options.log = print_line;
    f->options.progress = show_progress;
    f->options.context = f;

    return open_as_rank(f, usage, exit_code);
}

void sa2_engine_flags_close(sa2_engine_flags *f, sa2_engine *engine)
{
    sa2_engine_destroy(engine);
    sa2_rank_flags_close(&f->ranks);
}

/* ---- sampling ---- */

enum { TOP_K_UNSET = -2 };

void sa2_sampling_flags_init(sa2_sampling_flags *f, float temperature)
{
    *f = (sa2_sampling_flags){.request = sa2_request_default(), .top_k = TOP_K_UNSET};
    sa2_request *r = &f->request;
    sa2_sampling_params *p = &r->sampling;
    p->temperature = temperature;
    const sa2_option table[] = {
        {"temperature", 0, SA2_OPTION_FLOAT, &p->temperature, "X", "0 takes the most likely token"},
        {"top-p", 0, SA2_OPTION_FLOAT, &p->top_p, "X", "sample within this probability (1)"},
        {"top-k", 0, SA2_OPTION_INT, &f->top_k, "N", "sample among the N most likely (off)"},
        {"min-p", 0, SA2_OPTION_FLOAT, &p->min_p, "X",
         "drop what is less likely than X times the best (0)"},
        {"repetition-penalty", 0, SA2_OPTION_FLOAT, &p->repetition_penalty, "X",
         "over prompt and answer (1)"},
        {"frequency-penalty", 0, SA2_OPTION_FLOAT, &p->frequency_penalty, "X",
         "for each time in the answer (0)"},
        {"presence-penalty", 0, SA2_OPTION_FLOAT, &p->presence_penalty, "X",
         "for being in the answer (0)"},
        {"hf-sampling", 0, SA2_OPTION_FLAG, &f->hf, NULL, "order and defaults of transformers"},
        {"seed", 0, SA2_OPTION_INT64, &p->seed, "N", "same seed, same answer (random)"},
        {"max-tokens", 0, SA2_OPTION_INT, &r->max_tokens, "N",
         "length of an answer (what the context leaves)"},
        {"min-tokens", 0, SA2_OPTION_INT, &p->min_tokens, "N", "no end before (0)"},
        {"ignore-eos", 0, SA2_OPTION_FLAG, &r->ignore_eos, NULL, "go on after end tokens"},
        {"stop", 0, SA2_OPTION_LIST, &f->stop, "TEXT",
         "end where this text appears; may be repeated"},
        {"include-stop", 0, SA2_OPTION_FLAG, &r->include_stop, NULL,
         "keep the text that ended the answer"},
        {"stop-token-id", 0, SA2_OPTION_LIST, &f->stop_ids, "ID",
         "end at this token; may be repeated"},
        {"logit-bias", 0, SA2_OPTION_LIST, &f->logit_bias, "ID:X",
         "add X to a token's logit; may be repeated"},
        {"allowed-token-id", 0, SA2_OPTION_LIST, &f->allowed, "ID",
         "nothing but these; may be repeated"},
        {"logprobs", 0, SA2_OPTION_INT, &p->n_logprobs, "N",
         "log-probabilities of the N best, up to 20"},
        {"n", 'n', SA2_OPTION_INT, &r->n, "N", "answers to each prompt (1)"},
        {"num-beams", 0, SA2_OPTION_INT, &r->beam.n_beams, "N", "beam search (off)"},
        {"length-penalty", 0, SA2_OPTION_FLOAT, &r->beam.length_penalty, "X", "of beam search (1)"},
        {"keep-special", 0, SA2_OPTION_FLAG, &r->keep_special, NULL, "show special tokens"},
        {0},
    };
    static_assert(sizeof table <= sizeof f->table, "the table has room");
    memcpy(f->table, table, sizeof table);
}

static bool read_id(const char *text, char end, int32_t *id, const char **rest)
{
    char *stop;
    long value = strtol(text, &stop, 10);
    *rest = stop;
    *id = (int32_t)value;
    return stop != text && *stop == end && value >= 0 && value <= INT32_MAX;
}

static int read_ids(const sa2_usage_text *usage, const char *option, const sa2_option_list *list,
                    int32_t *ids)
{
    for (int i = 0; i < list->n; i++) {
        const char *rest;
        if (!read_id(list->values[i], '\0', &ids[i], &rest))
            return sa2_options_refuse(usage, "--%s: a token id expected, \"%s\" found", option,
                                      list->values[i]);
    }
    return EX_OK;
}

int sa2_sampling_flags_finish(sa2_sampling_flags *f, const sa2_usage_text *usage)
{
    sa2_request *r = &f->request;
    sa2_sampling_params *p = &r->sampling;
    p->mode = f->hf ? SA2_SAMPLING_HF : SA2_SAMPLING_VLLM;
    p->top_k = f->top_k != TOP_K_UNSET ? f->top_k : sa2_sampling_defaults(p->mode).top_k;
    r->stop = f->stop.values;
    r->n_stop = (size_t)f->stop.n;
    if (read_ids(usage, "stop-token-id", &f->stop_ids, f->stop_id_values) != EX_OK ||
        read_ids(usage, "allowed-token-id", &f->allowed, f->allowed_values) != EX_OK)
        return EX_USAGE;
    r->stop_ids = f->stop_id_values;
    r->n_stop_ids = (size_t)f->stop_ids.n;
    p->allowed = (sa2_token_list){f->allowed_values, f->allowed.n};
    for (int i = 0; i < f->logit_bias.n; i++) {
        const char *rest;
        char *end = NULL;
        bool right = read_id(f->logit_bias.values[i], ':', &f->bias_values[i].id, &rest);
        if (right)
            f->bias_values[i].bias = strtof(rest + 1, &end);
        if (!right || end == rest + 1 || *end != '\0')
            return sa2_options_refuse(usage, "--logit-bias: ID:X expected, \"%s\" found",
                                      f->logit_bias.values[i]);
    }
    p->logit_bias = f->bias_values;
    p->n_logit_bias = f->logit_bias.n;
    return EX_OK;
}
