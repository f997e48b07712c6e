/* tensor_list.h - names, types and shapes of tensors without their values: what a file should hold.
 */
#ifndef SA2_LOADER_TENSOR_LIST_H
#define SA2_LOADER_TENSOR_LIST_H

#include <stdint.h>

#include "kernels/base/status.h"
#include "kernels/base/tensor.h"
#include "loader/text_pool.h"

typedef struct sa2_tensor_list_item {
    const char *name; /* of the list */
    sa2_tensor shape; /* dense, data NULL */
} sa2_tensor_list_item;

/* Zero-initialise it. */
typedef struct sa2_tensor_list {
    int n;
    int room;
    sa2_tensor_list_item *items;
    sa2_text_pool names;
} sa2_tensor_list;

/* Adds one under a printf-style name. ndim 1 to SA2_MAX_DIMS. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_tensor_list_add(sa2_tensor_list *list, sa2_dtype dtype, int ndim,
                               const int64_t *shape, sa2_error *err, const char *name, ...)
    __attribute__((format(printf, 6, 7)));

void sa2_tensor_list_destroy(sa2_tensor_list *list);

/* Bytes of all tensors, without headers. */
uint64_t sa2_tensor_list_bytes(const sa2_tensor_list *list);

#endif
