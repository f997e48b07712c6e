#include "loader/pickle_calls.h"

#include <string.h>

#include "kernels/base/limits.h"

typedef enum global_role { ROLE_DICT, ROLE_TENSOR, ROLE_PARAMETER, ROLE_STORAGE } global_role;

static const struct {
    const char *name;
    global_role role;
    sa2_pickle_storage storage;
} globals[] = {
    {"collections.OrderedDict", ROLE_DICT, 0},
    {"torch._utils._rebuild_tensor_v2", ROLE_TENSOR, 0},
    {"torch._utils._rebuild_parameter", ROLE_PARAMETER, 0},
    {"torch.FloatStorage", ROLE_STORAGE, SA2_PICKLE_FLOAT},
    {"torch.BFloat16Storage", ROLE_STORAGE, SA2_PICKLE_BFLOAT16},
    {"torch.HalfStorage", ROLE_STORAGE, SA2_PICKLE_HALF},
    {"torch.DoubleStorage", ROLE_STORAGE, SA2_PICKLE_DOUBLE},
    {"torch.IntStorage", ROLE_STORAGE, SA2_PICKLE_INT},
    {"torch.LongStorage", ROLE_STORAGE, SA2_PICKLE_LONG},
    {"torch.ByteStorage", ROLE_STORAGE, SA2_PICKLE_BYTE},
};
enum { N_GLOBALS = sizeof globals / sizeof globals[0] };

static sa2_status refuse(sa2_pickle_machine *m, const char *what)
{
    return sa2_fail(m->err, SA2_ERR_FORMAT, "%s", what);
}

/* Two lines, module and name. */
sa2_status sa2_pickle_global(sa2_pickle_machine *m)
{
    enum { MAX_LINE = 200 };
    const unsigned char *line[2];
    size_t length[2];
    for (int i = 0; i < 2; i++) {
        line[i] = m->bytes + m->at;
        size_t left = m->n - m->at;
        const unsigned char *end = memchr(line[i], '\n', left < MAX_LINE ? left : MAX_LINE);
        if (end == NULL)
            return sa2_fail(m->err, SA2_ERR_FORMAT, "no end of the line in %zu bytes",
                            left < MAX_LINE ? left : MAX_LINE);
        length[i] = (size_t)(end - line[i]);
        m->at += length[i] + 1;
    }
    for (int i = 0; i < N_GLOBALS; i++) {
        const char *name = globals[i].name;
        if (strlen(name) == length[0] + 1 + length[1] && memcmp(name, line[0], length[0]) == 0 &&
            name[length[0]] == '.' && memcmp(name + length[0] + 1, line[1], length[1]) == 0)
            return sa2_pickle_push(m, SA2_PICKLE_IS_GLOBAL, i);
    }
    return sa2_fail(m->err, SA2_ERR_UNSUPPORTED, "%.*s.%.*s is not what a tensor needs",
                    (int)length[0], (const char *)line[0], (int)length[1], (const char *)line[1]);
}

/* A tuple of `least` to `most` values whose first `least` are of these kinds. */
static sa2_status expect_kinds(sa2_pickle_machine *m, const char *what, sa2_pickle_value tuple,
                               const sa2_pickle_kind *kinds, size_t least, size_t most)
{
    if (tuple.of.span.count < least || tuple.of.span.count > most)
        return sa2_fail(m->err, SA2_ERR_FORMAT, "%s has %u values, %zu expected", what,
                        tuple.of.span.count, least);
    for (size_t i = 0; i < least; i++) {
        sa2_pickle_kind found = m->items[tuple.of.span.first + i].kind;
        if (found != kinds[i])
            return sa2_fail(m->err, SA2_ERR_FORMAT, "%s: value %zu is %s, %s expected", what, i,
                            sa2_pickle_kind_name(found), sa2_pickle_kind_name(kinds[i]));
    }
    return SA2_OK;
}

