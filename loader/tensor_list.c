#include "loader/tensor_list.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"

static sa2_status make_room(sa2_tensor_list *list, sa2_error *err)
{
    if (list->n < list->room)
        return SA2_OK;
    if (list->n >= SA2_LIMIT_TENSORS)
        return sa2_fail(err, SA2_ERR_LIMIT, "more than %d tensors", SA2_LIMIT_TENSORS);
    int room = list->room > 0 ? 2 * list->room : 64;
    sa2_tensor_list_item *items = realloc(list->items, (size_t)room * sizeof *items);
    if (items == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "no memory for a list of %d tensors", room);
    list->items = items;
    list->room = room;
    return SA2_OK;
}

sa2_status sa2_tensor_list_add(sa2_tensor_list *list, sa2_dtype dtype, int ndim,
                               const int64_t *shape, sa2_error *err, const char *name, ...)
{
    char text[SA2_LIMIT_TENSOR_NAME_BYTES + 1];
    va_list args;
    va_start(args, name);
    int length = vsnprintf(text, sizeof text, name, args);
    va_end(args);
    assert(length > 0 && (size_t)length < sizeof text && ndim >= 1 && ndim <= SA2_MAX_DIMS);

    sa2_status st = make_room(list, err);
    if (st != SA2_OK)
        return st;
    const char *copy = sa2_text_pool_copy(&list->names, text, (size_t)length);
    if (copy == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "no memory for the names of tensors");
    sa2_tensor tensor = {.dtype = dtype, .ndim = ndim};
    memcpy(tensor.shape, shape, (size_t)ndim * sizeof *shape);
    tensor.stride = sa2_tensor_row_count(&tensor);
    list->items[list->n++] = (sa2_tensor_list_item){.name = copy, .shape = tensor};
    return SA2_OK;
}

void sa2_tensor_list_destroy(sa2_tensor_list *list)
{
    free(list->items);
    sa2_text_pool_destroy(&list->names);
    *list = (sa2_tensor_list){0};
}

uint64_t sa2_tensor_list_bytes(const sa2_tensor_list *list)
{
    uint64_t bytes = 0;
    for (int i = 0; i < list->n; i++)
        bytes += sa2_tensor_bytes(&list->items[i].shape);
    return bytes;
}
