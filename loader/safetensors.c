#include "loader/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"

enum { LENGTH_BYTES = 8 }; /* the header's length, before the header */

/* How the values of a tensor get from the file to the map. */
typedef enum value_route {
    ROUTE_MAPPED, /* where they lie, if aligned; else copied */
    ROUTE_NARROW, /* I64 to I32 */
} value_route;

typedef struct file_dtype {
    const char *name;
    sa2_dtype dtype; /* in the map */
    int bytes;       /* in the file */
    value_route route;
} file_dtype;

static const file_dtype dtypes[] = {
    {"F32", SA2_F32, 4, ROUTE_MAPPED}, {"BF16", SA2_BF16, 2, ROUTE_MAPPED},
    {"I32", SA2_I32, 4, ROUTE_MAPPED}, {"U8", SA2_U8, 1, ROUTE_MAPPED},
    {"BOOL", SA2_U8, 1, ROUTE_MAPPED}, {"I64", SA2_I32, 8, ROUTE_NARROW},
};

/* One file that is being added to a map. */
typedef struct file_reader {
    sa2_tensor_map *map;
    const char *origin;
    const unsigned char *data; /* of the tensors */
    uint64_t data_bytes;
    bool mapped;
    sa2_status status; /* of the first mistake */
    sa2_error *err;
} file_reader;

/* A tensor as the header describes it. */
typedef struct file_tensor {
    const char *name;
    const file_dtype *dtype;
    sa2_tensor tensor;
    uint64_t begin, end; /* bytes of the data section */
} file_tensor;

static void note(file_reader *r, sa2_status st)
{
    if (r->status == SA2_OK)
        r->status = st;
}

/* ---- one tensor of the header ---- */

static bool read_dtype(file_reader *r, file_tensor *t, const json_t *description)
{
    const char *name = json_string_value(json_object_get(description, "dtype"));
    for (size_t i = 0; name != NULL && i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            t->dtype = &dtypes[i];
            t->tensor.dtype = dtypes[i].dtype;
            return true;
        }
    }
    note(r, sa2_fail_also(r->err, name != NULL ? SA2_ERR_UNSUPPORTED : SA2_ERR_FORMAT,
                          "%s: dtype F32, BF16, I32, I64, U8 or BOOL expected, %.16s in %s",
                          t->name, name != NULL ? name : "none", r->origin));
    return false;
}

/* Also the number of bytes, which then fits an int64_t. */
static bool read_shape(file_reader *r, file_tensor *t, const json_t *description, uint64_t *bytes)
{
    const json_t *shape = json_object_get(description, "shape");
    size_t ndim = json_array_size(shape);
    if (!json_is_array(shape) || ndim > SA2_MAX_DIMS) {
        note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT,
                              "%s: a shape of 0 to %d dimensions expected in %s", t->name,
                              SA2_MAX_DIMS, r->origin));
        return false;
    }
    int64_t n = t->dtype->bytes;
    t->tensor.ndim = ndim > 0 ? (int)ndim : 1;
    t->tensor.shape[0] = 1;
    for (size_t i = 0; i < ndim; i++) {
        const json_t *size = json_array_get(shape, i);
        json_int_t value = json_integer_value(size);
        if (!json_is_integer(size) || value < 0 || __builtin_mul_overflow(n, value, &n)) {
            note(r,
                 sa2_fail_also(r->err, SA2_ERR_FORMAT, "%s: size %zu of its shape is no size in %s",
                               t->name, i, r->origin));
            return false;
        }
        t->tensor.shape[i] = value;
    }
    /* A size of 0 hides an overflow among the others. */
    int64_t row = 1;
    for (int i = 1; i < t->tensor.ndim; i++) {
        if (__builtin_mul_overflow(row, t->tensor.shape[i], &row)) {
            note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT, "%s: its shape overflows in %s", t->name,
                                  r->origin));
            return false;
        }
    }
    t->tensor.stride = row;
    *bytes = (uint64_t)n;
    return true;
}

