#include "loader/tensor_map.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/arena.h"
#include "kernels/base/limits.h"
#include "loader/finite.h"
#include "loader/mapped_file.h"
#include "loader/name_table.h"
#include "loader/ranges.h"
#include "loader/text_pool.h"

enum { GRAIN = 1 << 20 }; /* elements that a thread makes or checks at a time */

typedef struct map_slot {
    sa2_tensor_entry entry;
    bool used;      /* some part expected it */
    bool handed;    /* its data was given out since the last release */
    sa2_arena made; /* its values, when they were made, in large pages; destroyed on release */
} map_slot;

typedef struct map_keeper {
    void *thing;
    void (*destroy)(void *thing);
} map_keeper;

typedef struct map_string {
    const char *key, *value;
} map_string;

struct sa2_tensor_map {
    map_slot *slots; /* in order of adding */
    int n, room;
    sa2_name_table table; /* from names to slots */
    sa2_text_pool text;
    map_string *metadata;
    int n_metadata;
    map_keeper *keepers;
    int n_keepers;
    int n_threads;
    sa2_pack *pack;   /* or NULL */
    const char *part; /* the caller's, as long as the map lives */
};

/* ---- a life ---- */

sa2_status sa2_tensor_map_create(sa2_tensor_map **map, sa2_error *err)
{
    sa2_tensor_map *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "no memory for a map of tensors");
    fresh->n_threads = 1;
    *map = fresh;
    return SA2_OK;
}

void sa2_tensor_map_destroy(sa2_tensor_map *map)
{
    if (map == NULL)
        return;
    for (int i = 0; i < map->n; i++)
        sa2_arena_destroy(&map->slots[i].made);
    for (int i = map->n_keepers - 1; i >= 0; i--)
        map->keepers[i].destroy(map->keepers[i].thing);
    sa2_pack_close(map->pack);
    sa2_text_pool_destroy(&map->text);
    free(map->keepers);
    free(map->metadata);
    sa2_name_table_destroy(&map->table);
    free(map->slots);
    free(map);
}

void sa2_tensor_map_set_threads(sa2_tensor_map *map, int n_threads)
{
    map->n_threads = n_threads;
}

static map_slot *find_slot(const sa2_tensor_map *map, const char *name)
{
    int32_t at = sa2_name_table_find(&map->table, name);
    return at >= 0 ? &map->slots[at] : NULL;
}

/* ---- filling ---- */

static bool make_room(sa2_tensor_map *map)
{
    if (map->n < map->room)
        return true;
    int room = map->room > 0 ? 2 * map->room : 64;
    map_slot *slots = realloc(map->slots, (size_t)room * sizeof *slots);
    if (slots == NULL)
        return false;
    map->slots = slots;
    map->room = room;
    return true;
}

/* Copies `text`; files add many tensors with one origin, which is then kept once. */
static const char *copy_origin(sa2_tensor_map *map, const char *origin)
{
    if (map->n > 0 && strcmp(map->slots[map->n - 1].entry.origin, origin) == 0)
        return map->slots[map->n - 1].entry.origin;
    return sa2_text_pool_copy(&map->text, origin, strlen(origin));
}

static sa2_status add(sa2_tensor_map *map, sa2_tensor_entry entry, sa2_error *err)
{
    assert(sa2_tensor_is_dense(&entry.tensor) && entry.tensor.ndim >= 1);
    size_t length = strlen(entry.name);
    if (length < 1 || length > SA2_LIMIT_TENSOR_NAME_BYTES)
        return sa2_fail_also(err, SA2_ERR_LIMIT,
                             "%s: a tensor's name of %zu bytes, 1 to %d expected", entry.origin,
                             length, SA2_LIMIT_TENSOR_NAME_BYTES);
    if (map->n >= SA2_LIMIT_TENSORS)
        return sa2_fail_also(err, SA2_ERR_LIMIT, "%s: more than %d tensors", entry.origin,
                             SA2_LIMIT_TENSORS);
    const map_slot *twin = find_slot(map, entry.name);
    if (twin != NULL)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s: in %s and again in %s", entry.name,
                             twin->entry.origin, entry.origin);
    entry.origin = copy_origin(map, entry.origin);
    entry.name = sa2_text_pool_copy(&map->text, entry.name, length);
    if (!make_room(map) || entry.name == NULL || entry.origin == NULL ||
        !sa2_name_table_put(&map->table, entry.name, map->n))
        return sa2_fail_also(err, SA2_ERR_NOMEM, "no memory for a map of %d tensors", map->n + 1);
    map->slots[map->n++] = (map_slot){.entry = entry};
    return SA2_OK;
}

