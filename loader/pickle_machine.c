#include "loader/pickle_machine.h"

#include <string.h>

#include "kernels/base/limits.h"
#include "loader/little_endian.h"

static const char *const kind_names[] = {"an absence", "None",    "a bool", "an int",
                                         "a text",     "a tuple", "a dict", "a global",
                                         "a storage",  "a tensor"};

const char *sa2_pickle_kind_name(sa2_pickle_kind kind)
{
    return kind_names[kind];
}

/* ---- memory ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

sa2_status sa2_pickle_machine_create(sa2_pickle_machine *m, const void *bytes, size_t n,
                                     sa2_error *err)
{
    *m = (sa2_pickle_machine){
        .bytes = bytes,
        .n = n,
        .err = err,
        .stack_room = least(n, SA2_LIMIT_PICKLE_STACK),
        .memo_room = least(n, SA2_LIMIT_PICKLE_MEMO),
        .items_room = least(n, SA2_LIMIT_PICKLE_ITEMS),
        .pairs_room = least(n, SA2_LIMIT_PICKLE_PAIRS),
        .storages_room = least(n, SA2_LIMIT_TENSORS),
        .tensors_room = least(n, SA2_LIMIT_TENSORS),
    };
    size_t stack = m->stack_room * sizeof *m->stack, memo = m->memo_room * sizeof *m->memo;
    size_t items = m->items_room * sizeof *m->items, pairs = m->pairs_room * sizeof *m->pairs;
    size_t storages = m->storages_room * sizeof *m->storages;
    size_t tensors = m->tensors_room * sizeof *m->tensors;
    sa2_status st = sa2_arena_create(&m->memory,
                                     sa2_arena_round(stack) + sa2_arena_round(memo) +
                                         sa2_arena_round(items) + sa2_arena_round(pairs) +
                                         sa2_arena_round(storages) + sa2_arena_round(tensors),
                                     err);
    if (st != SA2_OK)
        return st;
    m->stack = sa2_arena_take(&m->memory, stack);
    m->memo = sa2_arena_take(&m->memory, memo);
    m->items = sa2_arena_take(&m->memory, items);
    m->pairs = sa2_arena_take(&m->memory, pairs);
    m->storages = sa2_arena_take(&m->memory, storages);
    m->tensors = sa2_arena_take(&m->memory, tensors);
    return SA2_OK;
}

void sa2_pickle_machine_destroy(sa2_pickle_machine *m)
{
    sa2_arena_destroy(&m->memory);
}

/* ---- stack ---- */

static sa2_status refuse(sa2_pickle_machine *m, const char *what)
{
    return sa2_fail(m->err, SA2_ERR_FORMAT, "%s", what);
}

static sa2_status over_limit(sa2_pickle_machine *m, const char *what, size_t limit)
{
    return sa2_fail(m->err, SA2_ERR_LIMIT, "more than %zu %s", limit, what);
}

sa2_status sa2_pickle_take(sa2_pickle_machine *m, size_t count, const unsigned char **bytes)
{
    if (count > m->n - m->at)
        return sa2_fail(m->err, SA2_ERR_FORMAT, "%zu bytes are needed, %zu are left", count,
                        m->n - m->at);
    *bytes = m->bytes + m->at;
    m->at += count;
    return SA2_OK;
}

sa2_status sa2_pickle_push(sa2_pickle_machine *m, sa2_pickle_kind kind, int64_t number)
{
    if (m->n_stack == m->stack_room)
        return over_limit(m, "values on the stack", SA2_LIMIT_PICKLE_STACK);
    m->stack[m->n_stack++] = (sa2_pickle_value){.kind = kind, .of.number = number};
    return SA2_OK;
}

static sa2_status push_span(sa2_pickle_machine *m, sa2_pickle_kind kind, size_t first, size_t count)
{
    sa2_status st = sa2_pickle_push(m, kind, 0);
    if (st == SA2_OK) {
        m->stack[m->n_stack - 1].of.span.first = (uint32_t)first;
        m->stack[m->n_stack - 1].of.span.count = (uint32_t)count;
    }
    return st;
}

bool sa2_pickle_has(const sa2_pickle_machine *m, size_t count)
{
    size_t floor = m->n_marks > 0 ? m->marks[m->n_marks - 1] : 0;
    return m->n_stack - floor >= count;
}

sa2_status sa2_pickle_mark(sa2_pickle_machine *m)
{
    if (m->n_marks == SA2_LIMIT_PICKLE_MARKS)
        return over_limit(m, "open tuples and dicts", SA2_LIMIT_PICKLE_MARKS);
    m->marks[m->n_marks++] = m->n_stack;
    return SA2_OK;
}

/* Ends the last mark: the values above it, which stay on the stack. */
static sa2_status end_mark(sa2_pickle_machine *m, size_t *first, size_t *count)
{
    if (m->n_marks == 0)
        return refuse(m, "no mark on the stack");
    *first = m->marks[--m->n_marks];
    *count = m->n_stack - *first;
    return SA2_OK;
}

/* ---- constants ---- */

sa2_status sa2_pickle_int(sa2_pickle_machine *m, size_t width)
{
    const unsigned char *p = NULL;
    sa2_status st = sa2_pickle_take(m, width, &p);
    if (st != SA2_OK)
        return st;
    int64_t number = width == 1 ? p[0] : width == 2 ? sa2_le16(p) : (int32_t)sa2_le32(p);
    return sa2_pickle_push(m, SA2_PICKLE_IS_INT, number);
}