/* The only thing that torch.save() puts outside the pickle: ('storage', type, key, device, count). */
sa2_status sa2_pickle_persistent_id(sa2_pickle_machine *m)
{
    static const sa2_pickle_kind kinds[] = {SA2_PICKLE_IS_TEXT, SA2_PICKLE_IS_GLOBAL,
                                            SA2_PICKLE_IS_TEXT, SA2_PICKLE_IS_TEXT,
                                            SA2_PICKLE_IS_INT};
    if (!sa2_pickle_has(m, 1) || m->stack[m->n_stack - 1].kind != SA2_PICKLE_IS_TUPLE)
        return refuse(m, "no tuple that describes a storage");
    sa2_pickle_value tuple = m->stack[--m->n_stack];
    sa2_status st = expect_kinds(m, "storage", tuple, kinds, 5, 5);
    if (st != SA2_OK)
        return st;
    const sa2_pickle_value *item = m->items + tuple.of.span.first;
    if (item[0].of.span.count != 7 || memcmp(m->bytes + item[0].of.span.first, "storage", 7) != 0)
        return refuse(m, "a persistent id that is no storage");
    if (globals[item[1].of.number].role != ROLE_STORAGE)
        return sa2_fail(m->err, SA2_ERR_FORMAT, "storage of type %s",
                        globals[item[1].of.number].name);
    if (item[4].of.number < 0)
        return sa2_fail(m->err, SA2_ERR_FORMAT, "storage of %lld elements",
                        (long long)item[4].of.number);
    if (m->n_storages == m->storages_room)
        return sa2_fail(m->err, SA2_ERR_LIMIT, "more than %d storages", SA2_LIMIT_TENSORS);
    m->storages[m->n_storages] =
        (sa2_pickle_tensor){.key = (const char *)m->bytes + item[2].of.span.first,
                            .key_bytes = item[2].of.span.count,
                            .storage = globals[item[1].of.number].storage,
                            .storage_count = item[4].of.number};
    return sa2_pickle_push(m, SA2_PICKLE_IS_STORAGE, (int64_t)m->n_storages++);
}

