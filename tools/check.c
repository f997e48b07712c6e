/* check.c - sa2 check: golden cases against this build, a line for each output. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "runtime/audio/audio_length.h"
#include "runtime/vocabulary.h"
#include "tools/check_case.h"
#include "tools/check_text.h"
#include "tools/commands.h"
#include "tools/json_text.h"
#include "tools/model_place.h"
#include "tools/options.h"
#include "tools/terminal.h"

typedef struct check {
    sa2_usage_text usage;
    sa2_backend_options backend_options;
    sa2_check_context context;
    const char *dtype, *tokenizer;
    bool json, quiet;
    sa2_vocabulary vocabulary; /* opened for the first .jsonl file */
    sa2_encoder *encoder;
    const char *file; /* at hand */
    int n_ok, n_failed;
} check;

static void print_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(object);
}

static void report_output(void *user, const sa2_golden_result *r)
{
    check *c = user;
    r->ok ? c->n_ok++ : c->n_failed++;
    if (c->json) {
        print_json(json_pack("{s:o, s:s, s:b, s:f, s:f, s:f, s:f, s:f, s:s}", "file",
                             sa2_json_text(c->file), "output", r->name, "ok", r->ok, "abs",
                             r->largest_abs, "rel", r->largest_rel, "l2", r->l2, "tolerance_abs",
                             r->tolerance.abs, "tolerance_l2", r->tolerance.l2, "why", r->why));
        return;
    }
    if (c->quiet && r->ok)
        return;
    printf("%-6s %s %s: abs %.3g (of %.3g), rel %.3g, l2 %.3g (of %.3g)%s%s\n",
           r->ok ? "ok" : "FAILED", c->file, r->name, r->largest_abs, r->tolerance.abs,
           r->largest_rel, r->l2, r->tolerance.l2, r->ok ? "" : ": ", r->why);
}

static void report_line(void *user, const char *name, const char *difference)
{
    check *c = user;
    bool ok = difference == NULL;
    ok ? c->n_ok++ : c->n_failed++;
    if (c->json)
        print_json(json_pack("{s:o, s:s, s:b, s:s}", "file", sa2_json_text(c->file), "output", name,
                             "ok", ok, "why", ok ? "" : difference));
    else if (!ok)
        printf("FAILED %s %s: %s\n", c->file, name, difference);
    else if (!c->quiet)
        printf("ok     %s %s\n", c->file, name);
}