/* A two's complement number of up to 8 bytes. */
sa2_status sa2_pickle_long1(sa2_pickle_machine *m)
{
    const unsigned char *p = NULL;
    sa2_status st = sa2_pickle_take(m, 1, &p);
    size_t width = st == SA2_OK ? p[0] : 0;
    if (st == SA2_OK && width > 8)
        return sa2_fail(m->err, SA2_ERR_LIMIT, "a number of %zu bytes, 8 can be read", width);
    if (st == SA2_OK)
        st = sa2_pickle_take(m, width, &p);
    if (st != SA2_OK)
        return st;
    uint64_t bits = width > 0 && p[width - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = width; i > 0; i--)
        bits = bits << 8 | p[i - 1];
    return sa2_pickle_push(m, SA2_PICKLE_IS_INT, (int64_t)bits);
}

sa2_status sa2_pickle_text(sa2_pickle_machine *m)
{
    const unsigned char *p = NULL;
    sa2_status st = sa2_pickle_take(m, 4, &p);
    size_t count = st == SA2_OK ? sa2_le32(p) : 0;
    if (st == SA2_OK)
        st = sa2_pickle_take(m, count, &p);
    return st == SA2_OK ? push_span(m, SA2_PICKLE_IS_TEXT, (size_t)(p - m->bytes), count) : st;
}

/* ---- memo ---- */

static sa2_status read_index(sa2_pickle_machine *m, size_t width, size_t *index)
{
    const unsigned char *p = NULL;
    sa2_status st = sa2_pickle_take(m, width, &p);
    if (st == SA2_OK)
        *index = width == 1 ? p[0] : sa2_le32(p);
    return st;
}

sa2_status sa2_pickle_put(sa2_pickle_machine *m, size_t width)
{
    size_t index = 0;
    sa2_status st = read_index(m, width, &index);
    if (st != SA2_OK)
        return st;
    if (index >= m->memo_room)
        return sa2_fail(m->err, SA2_ERR_LIMIT, "memo index %zu, a pickle of %zu bytes can use %zu",
                        index, m->n, m->memo_room);
    if (!sa2_pickle_has(m, 1))
        return refuse(m, "nothing to remember");
    m->memo[index] = m->stack[m->n_stack - 1];
    return SA2_OK;
}

sa2_status sa2_pickle_get(sa2_pickle_machine *m, size_t width)
{
    size_t index = 0;
    sa2_status st = read_index(m, width, &index);
    if (st != SA2_OK)
        return st;
    if (index >= m->memo_room || m->memo[index].kind == SA2_PICKLE_IS_ABSENT)
        return sa2_fail(m->err, SA2_ERR_FORMAT, "memo index %zu was never stored", index);
    st = sa2_pickle_push(m, SA2_PICKLE_IS_NONE, 0);
    if (st == SA2_OK)
        m->stack[m->n_stack - 1] = m->memo[index];
    return st;
}

/* ---- tuples and dicts ---- */

sa2_status sa2_pickle_tuple(sa2_pickle_machine *m, size_t count)
{
    if (!sa2_pickle_has(m, count))
        return refuse(m, "too few values on the stack");
    if (count > m->items_room - m->n_items)
        return over_limit(m, "values in tuples", SA2_LIMIT_PICKLE_ITEMS);
    size_t first = m->n_items;
    m->n_stack -= count;
    memcpy(m->items + first, m->stack + m->n_stack, count * sizeof *m->items);
    m->n_items += count;
    return push_span(m, SA2_PICKLE_IS_TUPLE, first, count);
}

/* Pairs of key and item at stack[first, first + count) go into the dict below them. */
static sa2_status set_items(sa2_pickle_machine *m, size_t first, size_t count)
{
    size_t floor = m->n_marks > 0 ? m->marks[m->n_marks - 1] : 0;
    if (first <= floor || m->stack[first - 1].kind != SA2_PICKLE_IS_DICT)
        return refuse(m, "there is no dict to set items of");
    if (count % 2 != 0)
        return refuse(m, "a key without an item");
    if (count / 2 > m->pairs_room - m->n_pairs)
        return over_limit(m, "items in dicts", SA2_LIMIT_PICKLE_PAIRS);
    int64_t dict = m->stack[first - 1].of.number;
    for (size_t i = first; i < first + count; i += 2)
        m->pairs[m->n_pairs++] = (sa2_pickle_pair){dict, m->stack[i], m->stack[i + 1]};
    m->n_stack = first;
    return SA2_OK;
}

sa2_status sa2_pickle_marked_tuple(sa2_pickle_machine *m)
{
    size_t first = 0, count = 0;
    sa2_status st = end_mark(m, &first, &count);
    return st == SA2_OK ? sa2_pickle_tuple(m, count) : st;
}

sa2_status sa2_pickle_set_item(sa2_pickle_machine *m)
{
    if (!sa2_pickle_has(m, 3))
        return refuse(m, "too few values on the stack");
    return set_items(m, m->n_stack - 2, 2);
}

sa2_status sa2_pickle_set_marked_items(sa2_pickle_machine *m)
{
    size_t first = 0, count = 0;
    sa2_status st = end_mark(m, &first, &count);
    return st == SA2_OK ? set_items(m, first, count) : st;
}