/* Shape and stride into t, and the proof that every element lies inside the storage. */
static sa2_status place_tensor(sa2_pickle_machine *m, sa2_pickle_tensor *t, sa2_pickle_value shape,
                               sa2_pickle_value stride)
{
    if (shape.of.span.count != stride.of.span.count)
        return sa2_fail(m->err, SA2_ERR_FORMAT, "tensor of %u dimensions with %u strides",
                        shape.of.span.count, stride.of.span.count);
    if (shape.of.span.count > SA2_MAX_DIMS)
        return sa2_fail(m->err, SA2_ERR_LIMIT, "tensor of %u dimensions, %d can be used",
                        shape.of.span.count, SA2_MAX_DIMS);
    t->ndim = (int)shape.of.span.count;
    int64_t count = 1, last = t->offset;
    for (int i = 0; i < t->ndim; i++) {
        sa2_pickle_value size = m->items[shape.of.span.first + (uint32_t)i];
        sa2_pickle_value step = m->items[stride.of.span.first + (uint32_t)i];
        if (size.kind != SA2_PICKLE_IS_INT || step.kind != SA2_PICKLE_IS_INT ||
            size.of.number < 1 || step.of.number < 0)
            return sa2_fail(m->err, SA2_ERR_FORMAT,
                            "dimension %d of a tensor: %s %lld with stride %s %lld", i,
                            sa2_pickle_kind_name(size.kind), (long long)size.of.number,
                            sa2_pickle_kind_name(step.kind), (long long)step.of.number);
        t->shape[i] = size.of.number;
        t->stride[i] = step.of.number;
        int64_t reach = 0;
        if (__builtin_mul_overflow(count, size.of.number, &count) ||
            __builtin_mul_overflow(size.of.number - 1, step.of.number, &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return refuse(m, "the dimensions of a tensor overflow 64 bits");
    }
    if (t->offset < 0 || last >= t->storage_count || count > t->storage_count)
        return sa2_fail(
            m->err, SA2_ERR_FORMAT, "tensor of %lld elements at %lld to %lld of a storage of %lld",
            (long long)count, (long long)t->offset, (long long)last, (long long)t->storage_count);
    return SA2_OK;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]) */
static sa2_status rebuild_tensor(sa2_pickle_machine *m, sa2_pickle_value arguments)
{
    static const sa2_pickle_kind kinds[] = {SA2_PICKLE_IS_STORAGE, SA2_PICKLE_IS_INT,
                                            SA2_PICKLE_IS_TUPLE,   SA2_PICKLE_IS_TUPLE,
                                            SA2_PICKLE_IS_BOOL,    SA2_PICKLE_IS_DICT};
    sa2_status st = expect_kinds(m, "_rebuild_tensor_v2", arguments, kinds, 6, 7);
    if (st != SA2_OK)
        return st;
    if (m->n_tensors == m->tensors_room)
        return sa2_fail(m->err, SA2_ERR_LIMIT, "more than %d tensors", SA2_LIMIT_TENSORS);
    const sa2_pickle_value *item = m->items + arguments.of.span.first;
    sa2_pickle_tensor t = m->storages[item[0].of.number];
    t.offset = item[1].of.number;
    st = place_tensor(m, &t, item[2], item[3]);
    if (st != SA2_OK)
        return st;
    m->tensors[m->n_tensors] = t;
    return sa2_pickle_push(m, SA2_PICKLE_IS_TENSOR, (int64_t)m->n_tensors++);
}

sa2_status sa2_pickle_reduce(sa2_pickle_machine *m)
{
    static const sa2_pickle_kind parameter[] = {SA2_PICKLE_IS_TENSOR, SA2_PICKLE_IS_BOOL,
                                                SA2_PICKLE_IS_DICT};
    if (!sa2_pickle_has(m, 2) || m->stack[m->n_stack - 1].kind != SA2_PICKLE_IS_TUPLE)
        return refuse(m, "no function and tuple of arguments on the stack");
    sa2_pickle_value function = m->stack[m->n_stack - 2], arguments = m->stack[m->n_stack - 1];
    if (function.kind != SA2_PICKLE_IS_GLOBAL)
        return sa2_fail(m->err, SA2_ERR_UNSUPPORTED, "a call of %s",
                        sa2_pickle_kind_name(function.kind));
    m->n_stack -= 2;
    sa2_status st = SA2_OK;
    switch (globals[function.of.number].role) {
    case ROLE_DICT:
        if (arguments.of.span.count != 0)
            return refuse(m, "OrderedDict with arguments");
        return sa2_pickle_push(m, SA2_PICKLE_IS_DICT, m->n_dicts++);
    case ROLE_TENSOR:
        return rebuild_tensor(m, arguments);
    case ROLE_PARAMETER:
        st = expect_kinds(m, "_rebuild_parameter", arguments, parameter, 3, 3);
        return st == SA2_OK ? sa2_pickle_push(m, SA2_PICKLE_IS_TENSOR,
                                              m->items[arguments.of.span.first].of.number)
                            : st;
    case ROLE_STORAGE:
        break;
    }
    return sa2_fail(m->err, SA2_ERR_UNSUPPORTED, "a call of %s", globals[function.of.number].name);
}

/* Attributes of a dict: torch keeps version numbers there. Nothing in them matters here. */
sa2_status sa2_pickle_build(sa2_pickle_machine *m)
{
    if (!sa2_pickle_has(m, 2) || m->stack[m->n_stack - 1].kind != SA2_PICKLE_IS_DICT ||
        m->stack[m->n_stack - 2].kind != SA2_PICKLE_IS_DICT)
        return refuse(m, "attributes can only be those of a dict");
    m->n_stack--;
    return SA2_OK;
}
