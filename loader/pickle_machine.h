/* pickle_machine.h - the stack machine of a pickle: plain values, a memo, and nothing that is called.
 *
 * Inside of pickle.c, with pickle_calls.c for what torch means by its globals. Every array has its
 * full room from the start; what does not fit is refused with the limit.
 */
#ifndef SA2_LOADER_PICKLE_MACHINE_H
#define SA2_LOADER_PICKLE_MACHINE_H

#include <stdbool.h>

#include "kernels/base/limits.h"
#include "loader/pickle.h"

typedef enum sa2_pickle_kind {
    SA2_PICKLE_IS_ABSENT = 0, /* of the memo: never stored */
    SA2_PICKLE_IS_NONE,
    SA2_PICKLE_IS_BOOL,    /* number */
    SA2_PICKLE_IS_INT,     /* number */
    SA2_PICKLE_IS_TEXT,    /* span of the pickle */
    SA2_PICKLE_IS_TUPLE,   /* span of items[] */
    SA2_PICKLE_IS_DICT,    /* number: which one; its pairs are those of pairs[] that say so */
    SA2_PICKLE_IS_GLOBAL,  /* number: which one of pickle_calls.c */
    SA2_PICKLE_IS_STORAGE, /* number: index in storages[] */
    SA2_PICKLE_IS_TENSOR,  /* number: index in tensors[] */
} sa2_pickle_kind;

/* Nothing here contains another value, so a deep or cyclic structure costs no recursion. */
typedef struct sa2_pickle_value {
    sa2_pickle_kind kind;
    union {
        int64_t number;
        struct {
            uint32_t first, count;
        } span;
    } of;
} sa2_pickle_value;

typedef struct sa2_pickle_pair {
    int64_t dict;
    sa2_pickle_value key, item;
} sa2_pickle_pair;

typedef struct sa2_pickle_machine {
    const unsigned char *bytes;
    size_t n, at; /* at: the next byte to read */
    sa2_error *err;

    sa2_arena memory; /* of the arrays, each with room for what n bytes can fill */
    sa2_pickle_value *stack;
    size_t n_stack, stack_room;
    size_t marks[SA2_LIMIT_PICKLE_MARKS]; /* heights of the stack */
    size_t n_marks;
    sa2_pickle_value *memo;
    size_t memo_room;
    sa2_pickle_value *items;
    size_t n_items, items_room;
    sa2_pickle_pair *pairs;
    size_t n_pairs, pairs_room;
    int64_t n_dicts;
    sa2_pickle_tensor *storages; /* key, storage, storage_count are set */
    size_t n_storages, storages_room;
    sa2_pickle_tensor *tensors; /* all but the name is set */
    size_t n_tensors, tensors_room;
} sa2_pickle_machine;

/* For all below: errors go to m->err, with what was found but not where; the caller knows where. */

/* Makes room for all that n bytes can fill, which outlive the machine. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_pickle_machine_create(sa2_pickle_machine *m, const void *bytes, size_t n,
                                     sa2_error *err);
void sa2_pickle_machine_destroy(sa2_pickle_machine *m);

/* The next `count` bytes. */
sa2_status sa2_pickle_take(sa2_pickle_machine *m, size_t count, const unsigned char **bytes);

/* True when `count` values lie above the last mark. */
bool sa2_pickle_has(const sa2_pickle_machine *m, size_t count);

sa2_status sa2_pickle_push(sa2_pickle_machine *m, sa2_pickle_kind kind, int64_t number);

/* One opcode each: the `width` bytes behind an opcode are its number; the last `count` values of the
 * stack become a tuple; the values above the last mark become a tuple, or items of the dict below. */
sa2_status sa2_pickle_mark(sa2_pickle_machine *m);
sa2_status sa2_pickle_int(sa2_pickle_machine *m, size_t width);
sa2_status sa2_pickle_long1(sa2_pickle_machine *m);
sa2_status sa2_pickle_text(sa2_pickle_machine *m);
sa2_status sa2_pickle_put(sa2_pickle_machine *m, size_t width);
sa2_status sa2_pickle_get(sa2_pickle_machine *m, size_t width);
sa2_status sa2_pickle_tuple(sa2_pickle_machine *m, size_t count);
sa2_status sa2_pickle_marked_tuple(sa2_pickle_machine *m);
sa2_status sa2_pickle_set_item(sa2_pickle_machine *m);
sa2_status sa2_pickle_set_marked_items(sa2_pickle_machine *m);

/* "a tuple", "None": for messages. */
const char *sa2_pickle_kind_name(sa2_pickle_kind kind);

#endif
