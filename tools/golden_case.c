#include "tools/golden_case.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/arena.h"
#include "loader/safetensors.h"

typedef struct golden_tensor {
    const char *name; /* with its prefix; of the map */
    sa2_tensor values;
} golden_tensor;

struct sa2_golden_case {
    sa2_tensor_map *map;
    char *origin;
    void *values; /* of all tensors */
    golden_tensor *tensors;
    int n_tensors;
    json_t *tolerance, *tolerance_bf16; /* NULL: the file has none */
};

static const char OUT[] = "out.";
static const char IN[] = "in.";

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* ---- reading ---- */

static sa2_status read_values(sa2_golden_case *golden, sa2_error *err)
{
    int n = sa2_tensor_map_count(golden->map);
    size_t bytes = SA2_ARENA_ALIGN;
    for (int i = 0; i < n; i++)
        bytes += sa2_arena_round(sa2_tensor_bytes(&sa2_tensor_map_entry(golden->map, i)->tensor));
    golden->tensors = calloc((size_t)n + 1, sizeof *golden->tensors);
    golden->values = aligned_alloc(SA2_ARENA_ALIGN, bytes);
    if (golden->tensors == NULL || golden->values == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %zu bytes", golden->origin, bytes);
    char *next = golden->values;
    for (int i = 0; i < n; i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(golden->map, i);
        sa2_tensor values = entry->tensor;
        if (!starts_with(entry->name, IN) && !starts_with(entry->name, OUT))
            return sa2_fail(err, SA2_ERR_FORMAT,
                            "%s: not a golden case: tensor %s is neither in.* nor out.*",
                            golden->origin, entry->name);
        if (values.dtype != SA2_F32 && values.dtype != SA2_I32)
            return sa2_fail(err, SA2_ERR_FORMAT,
                            "%s: not a golden case: tensor %s is %s, f32 or i32 expected",
                            golden->origin, entry->name, sa2_dtype_name(values.dtype));
        values.data = next;
        next += sa2_arena_round(sa2_tensor_bytes(&values));
        sa2_status st =
            sa2_tensor_map_read(golden->map, entry, 0, sa2_tensor_count(&values), values.data, err);
        if (st != SA2_OK)
            return st;
        golden->tensors[golden->n_tensors++] = (golden_tensor){entry->name, values};
    }
    return SA2_OK;
}

/* One bound of {"abs": a, "rel": r, "l2": q}: a number that is not negative. */
static bool is_bound(const json_t *bounds, const char *key, bool needed)
{
    const json_t *value = json_object_get(bounds, key);
    if (value == NULL)
        return !needed;
    return json_is_number(value) && json_number_value(value) >= 0.0;
}

static sa2_status read_tolerance(const sa2_golden_case *golden, const char *key, json_t **tolerance,
                                 sa2_error *err)
{
    const char *text = sa2_golden_text(golden, key);
    if (text == NULL)
        return SA2_OK;
    json_error_t where;
    *tolerance = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(*tolerance))
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: metadata %s is no JSON object: %s",
                        golden->origin, key, *tolerance == NULL ? where.text : "another type");
    const char *output;
    json_t *bounds;
    json_object_foreach(*tolerance, output, bounds)
    {
        if (!json_is_object(bounds) || !is_bound(bounds, "abs", true) ||
            !is_bound(bounds, "rel", true) || !is_bound(bounds, "l2", false))
            return sa2_fail(err, SA2_ERR_FORMAT,
                            "%s: %s of %s: {\"abs\", \"rel\", maybe \"l2\"} of numbers from 0 on "
                            "expected",
                            golden->origin, key, output);
    }
    return SA2_OK;
}

/* Takes over *golden's map, which was opened with status st. */
static sa2_status finish_opening(sa2_golden_case *golden, sa2_golden_case **result, sa2_status st,
                                 sa2_error *err)
{
    if (st == SA2_OK && sa2_golden_text(golden, "part") == NULL)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: not a golden case: no metadata `part`",
                      golden->origin);
    if (st == SA2_OK)
        st = read_values(golden, err);
    if (st == SA2_OK && sa2_golden_outputs(golden) == 0)
        st =
            sa2_fail(err, SA2_ERR_FORMAT, "%s: not a golden case: no tensor out.*", golden->origin);
    if (st == SA2_OK)
        st = read_tolerance(golden, "tolerance", &golden->tolerance, err);
    if (st == SA2_OK)
        st = read_tolerance(golden, "tolerance_bf16", &golden->tolerance_bf16, err);
    if (st == SA2_OK)
        *result = golden;
    else
        sa2_golden_case_close(golden);
    return st;
}

static sa2_golden_case *create(const char *origin, sa2_error *err)
{
    sa2_golden_case *golden = calloc(1, sizeof *golden);
    if (golden != NULL)
        golden->origin = strdup(origin);
    if (golden == NULL || golden->origin == NULL) {
        sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", origin);
        free(golden);
        return NULL;
    }
    return golden;
}

