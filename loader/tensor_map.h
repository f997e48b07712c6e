/* tensor_map.h - name to tensor in host memory, whatever file or rule the tensor comes from.
 *
 * A reader of a file format fills a map; the parts of the model take their weights out of it by
 * name and shape. Values either lie in memory already (a mapped file) or are made when they are
 * asked for (unaligned or converted ones, folded ones, synthetic ones), so that a map of a 16 GB
 * model needs no 16 GB of memory.
 *
 * Threads: sa2_tensor_map_read() may run in many threads at once; all else in one at a time.
 */
#ifndef SA2_LOADER_TENSOR_MAP_H
#define SA2_LOADER_TENSOR_MAP_H

#include <stdbool.h>

#include "kernels/base/status.h"
#include "kernels/base/tensor.h"
#include "loader/pack.h"
#include "loader/tensor_list.h"

typedef struct sa2_tensor_map sa2_tensor_map;

typedef struct sa2_tensor_entry sa2_tensor_entry;

/* Writes elements [first, first + count) of the tensor, row-major, to out. Called for disjoint
 * ranges from several threads. */
typedef sa2_status (*sa2_tensor_maker)(const void *context, const sa2_tensor_entry *entry,
                                       int64_t first, int64_t count, void *out, sa2_error *err);

struct sa2_tensor_entry {
    const char *name;       /* of the map */
    const char *origin;     /* of the map: a file, or "preset tiny, seed 0"; for messages */
    sa2_tensor tensor;      /* dense; data NULL when it is made on demand */
    sa2_tensor_maker maker; /* NULL when data is there */
    const void *context;    /* of the maker */
    bool mapped;            /* data lies in a mapped file, so its pages may go once it was read */
};

/* ---- taking weights: what a part of the model uses ---- */

/* The tensor `name` with its values, of any dtype, checked against the shape that the part needs.
 * Marks it as used. Its data is read-only and valid until sa2_tensor_map_release() or _destroy().
 *   tensor  set absent (data NULL) on failure, so that a part can ask for all and judge at the end
 * Errors are lines added to the report (sa2_fail_also), each naming the tensor and its file:
 * SA2_ERR_FORMAT missing, another shape (expected and found), NaN or infinity among its values;
 * SA2_ERR_NOMEM no room for a made one. */
sa2_status sa2_tensor_map_expect(sa2_tensor_map *map, const char *name, int ndim,
                                 const int64_t *shape, sa2_tensor *tensor, sa2_error *err);

/* The data of all tensors handed out so far is no longer needed: made ones are freed, mapped pages
 * may go. Called after each layer it keeps loading within the memory of a layer. */
void sa2_tensor_map_release(sa2_tensor_map *map);

/* ---- native files ---- */

/* The tensors are those of a part of a native file, which the map keeps open: "model" for names "model/...".
 * `part` outlives the map. */
void sa2_tensor_map_set_pack(sa2_tensor_map *map, sa2_pack *pack, const char *part);
sa2_pack *sa2_tensor_map_pack(const sa2_tensor_map *map); /* NULL: of no native file */

/* The block `name` of that part, not checked yet; NULL when there is none. */
const sa2_pack_block *sa2_tensor_map_find_block(const sa2_tensor_map *map, const char *name);

/* Compares it with its checksum (sa2_pack_check) in the map's threads. */
sa2_status sa2_tensor_map_check_block(const sa2_tensor_map *map, const sa2_pack_block *block,
                                      sa2_error *err);

/* ---- looking ---- */

/* NULL when there is none. Does not mark it as used. The pointer is valid until the next add. */
const sa2_tensor_entry *sa2_tensor_map_find(const sa2_tensor_map *map, const char *name);

int sa2_tensor_map_count(const sa2_tensor_map *map);
const sa2_tensor_entry *sa2_tensor_map_entry(const sa2_tensor_map *map,
                                             int i); /* in order of adding */

/* Elements [first, first + count) into a buffer of the caller's, whether they lie there or are made. */
sa2_status sa2_tensor_map_read(const sa2_tensor_map *map, const sa2_tensor_entry *entry,
                               int64_t first, int64_t count, void *out, sa2_error *err);

/* A string that came with the file (__metadata__ of safetensors), or NULL. */
const char *sa2_tensor_map_metadata(const sa2_tensor_map *map, const char *key);

/* ---- judging a whole file ---- */

/* A line for every tensor that nobody expected; SA2_ERR_FORMAT when there is one. */
sa2_status sa2_tensor_map_unused(const sa2_tensor_map *map, sa2_error *err);

/* A tensor that may be there and is not needed. */
void sa2_tensor_map_mark_used(sa2_tensor_map *map, const char *name);

/* Compares names and shapes (not dtypes) with a list: a line for every missing, every mis-shaped
 * and every other tensor. Reads no values. */
sa2_status sa2_tensor_map_check(const sa2_tensor_map *map, const sa2_tensor_list *list,
                                sa2_error *err);

/* The same without the missing ones: of a map that a reader could fill in part only. */
sa2_status sa2_tensor_map_check_present(const sa2_tensor_map *map, const sa2_tensor_list *list,
                                        sa2_error *err);

/* A line for every tensor that has NaN or infinity among its values. Reads them all. */
sa2_status sa2_tensor_map_check_values(sa2_tensor_map *map, sa2_error *err);

/* ---- filling: what a reader uses ---- */

sa2_status sa2_tensor_map_create(sa2_tensor_map **map, sa2_error *err);
void sa2_tensor_map_destroy(sa2_tensor_map *map); /* NULL is fine */

/* How many threads make and check the values of one large tensor: 1 unless set. */
void sa2_tensor_map_set_threads(sa2_tensor_map *map, int n_threads);

/* A dense tensor whose data outlives the map, or belongs to something given to _keep().
 * Names and origins are copied.
 * Errors: SA2_ERR_FORMAT the name is taken, with both origins; SA2_ERR_LIMIT; SA2_ERR_NOMEM. */
sa2_status sa2_tensor_map_add(sa2_tensor_map *map, const char *name, const char *origin,
                              sa2_tensor tensor, sa2_error *err);

/* The same for data in a mapped file. */
sa2_status sa2_tensor_map_add_mapped(sa2_tensor_map *map, const char *name, const char *origin,
                                     sa2_tensor tensor, sa2_error *err);

/* One whose values the maker writes on demand; tensor.data is NULL. */
sa2_status sa2_tensor_map_add_made(sa2_tensor_map *map, const char *name, const char *origin,
                                   sa2_tensor tensor, sa2_tensor_maker maker, const void *context,
                                   sa2_error *err);

sa2_status sa2_tensor_map_add_metadata(sa2_tensor_map *map, const char *key, const char *value,
                                       sa2_error *err);

/* Calls destroy(thing) when the map is destroyed, last given first: mapped files, contexts of makers.
 * On failure thing is destroyed at once. */
sa2_status sa2_tensor_map_keep(sa2_tensor_map *map, void *thing, void (*destroy)(void *thing),
                               sa2_error *err);

#endif