static int patches(int64_t n_samples, bool fork_rule)
{
    return (int)sa2_audio_lengths_of(n_samples, fork_rule ? SA2_LENGTH_VLLM : SA2_LENGTH_HF).tokens;
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static sa2_status check_lines(check *c, const char *path, sa2_error *err)
{
    if (c->encoder == NULL) {
        if (c->tokenizer == NULL)
            return sa2_fail(err, SA2_ERR_ARG, "%s needs --tokenizer DIR (or --model DIR)", path);
        sa2_status st = sa2_vocabulary_open(&c->vocabulary, c->tokenizer, err);
        if (st == SA2_OK)
            st = sa2_encoder_create(&c->encoder, c->vocabulary.tokenizer, err);
        if (st != SA2_OK)
            return st;
    }
    const sa2_check_text_context context = {
        .encoder = c->encoder, .special = &c->vocabulary.special, .patches = patches};
    return sa2_check_text_file(path, &context, report_line, c, err);
}

static sa2_status check_tensors(check *c, const char *path, sa2_error *err)
{
    sa2_golden_case *golden = NULL;
    int n_failed = 0;
    sa2_status st = sa2_golden_case_open(&golden, path, err);
    if (st == SA2_OK)
        st = sa2_check_case(golden, &c->context, report_output, c, &n_failed, err);
    sa2_golden_case_close(golden);
    return st;
}

/* All files; one that cannot be run does not stop the others. The exit code: the first such failure's, else 1 when an
 * output is wrong. */
static int check_files(check *c, int n, char **paths)
{
    int exit_code = EX_OK;
    for (int i = 0; i < n; i++) {
        c->file = paths[i];
        sa2_error err = {0};
        sa2_status st = ends_in(paths[i], ".jsonl") ? check_lines(c, paths[i], &err)
                                                    : check_tensors(c, paths[i], &err);
        fflush(stdout);
        if (st != SA2_OK) {
            int code = sa2_report_failure(c->usage.name, st, &err);
            if (exit_code == EX_OK)
                exit_code = code;
        }
    }
    if (!c->json)
        printf("%d outputs ok, %d FAILED\n", c->n_ok, c->n_failed);
    return exit_code != EX_OK ? exit_code : c->n_failed > 0 ? 1 : EX_OK;
}

static int open_and_check(check *c, int argc, char **argv)
{
    const sa2_option own[] = {
        {"dtype", 0, SA2_OPTION_TEXT, &c->dtype, "TYPE", "activations: f32 or bf16 (f32)"},
        {"model", 'm', SA2_OPTION_TEXT, &c->context.model, "DIR",
         "weights of this folder (made from preset and seed)"},
        {"tokenizer", 0, SA2_OPTION_TEXT, &c->tokenizer, "DIR",
         "tokenizer files for .jsonl cases (the model's)"},
        {"sounds", 0, SA2_OPTION_TEXT, &c->context.sounds, "DIR",
         "recordings that cases name (../../audio)"},
        {"device", 0, SA2_OPTION_TEXT, &c->backend_options.device, "NAME", "auto or cpu"},
        {"isa", 0, SA2_OPTION_TEXT, &c->backend_options.isa, "NAME",
         "auto, c, avx2, avx512, avx512bf16, amx"},
        {"cuda-graphs", 0, SA2_OPTION_FLAG, &c->backend_options.graphs, NULL,
         "start steps of a GPU as graphs"},
        SA2_LARGE_PRODUCTS_OPTION(&c->backend_options.large_products),
        {"threads", 't', SA2_OPTION_INT, &c->backend_options.n_threads, "N",
         "threads (all processors)"},
        {"json", 0, SA2_OPTION_FLAG, &c->json, NULL, "a JSON object a line"},
        {"quiet", 'q', SA2_OPTION_FLAG, &c->quiet, NULL, "only what fails, and the sum"},
        {0},
    };
    const sa2_option_group groups[] = {{"Options", own}};
    c->usage = (sa2_usage_text){
        .name = "sa2 check",
        .synopsis = "FILE... [OPTIONS]",
        .summary =
            "Computes golden cases and compares: .safetensors cases of the model's parts, .jsonl "
            "cases of\n"
            "tokenizer and chat. Exit 1 when an output is wrong, 65 when a file is not a case.",
        .example = "  sa2 check --dtype bf16 tests/golden/language_model/*.safetensors",
        .groups = groups,
        .n_groups = 1,
    };
    int n, exit_code;
    if (!sa2_options_read(&c->usage, argc, argv, &n, &exit_code))
        return exit_code;
    if (n == 0)
        return sa2_options_refuse(&c->usage, "a case expected, none given");
    bool bf16 = strcmp(c->dtype, "bf16") == 0;
    if (!bf16 && strcmp(c->dtype, "f32") != 0)
        return sa2_options_refuse(&c->usage, "--dtype: f32 or bf16 expected, \"%s\" found",
                                  c->dtype);
    c->context.dtype = bf16 ? SA2_BF16 : SA2_F32;
    char place[SA2_MODEL_PLACE];
    c->context.model = sa2_model_place(place, c->context.model);
    if (c->tokenizer == NULL)
        c->tokenizer = c->context.model;
    sa2_error err = {0};
    sa2_status st = sa2_backend_open(&c->context.backend, &c->backend_options, &err);
    if (st != SA2_OK)
        return sa2_report_failure(c->usage.name, st, &err);
    exit_code = check_files(c, n, argv);
    sa2_backend_close(c->context.backend);
    return exit_code;
}

int sa2_command_check(int argc, char **argv)
{
    check *c = calloc(1, sizeof *c);
    if (c == NULL)
        return EX_OSERR;
    c->dtype = "f32";
    int exit_code = open_and_check(c, argc, argv);
    sa2_encoder_destroy(c->encoder);
    sa2_vocabulary_close(&c->vocabulary);
    free(c);
    return exit_code;
}
