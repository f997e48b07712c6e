#include "loader/torch_zip.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"
#include "loader/little_endian.h"
#include "loader/mapped_file.h"
#include "loader/pickle.h"
#include "loader/zip_directory.h"

enum { NAME_BYTES = SA2_LIMIT_TENSOR_NAME_BYTES + 1 };

/* ---- tensors made on demand ---- */

/* Where the elements of a tensor lie that cannot be used as it is. */
typedef struct strided {
    const unsigned char *storage;
    sa2_pickle_tensor tensor;
} strided;

static float half_to_f32(uint16_t x)
{
    int exponent = x >> 10 & 0x1f, fraction = x & 0x3ff;
    float value = exponent == 0x1f ? (fraction != 0 ? NAN : INFINITY)
                  : exponent == 0  ? ldexpf((float)fraction, -24)
                                   : ldexpf((float)(fraction | 0x400), exponent - 25);
    return x >> 15 ? -value : value;
}

/* One element in the type that the map shows. */
static sa2_status convert(const unsigned char *from, sa2_pickle_storage storage, void *to,
                          sa2_error *err)
{
    float real = 0.0f;
    double wide = 0.0;
    int64_t number = 0;
    int32_t narrow = 0;
    switch (storage) {
    case SA2_PICKLE_FLOAT:
    case SA2_PICKLE_BFLOAT16:
    case SA2_PICKLE_INT:
    case SA2_PICKLE_BYTE:
        memcpy(to, from, sa2_pickle_storage_bytes(storage));
        return SA2_OK;
    case SA2_PICKLE_HALF:
        real = half_to_f32(sa2_le16(from));
        break;
    case SA2_PICKLE_DOUBLE:
        memcpy(&wide, from, sizeof wide);
        real = (float)wide;
        break;
    case SA2_PICKLE_LONG:
        number = (int64_t)sa2_le64(from);
        narrow = (int32_t)number;
        if (narrow != number)
            return sa2_fail(err, SA2_ERR_FORMAT, "value %lld, only 32 bits can be used",
                            (long long)number);
        memcpy(to, &narrow, sizeof narrow);
        return SA2_OK;
    }
    memcpy(to, &real, sizeof real);
    return SA2_OK;
}

/* A sa2_tensor_maker. */
static sa2_status make_strided(const void *context, const sa2_tensor_entry *entry, int64_t first,
                               int64_t count, void *out, sa2_error *err)
{
    const strided *s = context;
    const sa2_pickle_tensor *t = &s->tensor;
    size_t from_bytes = sa2_pickle_storage_bytes(t->storage);
    size_t to_bytes = sa2_dtype_bytes(entry->tensor.dtype);
    for (int64_t i = 0; i < count; i++) {
        int64_t place = t->offset, rest = first + i;
        for (int d = t->ndim - 1; d >= 0; d--) {
            place += rest % t->shape[d] * t->stride[d];
            rest /= t->shape[d];
        }
        sa2_status st = convert(s->storage + (size_t)place * from_bytes, t->storage,
                                (char *)out + (size_t)i * to_bytes, err);
        if (st != SA2_OK)
            return sa2_wrap(err, st, "%s: %s element %lld", entry->origin, entry->name,
                            (long long)(first + i));
    }
    return SA2_OK;
}

/* ---- adding a tensor ---- */

/* Where tensors come from. */
typedef struct torch_source {
    const char *origin;
    bool mapped; /* the bytes are those of a mapped file */
    const char *prefix;
} torch_source;

static bool is_dense(const sa2_pickle_tensor *t)
{
    int64_t step = 1;
    for (int d = t->ndim - 1; d >= 0; d--) {
        if (t->shape[d] > 1 && t->stride[d] != step)
            return false;
        step *= t->shape[d];
    }
    return true;
}

static sa2_tensor shape_of(const sa2_pickle_tensor *t)
{
    static const sa2_dtype dtypes[] = {
        [SA2_PICKLE_FLOAT] = SA2_F32, [SA2_PICKLE_BFLOAT16] = SA2_BF16,
        [SA2_PICKLE_HALF] = SA2_F32,  [SA2_PICKLE_DOUBLE] = SA2_F32,
        [SA2_PICKLE_INT] = SA2_I32,   [SA2_PICKLE_LONG] = SA2_I32,
        [SA2_PICKLE_BYTE] = SA2_U8,
    };
    sa2_tensor shape = {
        .dtype = dtypes[t->storage], .ndim = t->ndim > 0 ? t->ndim : 1, .shape = {1}};
    memcpy(shape.shape, t->shape, (size_t)t->ndim * sizeof t->shape[0]);
    shape.stride = sa2_tensor_row_count(&shape);
    return shape;
}

