/* pickle.h - the list of tensors in the pickle of a PyTorch state dict, read as data.
 *
 * A pickle is a program for a stack machine. This one knows the opcodes that torch.save() writes for
 * a dict of tensors (protocol 2), builds plain values and never calls anything: a global is a word
 * from a list of a dozen, and REDUCE of one of them is a rule of this file. Every other opcode and
 * global is refused by name.
 * Format: pickletools.py of CPython; what torch.save() puts into it: torch/_utils.py
 * (_rebuild_tensor_v2), torch/serialization.py (persistent_id).
 */
#ifndef SA2_LOADER_PICKLE_H
#define SA2_LOADER_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/arena.h"
#include "kernels/base/tensor.h"

typedef enum sa2_pickle_storage {
    SA2_PICKLE_FLOAT = 0, /* 4 bytes */
    SA2_PICKLE_BFLOAT16,
    SA2_PICKLE_HALF,   /* IEEE binary16 */
    SA2_PICKLE_DOUBLE, /* 8 bytes */
    SA2_PICKLE_INT,    /* 4 bytes */
    SA2_PICKLE_LONG,   /* 8 bytes */
    SA2_PICKLE_BYTE,
} sa2_pickle_storage;

/* One item of the dict. Texts lie in the pickle and have no 0 at the end. */
typedef struct sa2_pickle_tensor {
    const char *name;
    size_t name_bytes;
    const char *key; /* of the storage: the file data/<key> of the archive */
    size_t key_bytes;
    sa2_pickle_storage storage;
    int64_t storage_count; /* elements in the storage */
    int64_t offset;        /* of element 0, in elements */
    int ndim;              /* 0: a scalar */
    int64_t shape[SA2_MAX_DIMS];
    int64_t stride[SA2_MAX_DIMS]; /* elements, never negative */
} sa2_pickle_tensor;

typedef struct sa2_pickle_state_dict {
    sa2_pickle_tensor *tensors; /* in the order of the dict */
    size_t n_tensors;
    sa2_arena memory; /* of the tensors */
} sa2_pickle_state_dict;

/* Runs the pickle in bytes[0, n), which must outlive the result. Every tensor has at most
 * SA2_MAX_DIMS dimensions, all of them above 0, and lies inside its storage; attributes of the dict
 * (_metadata) are ignored. Two items of one name are not looked for.
 * Errors: SA2_ERR_FORMAT, SA2_ERR_UNSUPPORTED (opcodes, globals), SA2_ERR_LIMIT, SA2_ERR_NOMEM, with
 * the byte where it happened; nothing to close then. */
sa2_status sa2_pickle_open(sa2_pickle_state_dict *dict, const void *bytes, size_t n,
                           sa2_error *err);
void sa2_pickle_close(sa2_pickle_state_dict *dict);

size_t sa2_pickle_storage_bytes(sa2_pickle_storage storage); /* of one element */

#endif