sa2_status sa2_golden_case_open(sa2_golden_case **golden, const char *path, sa2_error *err)
{
    *golden = NULL;
    sa2_golden_case *made = create(path, err);
    if (made == NULL)
        return SA2_ERR_NOMEM;
    return finish_opening(made, golden, sa2_safetensors_open(&made->map, path, err), err);
}

sa2_status sa2_golden_case_parse(sa2_golden_case **golden, const void *bytes, size_t n,
                                 const char *origin, sa2_error *err)
{
    *golden = NULL;
    sa2_golden_case *made = create(origin, err);
    if (made == NULL)
        return SA2_ERR_NOMEM;
    return finish_opening(made, golden, sa2_safetensors_parse(&made->map, bytes, n, origin, err),
                          err);
}

void sa2_golden_case_close(sa2_golden_case *golden)
{
    if (golden == NULL)
        return;
    json_decref(golden->tolerance);
    json_decref(golden->tolerance_bf16);
    free(golden->tensors);
    free(golden->values);
    sa2_tensor_map_destroy(golden->map);
    free(golden->origin);
    free(golden);
}

/* ---- looking ---- */

const char *sa2_golden_origin(const sa2_golden_case *golden)
{
    return golden->origin;
}

const char *sa2_golden_name(const sa2_golden_case *golden)
{
    const char *name = sa2_golden_text(golden, "case");
    if (name != NULL)
        return name;
    const char *slash = strrchr(golden->origin, '/');
    return slash != NULL ? slash + 1 : golden->origin;
}

const char *sa2_golden_part(const sa2_golden_case *golden)
{
    return sa2_golden_text(golden, "part");
}

const char *sa2_golden_text(const sa2_golden_case *golden, const char *key)
{
    return sa2_tensor_map_metadata(golden->map, key);
}

sa2_status sa2_golden_number(const sa2_golden_case *golden, const char *key, int64_t least,
                             int64_t most, int64_t *number, sa2_error *err)
{
    const char *text = sa2_golden_text(golden, key);
    if (text == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: no metadata `%s`", golden->origin, key);
    char *end;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || value < least || value > most)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "%s: metadata %s is \"%.40s\", a number from %lld to %lld expected",
                        golden->origin, key, text, (long long)least, (long long)most);
    *number = value;
    return SA2_OK;
}

static sa2_tensor find(const sa2_golden_case *golden, const char *prefix, const char *name)
{
    size_t skip = strlen(prefix);
    for (int i = 0; i < golden->n_tensors; i++)
        if (starts_with(golden->tensors[i].name, prefix) &&
            strcmp(golden->tensors[i].name + skip, name) == 0)
            return golden->tensors[i].values;
    return (sa2_tensor){0};
}

sa2_tensor sa2_golden_input(const sa2_golden_case *golden, const char *name)
{
    return find(golden, IN, name);
}

sa2_tensor sa2_golden_output(const sa2_golden_case *golden, const char *name)
{
    return find(golden, OUT, name);
}

sa2_status sa2_golden_expect(const sa2_golden_case *golden, const char *name, sa2_dtype dtype,
                             int ndim, const int64_t *shape, sa2_tensor *input, sa2_error *err)
{
    sa2_tensor found = find(golden, IN, name);
    if (found.data == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: no tensor in.%s", golden->origin, name);
    bool fits = found.dtype == dtype && found.ndim == ndim;
    for (int i = 0; fits && shape != NULL && i < ndim; i++)
        fits = shape[i] < 0 || shape[i] == found.shape[i];
    if (!fits) {
        char text[96];
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: in.%s is %s: %s with %d dimensions expected%s",
                        golden->origin, name, sa2_tensor_describe(&found, text, sizeof text),
                        sa2_dtype_name(dtype), ndim, shape != NULL ? ", of other sizes" : "");
    }
    *input = found;
    return SA2_OK;
}

int sa2_golden_outputs(const sa2_golden_case *golden)
{
    int n = 0;
    for (int i = 0; i < golden->n_tensors; i++)
        n += starts_with(golden->tensors[i].name, OUT);
    return n;
}

const char *sa2_golden_output_name(const sa2_golden_case *golden, int i)
{
    for (int k = 0; k < golden->n_tensors; k++)
        if (starts_with(golden->tensors[k].name, OUT) && i-- == 0)
            return golden->tensors[k].name + strlen(OUT);
    return NULL;
}

sa2_tolerance sa2_golden_tolerance(const sa2_golden_case *golden, const char *output,
                                   sa2_dtype dtype)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s", OUT, output);
    const json_t *bounds = NULL;
    if (dtype == SA2_BF16)
        bounds = json_object_get(golden->tolerance_bf16, name);
    if (bounds == NULL)
        bounds = json_object_get(golden->tolerance, name);
    if (bounds == NULL)
        return (sa2_tolerance){.l2 = -1.0};
    const json_t *l2 = json_object_get(bounds, "l2");
    return (sa2_tolerance){
        .known = true,
        .abs = json_number_value(json_object_get(bounds, "abs")),
        .rel = json_number_value(json_object_get(bounds, "rel")),
        .l2 = l2 != NULL ? json_number_value(l2) : -1.0,
    };
}
