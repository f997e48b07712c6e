#include "loader/synthetic.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/expected_tensors.h"

/* ---- centre and amplitude by name and shape ---- */

typedef enum name_match { WHOLE, END } name_match;

typedef struct value_rule {
    const char *role; /* NULL: any */
    name_match match;
    const char *name; /* NULL: any */
    int ndim;         /* 0: any */
    float centre, amplitude;
    bool by_fan_in; /* amplitude times sqrt(3 / fan_in), which gives a product of unit variance */
} value_rule;

/* The first that fits. Queries and keys are wide so that attention looks somewhere, lm_head so that
 * logits differ; vocoder and F0 predictor so that a voice comes out that is neither silent nor clipped. */
static const value_rule rules[] = {
    {NULL, END, ".running_var", 0, 0.1f, 0.02f, false},
    {NULL, END, ".running_mean", 0, 0.0f, 0.1f, false},
    {NULL, END, ".alpha", 0, 1.0f, 0.5f, false},
    {"hift", WHOLE, "f0_predictor.classifier.bias", 0, 150.0f, 0.0f, false},
    {"hift", WHOLE, "f0_predictor.classifier.weight", 0, 0.0f, 50.0f, true},
    {"hift", WHOLE, "conv_post.parametrizations.weight.original0", 0, 0.2f, 0.02f, false},
    {NULL, END, ".parametrizations.weight.original0", 0, 1.0f, 0.1f, false},
    {"model", WHOLE, "lm_head.weight", 0, 0.0f, 4.0f, true},
    {"model", END, "q_proj.weight", 0, 0.0f, 1.5f, true},
    {"model", END, "k_proj.weight", 0, 0.0f, 1.5f, true},
    {"model", END, "attn.query.weight", 0, 0.0f, 1.5f, true},
    {"model", END, "attn.key.weight", 0, 0.0f, 1.5f, true},
    {NULL, END, "embed_tokens.weight", 0, 0.0f, 1.0f, false},
    {NULL, END, "input_embedding.weight", 0, 0.0f, 1.0f, false},
    {NULL, END, "positional_embedding.weight", 0, 0.0f, 0.1f, false},
    {NULL, END, ".weight", 1, 1.0f, 0.1f, false},
    {NULL, END, NULL, 1, 0.0f, 0.05f, false},
    {NULL, END, NULL, 0, 0.0f, 1.0f, true},
};

static bool fits(const value_rule *rule, const char *role, const char *name, int ndim)
{
    if (rule->role != NULL && strcmp(rule->role, role) != 0)
        return false;
    if (rule->ndim != 0 && rule->ndim != ndim)
        return false;
    if (rule->name == NULL)
        return true;
    size_t length = strlen(name), wanted = strlen(rule->name);
    if (rule->match == WHOLE ? length != wanted : length < wanted)
        return false;
    return strcmp(name + length - wanted, rule->name) == 0;
}

/* The two numbers are f32 by definition; they are widened for the sum. */
static void centre_and_amplitude(const char *role, const char *name, const sa2_tensor *shape,
                                 double *centre, double *amplitude)
{
    const value_rule *rule = rules;
    while (!fits(rule, role, name, shape->ndim)) /* the last fits everything */
        rule++;
    *centre = rule->centre;
    *amplitude = rule->amplitude;
    if (rule->by_fan_in)
        *amplitude = (float)(rule->amplitude * sqrt(3.0 / (double)sa2_tensor_row_count(shape)));
}

/* ---- values ---- */

static uint64_t fnv1a_64(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
}

static uint64_t base_of(const char *role, const char *name, uint64_t seed)
{
    uint64_t hash = fnv1a_64(14695981039346656037u, role);
    return fnv1a_64(fnv1a_64(hash, "/"), name) ^ seed;
}

static inline float value_at(uint64_t base, int64_t i, double centre, double amplitude)
{
    uint64_t z = base + ((uint64_t)i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z = z ^ (z >> 31);
    double u =
        (double)(int32_t)(z >> 40) * 0x1p-24; /* 24 bits: exact, as is what follows but the sum */
    return (float)(centre + amplitude * (2.0 * u - 1.0));
}

void sa2_synthetic_fill(void *out, const char *role, const char *name, const sa2_tensor *shape,
                        uint64_t seed, int64_t first, int64_t count)
{
    uint64_t base = base_of(role, name, seed);
    double centre, amplitude;
    centre_and_amplitude(role, name, shape, &centre, &amplitude);
    if (shape->dtype == SA2_BF16) {
        uint16_t *to = out;
        for (int64_t i = 0; i < count; i++)
            to[i] = sa2_f32_to_bf16(value_at(base, first + i, centre, amplitude));
    } else {
        float *to = out;
        for (int64_t i = 0; i < count; i++)
            to[i] = value_at(base, first + i, centre, amplitude);
    }
}

/* ---- maps ---- */

typedef struct synthetic_source {
    uint64_t seed;
    char role[];
} synthetic_source;

static sa2_status make(const void *context, const sa2_tensor_entry *entry, int64_t first,
                       int64_t count, void *out, sa2_error *err)
{
    (void)err;
    const synthetic_source *source = context;
    sa2_synthetic_fill(out, source->role, entry->name, &entry->tensor, source->seed, first, count);
    return SA2_OK;
}

sa2_status sa2_synthetic_map_of(sa2_tensor_map **map, const sa2_tensor_list *list, const char *role,
                                const char *origin, uint64_t seed, sa2_error *err)
{
    sa2_tensor_map *fresh = NULL;
    sa2_status st = sa2_tensor_map_create(&fresh, err);
    if (st != SA2_OK)
        return st;
    synthetic_source *source = malloc(sizeof *source + strlen(role) + 1);
    if (source == NULL) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "no memory for the weights of %s", origin);
        goto cleanup;
    }
    source->seed = seed;
    strcpy(source->role, role);
    st = sa2_tensor_map_keep(fresh, source, free, err);
    for (int i = 0; st == SA2_OK && i < list->n; i++)
        st = sa2_tensor_map_add_made(fresh, list->items[i].name, origin, list->items[i].shape, make,
                                     source, err);
    if (st == SA2_OK) {
        *map = fresh;
        fresh = NULL;
    }

cleanup:
    sa2_tensor_map_destroy(fresh);
    return st;
}

sa2_status sa2_synthetic_map(sa2_tensor_map **map, const sa2_preset *preset, uint64_t seed,
                             sa2_error *err)
{
    char origin[96];
    snprintf(origin, sizeof origin, "preset %s, seed %" PRIu64, preset->name, seed);
    sa2_tensor_list list = {0};
    sa2_status st = sa2_expected_tensors(&list, &preset->config, err);
    if (st == SA2_OK)
        st = sa2_synthetic_map_of(map, &list, "model", origin, seed, err);
    sa2_tensor_list_destroy(&list);
    return st;
}
