#include "loader/pickle.h"

#include "kernels/base/limits.h"
#include "loader/pickle_calls.h"
#include "loader/pickle_machine.h"
#include "loader/pickle_opcodes.h"

/* ---- running ---- */

static sa2_status run_opcode(sa2_pickle_machine *m, int op)
{
    switch (op) {
    case SA2_PICKLE_OP_MARK:
        return sa2_pickle_mark(m);
    case SA2_PICKLE_OP_NONE:
        return sa2_pickle_push(m, SA2_PICKLE_IS_NONE, 0);
    case SA2_PICKLE_OP_NEWTRUE:
    case SA2_PICKLE_OP_NEWFALSE:
        return sa2_pickle_push(m, SA2_PICKLE_IS_BOOL, op == SA2_PICKLE_OP_NEWTRUE);
    case SA2_PICKLE_OP_BININT:
    case SA2_PICKLE_OP_BININT1:
    case SA2_PICKLE_OP_BININT2:
        return sa2_pickle_int(m, op == SA2_PICKLE_OP_BININT    ? 4
                                 : op == SA2_PICKLE_OP_BININT2 ? 2
                                                               : 1);
    case SA2_PICKLE_OP_LONG1:
        return sa2_pickle_long1(m);
    case SA2_PICKLE_OP_BINUNICODE:
        return sa2_pickle_text(m);
    case SA2_PICKLE_OP_EMPTY_TUPLE:
        return sa2_pickle_tuple(m, 0);
    case SA2_PICKLE_OP_TUPLE1:
    case SA2_PICKLE_OP_TUPLE2:
    case SA2_PICKLE_OP_TUPLE3:
        return sa2_pickle_tuple(m, (size_t)(op - SA2_PICKLE_OP_TUPLE1) + 1);
    case SA2_PICKLE_OP_TUPLE:
        return sa2_pickle_marked_tuple(m);
    case SA2_PICKLE_OP_SETITEM:
        return sa2_pickle_set_item(m);
    case SA2_PICKLE_OP_SETITEMS:
        return sa2_pickle_set_marked_items(m);
    case SA2_PICKLE_OP_EMPTY_DICT:
        return sa2_pickle_push(m, SA2_PICKLE_IS_DICT, m->n_dicts++);
    case SA2_PICKLE_OP_BINPUT:
    case SA2_PICKLE_OP_LONG_BINPUT:
        return sa2_pickle_put(m, op == SA2_PICKLE_OP_BINPUT ? 1 : 4);
    case SA2_PICKLE_OP_BINGET:
    case SA2_PICKLE_OP_LONG_BINGET:
        return sa2_pickle_get(m, op == SA2_PICKLE_OP_BINGET ? 1 : 4);
    case SA2_PICKLE_OP_GLOBAL:
        return sa2_pickle_global(m);
    case SA2_PICKLE_OP_REDUCE:
        return sa2_pickle_reduce(m);
    case SA2_PICKLE_OP_BUILD:
        return sa2_pickle_build(m);
    case SA2_PICKLE_OP_BINPERSID:
        return sa2_pickle_persistent_id(m);
    default:
        return sa2_fail(m->err, SA2_ERR_UNSUPPORTED, "not an opcode that a dict of tensors needs");
    }
}

/* Until STOP, which must be the last byte and leave one value. */
static sa2_status run(sa2_pickle_machine *m)
{
    if (m->n < 2 || m->bytes[0] != SA2_PICKLE_OP_PROTO || m->bytes[1] < 2 || m->bytes[1] > 5)
        return sa2_fail(m->err, SA2_ERR_FORMAT, "pickle: does not begin with PROTO 2 to 5");
    m->at = 2;
    while (m->at < m->n) {
        size_t where = m->at;
        int op = m->bytes[m->at++];
        if (op == SA2_PICKLE_OP_STOP) {
            if (m->n_stack == 1 && m->n_marks == 0 && m->at == m->n)
                return SA2_OK;
            return sa2_fail(m->err, SA2_ERR_FORMAT,
                            "pickle: byte %zu, STOP: %zu values on the stack, %zu bytes behind",
                            where, m->n_stack, m->n - m->at);
        }
        sa2_status st = run_opcode(m, op);
        if (st != SA2_OK)
            return sa2_wrap(m->err, st, "pickle: byte %zu, %s (0x%02x)", where,
                            sa2_pickle_opcode_name(op), (unsigned)op);
    }
    return sa2_fail(m->err, SA2_ERR_FORMAT, "pickle: %zu bytes without STOP: cut short", m->n);
}

