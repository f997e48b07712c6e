#include "bench/prompts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/encode.h"
#include "tools/golden_case.h"
#include "tools/text_file.h"

enum { MAX_FILE_BYTES = 16 << 20, ARBITRARY = 4, ARBITRARY_IDS = 128 };

typedef struct reader {
    sa2_prompts *prompts;
    const sa2_model *model;
    int longest;
    int64_t positions;
} reader;

static bool full(const reader *r)
{
    return r->prompts->positions >= r->positions;
}

static sa2_status add(reader *r, const char *origin, const int32_t *ids, size_t n, sa2_error *err)
{
    sa2_prompts *p = r->prompts;
    int64_t left = r->positions - p->positions;
    n = n < (size_t)r->longest ? n : (size_t)r->longest;
    n = (int64_t)n < left ? n : (size_t)left;
    if (n == 0)
        return SA2_OK;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= r->model->n_token_rows)
            return sa2_fail(err, SA2_ERR_FORMAT, "%s: id %d, the model has 0 to %d", origin, ids[i],
                            r->model->n_token_rows - 1);
    sa2_prompt *all = realloc(p->all, (size_t)(p->n + 1) * sizeof *all);
    int32_t *copy = malloc(n * sizeof *copy);
    if (all != NULL)
        p->all = all;
    if (all == NULL || copy == NULL) {
        free(copy);
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %zu ids", origin, n);
    }
    memcpy(copy, ids, n * sizeof *copy);
    p->all[p->n++] = (sa2_prompt){copy, (int)n};
    p->positions += (int64_t)n;
    return SA2_OK;
}

/* ---- golden cases ---- */

static bool is_golden(const char *path)
{
    static const char end[] = ".safetensors";
    size_t n = strlen(path), m = sizeof end - 1;
    return n > m && strcmp(path + n - m, end) == 0;
}

static sa2_status add_case(reader *r, const sa2_golden_case *golden, const char *which,
                           sa2_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "ids%s", which);
    sa2_tensor ids = sa2_golden_input(golden, name), answer = {0};
    snprintf(name, sizeof name, "tokens%s", which);
    answer = sa2_golden_output(golden, name);
    if (ids.data == NULL || ids.dtype != SA2_I32)
        return SA2_OK;
    sa2_ids both = {0};
    sa2_ids_append_all(&both, ids.data, (size_t)sa2_tensor_count(&ids));
    if (answer.data != NULL && answer.dtype == SA2_I32)
        sa2_ids_append_all(&both, answer.data, (size_t)sa2_tensor_count(&answer));
    sa2_status st = sa2_ids_status(&both, err);
    if (st == SA2_OK)
        st = add(r, sa2_golden_origin(golden), both.data, both.n, err);
    sa2_ids_free(&both);
    return st;
}

static sa2_status read_golden(reader *r, const char *path, sa2_error *err)
{
    sa2_golden_case *golden = NULL;
    sa2_status st = sa2_golden_case_open(&golden, path, err);
    if (st == SA2_OK)
        st = add_case(r, golden, "", err);
    for (int i = 0; st == SA2_OK && i < 64; i++) {
        char which[16];
        snprintf(which, sizeof which, ".%d", i);
        st = add_case(r, golden, which, err);
    }
    sa2_golden_case_close(golden);
    return st;
}

/* ---- lines of text ---- */

static sa2_status read_lines(reader *r, const char *path, char *text, sa2_error *err)
{
    sa2_encoder *encoder = NULL;
    sa2_ids ids = {0};
    sa2_status st = r->model->tokenizer != NULL
                        ? sa2_encoder_create(&encoder, r->model->tokenizer, err)
                        : sa2_fail(err, SA2_ERR_FORMAT, "%s: the model has no tokenizer", path);
    for (char *line = text; st == SA2_OK && line != NULL && !full(r);) {
        char *end = strchr(line, '\n');
        size_t n = end != NULL ? (size_t)(end - line) : strlen(line);
        sa2_ids_clear(&ids);
        st = sa2_encode(encoder, line, n, (sa2_span){0}, &ids, err);
        if (st == SA2_OK)
            st = add(r, path, ids.data, ids.n, err);
        line = end != NULL ? end + 1 : NULL;
    }
    sa2_ids_free(&ids);
    sa2_encoder_destroy(encoder);
    return st;
}

static sa2_status read_text(reader *r, const char *path, sa2_error *err)
{
    char *text = NULL;
    size_t n;
    sa2_status st = sa2_text_file_read(&text, &n, path, MAX_FILE_BYTES, err);
    if (st == SA2_OK && strlen(text) != n)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: a zero byte in it, which no text has", path);
    if (st == SA2_OK)
        st = read_lines(r, path, text, err);
    free(text);
    return st;
}

/* ---- all ---- */

static sa2_status add_arbitrary(reader *r, sa2_error *err)
{
    int32_t ids[ARBITRARY_IDS];
    sa2_status st = SA2_OK;
    for (int k = 0; st == SA2_OK && k < ARBITRARY; k++) {
        for (int i = 0; i < ARBITRARY_IDS; i++)
            ids[i] = (i * 7919 + k * 1013 + 13) % r->model->n_token_rows;
        st = add(r, "bench", ids, ARBITRARY_IDS, err);
    }
    return st;
}

sa2_status sa2_prompts_read(sa2_prompts *prompts, const sa2_model *model, int n_files,
                            char *const *files, int longest, int64_t positions, sa2_error *err)
{
    *prompts = (sa2_prompts){0};
    reader r = {prompts, model, longest, positions};
    sa2_status st = n_files > 0 ? SA2_OK : add_arbitrary(&r, err);
    for (int i = 0; st == SA2_OK && i < n_files && !full(&r); i++)
        st = is_golden(files[i]) ? read_golden(&r, files[i], err) : read_text(&r, files[i], err);
    if (st == SA2_OK && prompts->n == 0)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: no ids and no text in these files", files[0]);
    if (st != SA2_OK)
        sa2_prompts_free(prompts);
    return st;
}

void sa2_prompts_free(sa2_prompts *prompts)
{
    for (int i = 0; i < prompts->n; i++)
        free(prompts->all[i].ids);
    free(prompts->all);
    *prompts = (sa2_prompts){0};
}