sa2_status sa2_tensor_map_add(sa2_tensor_map *map, const char *name, const char *origin,
                              sa2_tensor tensor, sa2_error *err)
{
    return add(map, (sa2_tensor_entry){.name = name, .origin = origin, .tensor = tensor}, err);
}

sa2_status sa2_tensor_map_add_mapped(sa2_tensor_map *map, const char *name, const char *origin,
                                     sa2_tensor tensor, sa2_error *err)
{
    return add(map,
               (sa2_tensor_entry){.name = name, .origin = origin, .tensor = tensor, .mapped = true},
               err);
}

sa2_status sa2_tensor_map_add_made(sa2_tensor_map *map, const char *name, const char *origin,
                                   sa2_tensor tensor, sa2_tensor_maker maker, const void *context,
                                   sa2_error *err)
{
    assert(tensor.data == NULL && maker != NULL);
    sa2_tensor_entry entry = {.name = name, .origin = origin, .tensor = tensor};
    entry.maker = maker;
    entry.context = context;
    return add(map, entry, err);
}

sa2_status sa2_tensor_map_add_metadata(sa2_tensor_map *map, const char *key, const char *value,
                                       sa2_error *err)
{
    map_string *grown = realloc(map->metadata, (size_t)(map->n_metadata + 1) * sizeof *grown);
    if (grown != NULL) {
        map->metadata = grown;
        map_string fresh = {sa2_text_pool_copy(&map->text, key, strlen(key)),
                            sa2_text_pool_copy(&map->text, value, strlen(value))};
        if (fresh.key != NULL && fresh.value != NULL) {
            grown[map->n_metadata++] = fresh;
            return SA2_OK;
        }
    }
    return sa2_fail_also(err, SA2_ERR_NOMEM, "no memory for metadata %s", key);
}

sa2_status sa2_tensor_map_keep(sa2_tensor_map *map, void *thing, void (*destroy)(void *thing),
                               sa2_error *err)
{
    map_keeper *grown = realloc(map->keepers, (size_t)(map->n_keepers + 1) * sizeof *grown);
    if (grown == NULL) {
        destroy(thing);
        return sa2_fail_also(err, SA2_ERR_NOMEM, "no memory for a map of tensors");
    }
    map->keepers = grown;
    grown[map->n_keepers++] = (map_keeper){thing, destroy};
    return SA2_OK;
}

/* ---- native files ---- */

void sa2_tensor_map_set_pack(sa2_tensor_map *map, sa2_pack *pack, const char *part)
{
    map->pack = sa2_pack_share(pack);
    map->part = part;
}

sa2_pack *sa2_tensor_map_pack(const sa2_tensor_map *map)
{
    return map->pack;
}

const sa2_pack_block *sa2_tensor_map_find_block(const sa2_tensor_map *map, const char *name)
{
    char full[SA2_LIMIT_TENSOR_NAME_BYTES + 1];
    int n = snprintf(full, sizeof full, "%s/%s", map->part, name);
    return n > 0 && n < (int)sizeof full ? sa2_pack_find(map->pack, full) : NULL;
}

sa2_status sa2_tensor_map_check_block(const sa2_tensor_map *map, const sa2_pack_block *block,
                                      sa2_error *err)
{
    return sa2_pack_check(map->pack, block, map->n_threads, err);
}

/* ---- looking ---- */

const sa2_tensor_entry *sa2_tensor_map_find(const sa2_tensor_map *map, const char *name)
{
    const map_slot *slot = find_slot(map, name);
    return slot != NULL ? &slot->entry : NULL;
}

int sa2_tensor_map_count(const sa2_tensor_map *map)
{
    return map->n;
}

