/* From a path to a map: one file, or an index and the shards beside it. */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/base/limits.h"
#include "loader/mapped_file.h"
#include "loader/safetensors.h"

enum { PATH_BYTES = 4096 };

static void close_file(void *file)
{
    sa2_mapped_file_close(file);
    free(file);
}

/* Maps a file for as long as the map lives, and adds its tensors. */
static sa2_status add_file(sa2_tensor_map *map, const char *path, const char *origin,
                           sa2_error *err)
{
    sa2_error failure = {0};
    sa2_mapped_file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return sa2_fail_also(err, SA2_ERR_NOMEM, "%s: no memory", path);
    sa2_status st = sa2_mapped_file_open(file, path, &failure);
    if (st != SA2_OK) {
        free(file);
        return sa2_fail_also(err, st, "%s", failure.message);
    }
    st = sa2_tensor_map_keep(map, file, close_file, err);
    if (st != SA2_OK)
        return st;
    return sa2_safetensors_add(map, file->data, file->bytes, true, origin, err);
}

/* ---- an index ---- */

typedef struct index_reader {
    sa2_tensor_map *map;
    const char *path;
    size_t folder; /* bytes of path up to and with the last slash */
    json_t *weight_map;
    json_t *shards; /* file name: true when it was read */
    sa2_status status;
    sa2_error *err;
} index_reader;

static void note(index_reader *r, sa2_status st)
{
    if (r->status == SA2_OK)
        r->status = st;
}

/* Shards lie beside the index: a name that leads elsewhere is refused. */
static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static void collect_shards(index_reader *r)
{
    const char *name;
    json_t *value;
    json_object_foreach(r->weight_map, name, value)
    {
        const char *file = json_string_value(value);
        if (file == NULL || !is_plain_name(file))
            note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT,
                                  "%s: %s: the name of a file beside it expected", r->path, name));
        else if (json_object_get(r->shards, file) == NULL &&
                 json_object_set_new(r->shards, file, json_false()) != 0)
            note(r, sa2_fail_also(r->err, SA2_ERR_NOMEM, "%s: no memory", r->path));
    }
    if (json_object_size(r->shards) > SA2_LIMIT_SHARDS)
        note(r, sa2_fail_also(r->err, SA2_ERR_LIMIT, "%s: %zu shards, at most %d expected", r->path,
                              json_object_size(r->shards), SA2_LIMIT_SHARDS));
}

static void read_shards(index_reader *r)
{
    const char *file;
    json_t *value;
    void *next;
    json_object_foreach_safe(r->shards, next, file, value)
    {
        char path[PATH_BYTES];
        int n = snprintf(path, sizeof path, "%.*s%s", (int)r->folder, r->path, file);
        sa2_status st = n < 0 || n >= PATH_BYTES
                            ? sa2_fail_also(r->err, SA2_ERR_ARG, "%s: the path is too long", file)
                            : add_file(r->map, path, file, r->err);
        note(r, st);
        if (st == SA2_OK)
            json_object_set_new(r->shards, file, json_true());
    }
}

static bool was_read(const index_reader *r, const char *file)
{
    return file != NULL && json_is_true(json_object_get(r->shards, file));
}

/* Tensors of a shard that could not be read as a whole are not reported one by one. */
static void compare_with_shards(index_reader *r)
{
    const char *name;
    json_t *value;
    json_object_foreach(r->weight_map, name, value)
    {
        const char *file = json_string_value(value);
        const sa2_tensor_entry *entry = sa2_tensor_map_find(r->map, name);
        if (!was_read(r, file) || (entry != NULL && strcmp(entry->origin, file) == 0))
            continue;
        note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT, "%s: in %s by the index, found in %s", name,
                              file, entry != NULL ? entry->origin : "no shard"));
    }
    for (int i = 0; i < sa2_tensor_map_count(r->map); i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(r->map, i);
        if (json_object_get(r->weight_map, entry->name) == NULL)
            note(r, sa2_fail_also(r->err, SA2_ERR_FORMAT, "%s: in %s and not in the index",
                                  entry->name, entry->origin));
    }
}