static bool read_offsets(file_reader *r, file_tensor *t, const json_t *description, uint64_t bytes)
{
    const json_t *offsets = json_object_get(description, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    json_int_t first = json_integer_value(begin), last = json_integer_value(end);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        first < 0 || last < first) {
        note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT,
                              "%s: data_offsets [begin, end] expected in %s", t->name, r->origin));
        return false;
    }
    t->begin = (uint64_t)first;
    t->end = (uint64_t)last;
    if (t->end - t->begin != bytes) {
        note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT,
                              "%s: %" PRIu64 " bytes expected for its shape, %" PRIu64 " in %s",
                              t->name, bytes, t->end - t->begin, r->origin));
        return false;
    }
    if (t->end > r->data_bytes) {
        note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT,
                              "%s: ends at byte %" PRIu64 " of the data, %s has %" PRIu64
                              " (cut short?)",
                              t->name, t->end, r->origin, r->data_bytes));
        return false;
    }
    return true;
}

static bool read_tensor(file_reader *r, file_tensor *t, const json_t *description)
{
    uint64_t bytes;
    if (!json_is_object(description)) {
        note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT, "%s: a description expected in %s", t->name,
                              r->origin));
        return false;
    }
    return read_dtype(r, t, description) && read_shape(r, t, description, &bytes) &&
           read_offsets(r, t, description, bytes);
}

/* ---- values that do not lie ready ---- */

/* The context of both is the tensor's first byte in the file. */
static sa2_status copy_values(const void *context, const sa2_tensor_entry *entry, int64_t first,
                              int64_t count, void *out, sa2_error *err)
{
    (void)err;
    size_t size = sa2_dtype_bytes(entry->tensor.dtype);
    memcpy(out, (const char *)context + (size_t)first * size, (size_t)count * size);
    return SA2_OK;
}

static sa2_status narrow_values(const void *context, const sa2_tensor_entry *entry, int64_t first,
                                int64_t count, void *out, sa2_error *err)
{
    const char *from = (const char *)context + (size_t)first * sizeof(int64_t);
    int32_t *to = out;
    for (int64_t i = 0; i < count; i++) {
        int64_t wide;
        memcpy(&wide, from + (size_t)i * sizeof wide, sizeof wide);
        if (wide < INT32_MIN || wide > INT32_MAX)
            return sa2_fail(err, SA2_ERR_UNSUPPORTED,
                            "%s: element %" PRId64 " is %" PRId64
                            ", which 32 bits do not hold, in %s",
                            entry->name, first + i, wide, entry->origin);
        to[i] = (int32_t)wide;
    }
    return SA2_OK;
}

static sa2_status add_tensor(file_reader *r, const file_tensor *t)
{
    const unsigned char *values = r->data + t->begin;
    sa2_tensor tensor = t->tensor;
    if (t->dtype->route == ROUTE_NARROW)
        return sa2_tensor_map_add_made(r->map, t->name, r->origin, tensor, narrow_values, values,
                                       r->err);
    if ((uintptr_t)values % sa2_dtype_bytes(tensor.dtype) != 0)
        return sa2_tensor_map_add_made(r->map, t->name, r->origin, tensor, copy_values, values,
                                       r->err);
    tensor.data = (void *)(uintptr_t)values; /* read-only by the contract of the map */
    if (r->mapped)
        return sa2_tensor_map_add_mapped(r->map, t->name, r->origin, tensor, r->err);
    return sa2_tensor_map_add(r->map, t->name, r->origin, tensor, r->err);
}

/* ---- the whole header ---- */