/* The bytes of the storage <root>/data/<key>. */
static sa2_status find_storage(const sa2_zip_directory *zip, const char *root, size_t root_bytes,
                               const sa2_pickle_tensor *t, const unsigned char **data,
                               sa2_error *err)
{
    char path[SA2_LIMIT_ZIP_NAME_BYTES];
    static const char folder[] = "data/";
    size_t folder_bytes = sizeof folder - 1;
    if (root_bytes + folder_bytes > sizeof path ||
        t->key_bytes > sizeof path - root_bytes - folder_bytes)
        return sa2_fail(err, SA2_ERR_LIMIT, "a storage's key has %zu bytes", t->key_bytes);
    memcpy(path, root, root_bytes);
    memcpy(path + root_bytes, folder, folder_bytes);
    memcpy(path + root_bytes + folder_bytes, t->key, t->key_bytes);
    size_t path_bytes = root_bytes + folder_bytes + t->key_bytes;
    const sa2_zip_entry *entry = sa2_zip_directory_find(zip, path, path_bytes);
    if (entry == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "storage %.*s is missing", (int)path_bytes, path);
    size_t width = sa2_pickle_storage_bytes(t->storage);
    if (entry->bytes % width != 0 || entry->bytes / width != (size_t)t->storage_count)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "storage %.*s: %lld elements of %zu bytes expected, %zu bytes found",
                        (int)path_bytes, path, (long long)t->storage_count, width, entry->bytes);
    *data = entry->data;
    return SA2_OK;
}

static sa2_status add_tensor(sa2_tensor_map *map, const char *name, const torch_source *source,
                             const sa2_pickle_tensor *t, const unsigned char *storage,
                             sa2_error *err)
{
    sa2_tensor tensor = shape_of(t);
    size_t width = sa2_pickle_storage_bytes(t->storage);
    const unsigned char *data = storage + (size_t)t->offset * width;
    bool as_it_is = t->storage == SA2_PICKLE_FLOAT || t->storage == SA2_PICKLE_BFLOAT16 ||
                    t->storage == SA2_PICKLE_INT || t->storage == SA2_PICKLE_BYTE;
    if (as_it_is && is_dense(t) && (uintptr_t)data % width == 0) {
        memcpy(&tensor.data, &data, sizeof data); /* the map never writes to it */
        return source->mapped ? sa2_tensor_map_add_mapped(map, name, source->origin, tensor, err)
                              : sa2_tensor_map_add(map, name, source->origin, tensor, err);
    }
    strided *s = malloc(sizeof *s);
    if (s == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "memory: %zu bytes asked for", sizeof *s);
    *s = (strided){.storage = storage, .tensor = *t};
    sa2_status st = sa2_tensor_map_keep(map, s, free, err);
    if (st != SA2_OK)
        return st;
    return sa2_tensor_map_add_made(map, name, source->origin, tensor, make_strided, s, err);
}

/* ---- the archive ---- */

/* The one entry <root>/data.pkl; *root_bytes counts the slash. */
static sa2_status find_pickle(const sa2_zip_directory *zip, const sa2_zip_entry **pickle,
                              size_t *root_bytes, sa2_error *err)
{
    static const char file[] = "/data.pkl";
    size_t file_bytes = sizeof file - 1;
    *pickle = NULL;
    for (size_t i = 0; i < zip->n_entries; i++) {
        const sa2_zip_entry *e = &zip->entries[i];
        if (e->name_bytes <= file_bytes ||
            memcmp(e->name + e->name_bytes - file_bytes, file, file_bytes) != 0)
            continue;
        if (*pickle != NULL)
            return sa2_fail(err, SA2_ERR_FORMAT, "two dicts, %.*s and %.*s",
                            (int)(*pickle)->name_bytes, (*pickle)->name, (int)e->name_bytes,
                            e->name);
        *pickle = e;
        *root_bytes = e->name_bytes - file_bytes + 1;
    }
    if (*pickle == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "no data.pkl among %zu entries: not a file of torch.save", zip->n_entries);
    return SA2_OK;
}