/* ---- the result ---- */

/* The pairs of the dict that the pickle leaves must be text and tensor. */
static sa2_status collect(const sa2_pickle_machine *m, sa2_pickle_state_dict *dict)
{
    sa2_pickle_value root = m->stack[0];
    if (root.kind != SA2_PICKLE_IS_DICT)
        return sa2_fail(m->err, SA2_ERR_FORMAT, "pickle: it is %s, a dict of tensors expected",
                        sa2_pickle_kind_name(root.kind));
    size_t count = 0;
    for (size_t i = 0; i < m->n_pairs; i++)
        count += m->pairs[i].dict == root.of.number;
    sa2_status st = sa2_arena_create(&dict->memory, count * sizeof *dict->tensors, m->err);
    if (st != SA2_OK)
        return st;
    dict->tensors = sa2_arena_take(&dict->memory, count * sizeof *dict->tensors);
    for (size_t i = 0; i < m->n_pairs; i++) {
        const sa2_pickle_pair *pair = &m->pairs[i];
        if (pair->dict != root.of.number)
            continue;
        if (pair->key.kind != SA2_PICKLE_IS_TEXT)
            return sa2_fail(m->err, SA2_ERR_FORMAT, "pickle: item %zu is called by %s, not a text",
                            dict->n_tensors, sa2_pickle_kind_name(pair->key.kind));
        const char *name = (const char *)m->bytes + pair->key.of.span.first;
        size_t name_bytes = pair->key.of.span.count;
        if (pair->item.kind != SA2_PICKLE_IS_TENSOR)
            return sa2_fail(m->err, SA2_ERR_FORMAT, "pickle: item %.*s is %s, a tensor expected",
                            (int)(name_bytes < 200 ? name_bytes : 200), name,
                            sa2_pickle_kind_name(pair->item.kind));
        sa2_pickle_tensor *t = &dict->tensors[dict->n_tensors++];
        *t = m->tensors[pair->item.of.number];
        t->name = name;
        t->name_bytes = name_bytes;
    }
    return SA2_OK;
}

sa2_status sa2_pickle_open(sa2_pickle_state_dict *dict, const void *bytes, size_t n, sa2_error *err)
{
    *dict = (sa2_pickle_state_dict){0};
    if (n > SA2_LIMIT_PICKLE_BYTES)
        return sa2_fail(err, SA2_ERR_LIMIT, "pickle: %zu bytes, %d can be read", n,
                        SA2_LIMIT_PICKLE_BYTES);
    sa2_pickle_machine m;
    sa2_status st = sa2_pickle_machine_create(&m, bytes, n, err);
    if (st == SA2_OK)
        st = run(&m);
    if (st == SA2_OK)
        st = collect(&m, dict);
    if (st != SA2_OK)
        sa2_pickle_close(dict);
    sa2_pickle_machine_destroy(&m);
    return st;
}

void sa2_pickle_close(sa2_pickle_state_dict *dict)
{
    sa2_arena_destroy(&dict->memory);
    *dict = (sa2_pickle_state_dict){0};
}

size_t sa2_pickle_storage_bytes(sa2_pickle_storage storage)
{
    static const unsigned char bytes[] = {4, 2, 2, 8, 4, 8, 1};
    return bytes[storage];
}