static int by_offset(const void *a, const void *b)
{
    const file_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* The tensors must cover the data, each byte once. */
static void check_cover(file_reader *r, file_tensor *tensors, size_t n)
{
    uint64_t covered = 0;
    const char *before = "the header";
    qsort(tensors, n, sizeof *tensors, by_offset);
    for (size_t i = 0; i < n; i++) {
        const file_tensor *t = &tensors[i];
        if (t->begin != covered)
            note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT,
                                  "%s: starts at byte %" PRIu64 " of the data, %s ends at %" PRIu64
                                  " (%s) in %s",
                                  t->name, t->begin, before, covered,
                                  t->begin < covered ? "overlap" : "hole", r->origin));
        if (t->end > covered)
            covered = t->end;
        before = t->name;
    }
    if (covered < r->data_bytes)
        note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT, "%s: %" PRIu64 " bytes after the last tensor",
                              r->origin, r->data_bytes - covered));
}

static void read_metadata(file_reader *r, const json_t *metadata)
{
    const char *key;
    const json_t *value;
    if (!json_is_object(metadata)) {
        note(r,
             sa2_fail_also(r->err, SA2_ERR_FORMAT, "%s: __metadata__ is not an object", r->origin));
        return;
    }
    /* json_object_foreach() wants an object that may change. */
    for (void *i = json_object_iter((json_t *)(uintptr_t)metadata); i != NULL;
         i = json_object_iter_next((json_t *)(uintptr_t)metadata, i)) {
        key = json_object_iter_key(i);
        value = json_object_iter_value(i);
        if (json_is_string(value))
            note(r, sa2_tensor_map_add_metadata(r->map, key, json_string_value(value), r->err));
        else
            note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT, "%s: __metadata__ %s is not a string",
                                  r->origin, key));
    }
}

static void read_header(file_reader *r, json_t *header)
{
    const char *name;
    json_t *value;
    size_t n = 0, room = json_object_size(header);
    if (room > SA2_LIMIT_TENSORS) {
        note(r, sa2_fail_also(r->err, SA2_ERR_LIMIT, "%s: %zu tensors, at most %d expected",
                              r->origin, room, SA2_LIMIT_TENSORS));
        return;
    }
    file_tensor *tensors = calloc(room + 1, sizeof *tensors);
    if (tensors == NULL) {
        note(r, sa2_fail_also(r->err, SA2_ERR_NOMEM, "%s: no memory for %zu tensors", r->origin,
                              room));
        return;
    }
    json_object_foreach(header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) {
            read_metadata(r, value);
            continue;
        }
        file_tensor t = {.name = name};
        if (!read_tensor(r, &t, value))
            continue;
        tensors[n++] = t;
        note(r, add_tensor(r, &t));
    }
    if (r->status == SA2_OK) /* one wrong tensor would show as a hole, too */
        check_cover(r, tensors, n);
    free(tensors);
}

sa2_status sa2_safetensors_add(sa2_tensor_map *map, const void *bytes, size_t n, bool mapped,
                               const char *origin, sa2_error *err)
{
    const unsigned char *file = bytes;
    uint64_t length = 0;
    if (n < LENGTH_BYTES)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s: %zu bytes, no safetensors file", origin, n);
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        length = length << 8 | file[i];
    if (length > SA2_LIMIT_SAFETENSORS_HEADER_BYTES)
        return sa2_fail_also(err, SA2_ERR_LIMIT,
                             "%s: a header of %" PRIu64 " bytes, at most %d expected", origin,
                             length, SA2_LIMIT_SAFETENSORS_HEADER_BYTES);
    if (length > n - LENGTH_BYTES)
        return sa2_fail_also(err, SA2_ERR_FORMAT,
                             "%s: a header of %" PRIu64 " bytes in a file of %zu (cut short?)",
                             origin, length, n);

    json_error_t where;
    const char *text = (const char *)file + LENGTH_BYTES;
    json_t *header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &where);
    if (header == NULL)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s: header, byte %d: %s", origin, where.position,
                             where.text);
    file_reader r = {.map = map, .origin = origin, .mapped = mapped, .err = err};
    r.data = file + LENGTH_BYTES + length;
    r.data_bytes = n - LENGTH_BYTES - length;
    if (json_is_object(header))
        read_header(&r, header);
    else
        note(&r, sa2_fail_also(err, SA2_ERR_FORMAT, "%s: the header is not a JSON object", origin));
    json_decref(header);
    return r.status;
}