const sa2_tensor_entry *sa2_tensor_map_entry(const sa2_tensor_map *map, int i)
{
    assert(i >= 0 && i < map->n);
    return &map->slots[i].entry;
}

sa2_status sa2_tensor_map_read(const sa2_tensor_map *map, const sa2_tensor_entry *entry,
                               int64_t first, int64_t count, void *out, sa2_error *err)
{
    (void)map;
    assert(first >= 0 && count >= 0 && count <= sa2_tensor_count(&entry->tensor) - first);
    if (entry->maker != NULL)
        return entry->maker(entry->context, entry, first, count, out, err);
    size_t size = sa2_dtype_bytes(entry->tensor.dtype);
    if (count > 0)
        memcpy(out, (const char *)entry->tensor.data + (size_t)first * size, (size_t)count * size);
    return SA2_OK;
}

const char *sa2_tensor_map_metadata(const sa2_tensor_map *map, const char *key)
{
    for (int i = 0; i < map->n_metadata; i++)
        if (strcmp(map->metadata[i].key, key) == 0)
            return map->metadata[i].value;
    return NULL;
}

/* ---- taking weights ---- */

typedef struct value_pass {
    const map_slot *slot;
    char *values;
} value_pass;

/* Makes one range where values are made, and checks it. */
static sa2_status pass_over(void *context, int64_t first, int64_t count, sa2_error *err)
{
    const value_pass *pass = context;
    const sa2_tensor_entry *entry = &pass->slot->entry;
    char *values = pass->values + (size_t)first * sa2_dtype_bytes(entry->tensor.dtype);
    if (entry->maker != NULL) {
        sa2_status st = entry->maker(entry->context, entry, first, count, values, err);
        if (st != SA2_OK)
            return st;
    }
    int64_t bad = sa2_first_not_finite(values, entry->tensor.dtype, count);
    if (bad >= 0)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: NaN or infinity at element %" PRId64 " in %s",
                        entry->name, first + bad, entry->origin);
    return SA2_OK;
}

static sa2_status bring_values(const sa2_tensor_map *map, map_slot *slot, sa2_error *err)
{
    const sa2_tensor *tensor = &slot->entry.tensor;
    if (slot->made.base != NULL)
        return SA2_OK;
    sa2_arena made = {0};
    size_t bytes = sa2_tensor_bytes(tensor);
    if (slot->entry.maker != NULL && sa2_arena_create(&made, bytes, NULL) != SA2_OK)
        return sa2_fail_also(err, SA2_ERR_NOMEM, "%s: no memory for its %zu bytes",
                             slot->entry.name, bytes);
    value_pass pass = {.slot = slot,
                       .values = made.base != NULL ? (char *)made.base : tensor->data};
    sa2_error failure = {0};
    sa2_status st =
        sa2_ranges_run(map->n_threads, sa2_tensor_count(tensor), GRAIN, pass_over, &pass, &failure);
    if (st != SA2_OK) {
        sa2_arena_destroy(&made);
        return sa2_fail_also(err, st, "%s", failure.message);
    }
    slot->made = made;
    return SA2_OK;
}

static const char *describe_shape(char *text, size_t bytes, int ndim, const int64_t *shape)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < ndim && used < bytes; i++) {
        int n = snprintf(text + used, bytes - used, "%s%" PRId64, i > 0 ? ", " : "[", shape[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used < bytes)
        snprintf(text + used, bytes - used, "]");
    return text;
}

static bool has_shape(const sa2_tensor *tensor, int ndim, const int64_t *shape)
{
    return tensor->ndim == ndim && memcmp(tensor->shape, shape, (size_t)ndim * sizeof *shape) == 0;
}

static sa2_status judge(const map_slot *slot, const char *name, int ndim, const int64_t *shape,
                        sa2_error *err)
{
    char expected[128], found[128];
    describe_shape(expected, sizeof expected, ndim, shape);
    if (slot == NULL)
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s: %s expected, no such tensor", name,
                             expected);
    const sa2_tensor *tensor = &slot->entry.tensor;
    if (!has_shape(tensor, ndim, shape))
        return sa2_fail_also(err, SA2_ERR_FORMAT, "%s: %s expected, %s in %s", name, expected,
                             describe_shape(found, sizeof found, tensor->ndim, tensor->shape),
                             slot->entry.origin);
    return SA2_OK;
}