static sa2_status add_index(sa2_tensor_map *map, const char *path, sa2_error *err)
{
    sa2_mapped_file file = {0};
    json_t *root = NULL;
    index_reader r = {.map = map, .path = path, .err = err};
    const char *slash = strrchr(path, '/');
    r.folder = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    r.status = sa2_mapped_file_open(&file, path, err);
    if (r.status != SA2_OK)
        return r.status;
    if (file.bytes > SA2_LIMIT_SAFETENSORS_HEADER_BYTES) {
        r.status = sa2_fail(err, SA2_ERR_LIMIT, "%s: %zu bytes, at most %d expected", path,
                            file.bytes, SA2_LIMIT_SAFETENSORS_HEADER_BYTES);
        goto cleanup;
    }
    json_error_t where;
    root = json_loadb((const char *)file.data, file.bytes, JSON_REJECT_DUPLICATES, &where);
    r.weight_map = json_object_get(root, "weight_map");
    if (root == NULL) {
        r.status = sa2_fail(err, SA2_ERR_FORMAT, "%s: line %d: %s", path, where.line, where.text);
        goto cleanup;
    }
    if (!json_is_object(r.weight_map)) {
        r.status = sa2_fail(err, SA2_ERR_FORMAT, "%s: weight_map {tensor: file} expected", path);
        goto cleanup;
    }
    r.shards = json_object();
    collect_shards(&r);
    read_shards(&r);
    compare_with_shards(&r);

cleanup:
    json_decref(r.shards);
    json_decref(root);
    sa2_mapped_file_close(&file);
    return r.status;
}

/* ---- any path ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The file in a folder that names its weights. */
static sa2_status find_in_folder(const char *folder, char *path, sa2_error *err)
{
    static const char *const names[] = {"model.safetensors.index.json", "model.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int n = snprintf(path, PATH_BYTES, "%s/%s", folder, names[i]);
        if (n > 0 && n < PATH_BYTES && access(path, F_OK) == 0)
            return SA2_OK;
    }
    return sa2_fail(err, SA2_ERR_IO, "%s: %s or %s expected, neither found", folder, names[0],
                    names[1]);
}

sa2_status sa2_safetensors_open_partly(sa2_tensor_map **map, const char *path, sa2_error *err)
{
    struct stat info;
    char inside[PATH_BYTES];
    sa2_error report = {0};
    sa2_status st = SA2_OK;
    *map = NULL;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        st = find_in_folder(path, inside, err);
        path = inside;
    }
    if (st == SA2_OK)
        st = sa2_tensor_map_create(map, err);
    if (st != SA2_OK)
        return st;
    st = ends_with(path, ".json") ? add_index(*map, path, &report)
                                  : add_file(*map, path, path, &report);
    if (st != SA2_OK && err != NULL)
        *err = report;
    return st;
}

sa2_status sa2_safetensors_open(sa2_tensor_map **map, const char *path, sa2_error *err)
{
    sa2_tensor_map *fresh;
    sa2_status st = sa2_safetensors_open_partly(&fresh, path, err);
    if (st == SA2_OK)
        *map = fresh;
    else
        sa2_tensor_map_destroy(fresh);
    return st;
}

sa2_status sa2_safetensors_parse(sa2_tensor_map **map, const void *bytes, size_t n,
                                 const char *origin, sa2_error *err)
{
    sa2_tensor_map *fresh = NULL;
    sa2_error report = {0};
    sa2_status st = sa2_tensor_map_create(&fresh, err);
    if (st != SA2_OK)
        return st;
    st = sa2_safetensors_add(fresh, bytes, n, false, origin, &report);
    if (st == SA2_OK) {
        *map = fresh;
        return SA2_OK;
    }
    sa2_tensor_map_destroy(fresh);
    if (err != NULL)
        *err = report;
    return st;
}
