#include "loader/fold.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"

enum {
    NAME_BYTES = SA2_LIMIT_TENSOR_NAME_BYTES + 1,
    PIECE = 1024, /* elements that are read at a time */
};

/* ---- shared ---- */

/* True, and the name without `end`, when `name` ends with it. */
static bool cut_end(const char *name, const char *end, char stem[NAME_BYTES])
{
    size_t length = strlen(name), cut = strlen(end);
    if (length <= cut || length >= NAME_BYTES || strcmp(name + length - cut, end) != 0)
        return false;
    memcpy(stem, name, length - cut);
    stem[length - cut] = '\0';
    return true;
}

/* "stem end" as a name; false when it is too long for one. */
static bool join(char out[NAME_BYTES], const char *stem, const char *end)
{
    int n = snprintf(out, NAME_BYTES, "%s%s", stem, end);
    return n > 0 && n < NAME_BYTES;
}

static const sa2_tensor_entry *find(const sa2_tensor_map *map, const char *stem, const char *end)
{
    char name[NAME_BYTES];
    return join(name, stem, end) ? sa2_tensor_map_find(map, name) : NULL;
}

static sa2_status expect_floats(const sa2_tensor_entry *entry, int64_t n, sa2_error *err)
{
    if (entry->tensor.dtype == SA2_F32 && (n < 0 || sa2_tensor_count(&entry->tensor) == n))
        return SA2_OK;
    char found[96];
    sa2_tensor shown = entry->tensor;
    shown.data = found; /* an absent tensor is described as none */
    return sa2_fail_also(err, SA2_ERR_FORMAT, "%s in %s: %lld of f32 expected, %s found",
                         entry->name, entry->origin,
                         (long long)(n < 0 ? sa2_tensor_count(&entry->tensor) : n),
                         sa2_tensor_describe(&shown, found, sizeof found));
}

/* Adds a made tensor whose context is a copy of `parts`; the map owns it. */
static sa2_status add_made(sa2_tensor_map *map, const char *stem, const char *end,
                           const char *origin, sa2_tensor shape, sa2_tensor_maker maker,
                           const void *parts, size_t bytes, sa2_error *err)
{
    char name[NAME_BYTES];
    if (!join(name, stem, end))
        return sa2_fail_also(err, SA2_ERR_LIMIT, "%s%s: the name is too long", stem, end);
    void *context = malloc(bytes);
    if (context == NULL)
        return sa2_fail_also(err, SA2_ERR_NOMEM, "%s: no memory", name);
    memcpy(context, parts, bytes);
    sa2_status st = sa2_tensor_map_keep(map, context, free, err);
    if (st != SA2_OK)
        return st;
    shape.data = NULL;
    return sa2_tensor_map_add_made(map, name, origin, shape, maker, context, err);
}

/* ---- weight norm ---- */

/* Copies, because entries of a map move when more are added. */
typedef struct weight_norm {
    const sa2_tensor_map *map;
    sa2_tensor_entry g, v;
} weight_norm;

static sa2_status row_norm(const weight_norm *parts, int64_t row, double *norm, sa2_error *err)
{
    float piece[PIECE];
    int64_t row_count = sa2_tensor_row_count(&parts->v.tensor);
    double sum = 0.0;
    for (int64_t done = 0; done < row_count;) {
        int64_t n = row_count - done < PIECE ? row_count - done : PIECE;
        sa2_status st =
            sa2_tensor_map_read(parts->map, &parts->v, row * row_count + done, n, piece, err);
        if (st != SA2_OK)
            return st;
        for (int64_t i = 0; i < n; i++)
            sum += (double)piece[i] * (double)piece[i];
        done += n;
    }
    *norm = sqrt(sum);
    return SA2_OK;
}

/* A sa2_tensor_maker. */
static sa2_status make_weight(const void *context, const sa2_tensor_entry *entry, int64_t first,
                              int64_t count, void *out, sa2_error *err)
{
    const weight_norm *parts = context;
    int64_t row_count = sa2_tensor_row_count(&entry->tensor);
    float *to = out;
    sa2_status st = sa2_tensor_map_read(parts->map, &parts->v, first, count, to, err);
    for (int64_t i = 0; i < count && st == SA2_OK;) {
        int64_t row = (first + i) / row_count;
        int64_t end = (row + 1) * row_count - first;
        float g = 0.0f;
        double norm = 0.0;
        st = sa2_tensor_map_read(parts->map, &parts->g, row, 1, &g, err);
        if (st == SA2_OK)
            st = row_norm(parts, row, &norm, err);
        for (; i < count && i < end; i++)
            to[i] = (float)((double)to[i] * (double)g / norm);
    }
    return st;
}

static sa2_status fold_pair(sa2_tensor_map *map, const char *stem, const char *g_end,
                            const char *v_end, sa2_error *err)
{
    const sa2_tensor_entry *g = find(map, stem, g_end), *v = find(map, stem, v_end);
    if (g == NULL || v == NULL)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s%s is missing beside its %s", stem,
                             g == NULL ? g_end : v_end, g == NULL ? v_end : g_end);
    sa2_status st = expect_floats(v, -1, err);
    if (st == SA2_OK)
        st = expect_floats(g, v->tensor.shape[0], err);
    if (st != SA2_OK)
        return st;
    sa2_tensor_map_mark_used(map, g->name);
    sa2_tensor_map_mark_used(map, v->name);
    weight_norm parts = {.map = map, .g = *g, .v = *v};
    return add_made(map, stem, ".weight", v->origin, v->tensor, make_weight, &parts, sizeof parts,
                    err);
}