sa2_status sa2_tensor_map_expect(sa2_tensor_map *map, const char *name, int ndim,
                                 const int64_t *shape, sa2_tensor *tensor, sa2_error *err)
{
    assert(ndim >= 1 && ndim <= SA2_MAX_DIMS);
    *tensor = (sa2_tensor){0};
    map_slot *slot = find_slot(map, name);
    if (slot != NULL)
        slot->used = true;
    sa2_status st = judge(slot, name, ndim, shape, err);
    if (st == SA2_OK)
        st = bring_values(map, slot, err);
    if (st != SA2_OK)
        return st;
    slot->handed = true;
    *tensor = slot->entry.tensor;
    if (slot->made.base != NULL)
        tensor->data = slot->made.base;
    return SA2_OK;
}

static void release(map_slot *slot)
{
    slot->handed = false;
    sa2_arena_destroy(&slot->made);
    if (slot->entry.mapped)
        sa2_mapped_advise(slot->entry.tensor.data, sa2_tensor_bytes(&slot->entry.tensor),
                          SA2_MAPPED_DONE);
}

void sa2_tensor_map_release(sa2_tensor_map *map)
{
    for (int i = 0; i < map->n; i++)
        if (map->slots[i].handed)
            release(&map->slots[i]);
}

/* ---- judging a whole file ---- */

static sa2_status report_stranger(const map_slot *slot, sa2_error *err)
{
    char found[128];
    const sa2_tensor *tensor = &slot->entry.tensor;
    return sa2_fail_also(
        err, SA2_ERR_FORMAT, "%s: %s in %s, no such tensor expected", slot->entry.name,
        describe_shape(found, sizeof found, tensor->ndim, tensor->shape), slot->entry.origin);
}

sa2_status sa2_tensor_map_unused(const sa2_tensor_map *map, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (int i = 0; i < map->n; i++)
        if (!map->slots[i].used)
            st = report_stranger(&map->slots[i], err);
    return st;
}

void sa2_tensor_map_mark_used(sa2_tensor_map *map, const char *name)
{
    map_slot *slot = find_slot(map, name);
    if (slot != NULL)
        slot->used = true;
}

sa2_status sa2_tensor_map_check_values(sa2_tensor_map *map, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (int i = 0; i < map->n; i++) {
        sa2_status judged = bring_values(map, &map->slots[i], err);
        if (judged != SA2_OK)
            st = judged;
        if (!map->slots[i].handed)
            release(&map->slots[i]);
    }
    return st;
}

/* whole: what is missing is a mistake too. */
static sa2_status check(const sa2_tensor_map *map, const sa2_tensor_list *list, bool whole,
                        sa2_error *err)
{
    sa2_status st = SA2_OK;
    bool *listed = calloc((size_t)map->n + 1, sizeof *listed);
    if (listed == NULL)
        return sa2_fail_also(err, SA2_ERR_NOMEM, "no memory to compare %d tensors", map->n);
    for (int i = 0; i < list->n; i++) {
        const sa2_tensor_list_item *item = &list->items[i];
        const map_slot *slot = find_slot(map, item->name);
        if (slot != NULL)
            listed[slot - map->slots] = true;
        else if (!whole)
            continue;
        sa2_status judged = judge(slot, item->name, item->shape.ndim, item->shape.shape, err);
        if (judged != SA2_OK)
            st = judged;
    }
    for (int i = 0; i < map->n; i++)
        if (!listed[i])
            st = report_stranger(&map->slots[i], err);
    free(listed);
    return st;
}

sa2_status sa2_tensor_map_check(const sa2_tensor_map *map, const sa2_tensor_list *list,
                                sa2_error *err)
{
    return check(map, list, true, err);
}

sa2_status sa2_tensor_map_check_present(const sa2_tensor_map *map, const sa2_tensor_list *list,
                                        sa2_error *err)
{
    return check(map, list, false, err);
}