static sa2_status judge_byte_order(const sa2_zip_directory *zip, const char *root,
                                   size_t root_bytes, sa2_error *err)
{
    char path[SA2_LIMIT_ZIP_NAME_BYTES];
    static const char file[] = "byteorder";
    size_t path_bytes = root_bytes + sizeof file - 1;
    if (path_bytes > sizeof path)
        return SA2_OK; /* no entry has such a name */
    memcpy(path, root, root_bytes);
    memcpy(path + root_bytes, file, sizeof file - 1);
    const sa2_zip_entry *order = sa2_zip_directory_find(zip, path, path_bytes);
    if (order != NULL && (order->bytes != 6 || memcmp(order->data, "little", 6) != 0))
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "byte order %.*s, little can be read",
                        (int)(order->bytes < 20 ? order->bytes : 20), (const char *)order->data);
    return SA2_OK;
}

/* The name without the prefix, ended by a 0. */
static sa2_status name_of(const sa2_pickle_tensor *t, const char *prefix, char *name,
                          sa2_error *err)
{
    size_t cut = prefix != NULL ? strlen(prefix) : 0;
    if (t->name_bytes < cut || (cut > 0 && memcmp(t->name, prefix, cut) != 0))
        cut = 0;
    size_t bytes = t->name_bytes - cut;
    if (bytes < 1 || bytes >= NAME_BYTES || memchr(t->name + cut, '\0', bytes) != NULL)
        return sa2_fail(err, SA2_ERR_LIMIT,
                        "a tensor's name of %zu bytes, 1 to %d without zeros can be read", bytes,
                        SA2_LIMIT_TENSOR_NAME_BYTES);
    memcpy(name, t->name + cut, bytes);
    name[bytes] = '\0';
    return SA2_OK;
}

static sa2_status add_all(sa2_tensor_map *map, const sa2_zip_directory *zip,
                          const torch_source *source, sa2_error *err)
{
    const sa2_zip_entry *pickle = NULL;
    size_t root_bytes = 0;
    sa2_pickle_state_dict dict = {0};
    sa2_status st = find_pickle(zip, &pickle, &root_bytes, err);
    if (st == SA2_OK)
        st = judge_byte_order(zip, pickle->name, root_bytes, err);
    if (st == SA2_OK)
        st = sa2_pickle_open(&dict, pickle->data, pickle->bytes, err);
    for (size_t i = 0; i < dict.n_tensors && st == SA2_OK; i++) {
        const sa2_pickle_tensor *t = &dict.tensors[i];
        char name[NAME_BYTES];
        const unsigned char *storage = NULL;
        st = name_of(t, source->prefix, name, err);
        if (st != SA2_OK)
            break;
        st = find_storage(zip, pickle->name, root_bytes, t, &storage, err);
        if (st == SA2_OK)
            st = add_tensor(map, name, source, t, storage, err);
        else
            st = sa2_wrap(err, st, "%s", name);
    }
    sa2_pickle_close(&dict);
    return st;
}

static sa2_status parse(sa2_tensor_map **map, const void *bytes, size_t n,
                        const torch_source *source, sa2_error *err)
{
    sa2_tensor_map *made = NULL;
    sa2_zip_directory zip = {0};
    sa2_status st = sa2_zip_directory_open(&zip, bytes, n, err);
    if (st == SA2_OK)
        st = sa2_tensor_map_create(&made, err);
    if (st == SA2_OK)
        st = add_all(made, &zip, source, err);
    sa2_zip_directory_close(&zip);
    if (st != SA2_OK) {
        sa2_tensor_map_destroy(made);
        return sa2_wrap(err, st, "%s", source->origin);
    }
    *map = made;
    return SA2_OK;
}

sa2_status sa2_torch_zip_parse(sa2_tensor_map **map, const void *bytes, size_t n,
                               const char *origin, const char *prefix, sa2_error *err)
{
    torch_source source = {.origin = origin, .prefix = prefix};
    return parse(map, bytes, n, &source, err);
}

static void close_file(void *thing)
{
    sa2_mapped_file_close(thing);
    free(thing);
}

sa2_status sa2_torch_zip_open(sa2_tensor_map **map, const char *path, const char *prefix,
                              sa2_error *err)
{
    sa2_mapped_file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: memory for a file", path);
    sa2_tensor_map *made = NULL;
    torch_source source = {.origin = path, .mapped = true, .prefix = prefix};
    sa2_status st = sa2_mapped_file_open(file, path, err);
    if (st == SA2_OK)
        st = parse(&made, file->data, file->bytes, &source, err);
    if (st != SA2_OK) {
        close_file(file);
        return st;
    }
    st = sa2_tensor_map_keep(made, file, close_file, err);
    if (st != SA2_OK) {
        sa2_tensor_map_destroy(made);
        return st;
    }
    *map = made;
    return SA2_OK;
}