sa2_status sa2_fold_weight_norm(sa2_tensor_map *map, sa2_error *err)
{
    static const char *const forms[][2] = {
        {".parametrizations.weight.original0", ".parametrizations.weight.original1"},
        {".weight_g", ".weight_v"},
    };
    char stem[NAME_BYTES];
    sa2_status st = SA2_OK;
    int n = sa2_tensor_map_count(map); /* what is added on the way needs no folding */
    for (int i = 0; i < n; i++) {
        const char *name = sa2_tensor_map_entry(map, i)->name;
        for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
            const char *g_end = forms[f][0], *v_end = forms[f][1];
            bool lone_v = cut_end(name, v_end, stem) && find(map, stem, g_end) == NULL;
            if (!lone_v && !cut_end(name, g_end, stem))
                continue;
            sa2_status judged = fold_pair(map, stem, g_end, v_end, err);
            st = st != SA2_OK ? st : judged;
        }
    }
    return st;
}

/* ---- batch norm ---- */

typedef struct batch_norm {
    const sa2_tensor_map *map;
    sa2_tensor_entry mean, var, weight, bias;
    bool affine; /* there are a weight and a bias */
    bool shift;  /* what is made; else the scale */
    double eps;
} batch_norm;

/* A sa2_tensor_maker. */
static sa2_status make_affine(const void *context, const sa2_tensor_entry *entry, int64_t first,
                              int64_t count, void *out, sa2_error *err)
{
    (void)entry;
    const batch_norm *parts = context;
    float *to = out;
    sa2_status st = SA2_OK;
    for (int64_t i = 0; i < count && st == SA2_OK; i++) {
        float mean = 0.0f, var = 0.0f, weight = 1.0f, bias = 0.0f;
        st = sa2_tensor_map_read(parts->map, &parts->mean, first + i, 1, &mean, err);
        if (st == SA2_OK)
            st = sa2_tensor_map_read(parts->map, &parts->var, first + i, 1, &var, err);
        if (st == SA2_OK && parts->affine)
            st = sa2_tensor_map_read(parts->map, &parts->weight, first + i, 1, &weight, err);
        if (st == SA2_OK && parts->affine)
            st = sa2_tensor_map_read(parts->map, &parts->bias, first + i, 1, &bias, err);
        double scale = (double)weight / sqrt((double)var + parts->eps);
        to[i] = (float)(parts->shift ? (double)bias - (double)mean * scale : scale);
    }
    return st;
}

static sa2_status fold_norm(sa2_tensor_map *map, const char *stem, double eps, sa2_error *err)
{
    const sa2_tensor_entry *mean = find(map, stem, ".running_mean");
    const sa2_tensor_entry *var = find(map, stem, ".running_var");
    const sa2_tensor_entry *weight = find(map, stem, ".weight"), *bias = find(map, stem, ".bias");
    if (mean == NULL || var == NULL)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s%s is missing", stem,
                             mean == NULL ? ".running_mean" : ".running_var");
    if ((weight == NULL) != (bias == NULL))
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s%s is missing", stem,
                             weight == NULL ? ".weight" : ".bias");
    const sa2_tensor_entry *const all[] = {mean, var, weight, bias};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i] == NULL)
            continue;
        sa2_status st = expect_floats(all[i], sa2_tensor_count(&mean->tensor), err);
        if (st != SA2_OK)
            return st;
        sa2_tensor_map_mark_used(map, all[i]->name);
    }
    batch_norm parts = {.map = map, .mean = *mean, .var = *var, .eps = eps};
    parts.affine = weight != NULL;
    if (parts.affine) {
        parts.weight = *weight;
        parts.bias = *bias;
    }
    sa2_status st = add_made(map, stem, ".scale", parts.mean.origin, parts.mean.tensor, make_affine,
                             &parts, sizeof parts, err);
    parts.shift = true;
    return st != SA2_OK ? st
                        : add_made(map, stem, ".shift", parts.mean.origin, parts.mean.tensor,
                                   make_affine, &parts, sizeof parts, err);
}

sa2_status sa2_fold_batch_norm(sa2_tensor_map *map, double eps, sa2_error *err)
{
    char stem[NAME_BYTES];
    sa2_status st = SA2_OK;
    int n = sa2_tensor_map_count(map);
    for (int i = 0; i < n; i++) {
        const char *name = sa2_tensor_map_entry(map, i)->name;
        bool lone_var =
            cut_end(name, ".running_var", stem) && find(map, stem, ".running_mean") == NULL;
        if (!lone_var && !cut_end(name, ".running_mean", stem))
            continue;
        sa2_status judged = fold_norm(map, stem, eps, err);
        st = st != SA2_OK ? st : judged;
    }
    return st;
}
