/* tensor.h - a typed, shaped view of memory that somebody else owns.
 *
 * Row-major, slowest dimension first. Only dimension 0 may have a stride of its own, so a column
 * range of a wider matrix (the queries inside [q k v]) and overlapping rows (the frames of a
 * signal, hop apart) are tensors too. Everything below a row is dense.
 */
#ifndef SA2_KERNELS_BASE_TENSOR_H
#define SA2_KERNELS_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sa2_dtype {
    SA2_F32 = 0,
    SA2_BF16, /* upper half of an f32 */
    SA2_I32,
    SA2_U8,
    SA2_I8,   /* of matrices and of the cache: with a step for each row */
    SA2_I4,   /* of matrices: two in a byte, with a step for each row and a factor for each group */
    SA2_E4M3, /* of matrices: e4m3.h, with a power of two for each group */
    SA2_DTYPES
} sa2_dtype;

enum { SA2_MAX_DIMS = 4 };

typedef struct sa2_tensor {
    void *data; /* NULL: absent, where an op allows that */
    sa2_dtype dtype;
    int ndim; /* 1 to SA2_MAX_DIMS */
    int64_t shape[SA2_MAX_DIMS];
    int64_t stride; /* elements from one index of dimension 0 to the next */
} sa2_tensor;

size_t sa2_dtype_bytes(sa2_dtype dtype);     /* that hold one value */
bool sa2_dtype_is_rounded(sa2_dtype dtype);  /* I8, I4 or E4M3 */
const char *sa2_dtype_name(sa2_dtype dtype); /* "f32", "bf16", "i32", "u8", "i8", "i4", "e4m3" */

/* Dense tensors over `data`. */
sa2_tensor sa2_tensor_1d(void *data, sa2_dtype dtype, int64_t n);
sa2_tensor sa2_tensor_2d(void *data, sa2_dtype dtype, int64_t rows, int64_t cols);
sa2_tensor sa2_tensor_3d(void *data, sa2_dtype dtype, int64_t a, int64_t b, int64_t c);

/* Rows [first, first + n) of x. Columns [first, first + n) of a 2-d x, with x's stride. */
sa2_tensor sa2_tensor_rows(sa2_tensor x, int64_t first, int64_t n);
sa2_tensor sa2_tensor_cols(sa2_tensor x, int64_t first, int64_t n);

/* A 2-d x [rows, heads * dim] seen as [rows, heads, dim]. */
sa2_tensor sa2_tensor_heads(sa2_tensor x, int64_t heads);

int64_t sa2_tensor_count(const sa2_tensor *x);     /* elements */
int64_t sa2_tensor_row_count(const sa2_tensor *x); /* elements in one index of dimension 0 */
size_t sa2_tensor_bytes(const sa2_tensor *x);      /* of a dense one */
bool sa2_tensor_is_dense(const sa2_tensor *x);
bool sa2_tensor_same_shape(const sa2_tensor *a, const sa2_tensor *b);

/* Writes "f32 [7, 3584]" and returns `text`; for messages. */
const char *sa2_tensor_describe(const sa2_tensor *x, char *text, size_t bytes);

/* One value. bf16 is rounded to nearest, ties to even; NaN stays NaN. */
static inline float sa2_bf16_to_f32(uint16_t x)
{
    union {
        uint32_t bits;
        float value;
    } u = {.bits = (uint32_t)x << 16};
    return u.value;
}

static inline uint16_t sa2_f32_to_bf16(float x)
{
    union {
        float value;
        uint32_t bits;
    } u = {.value = x};
    if (x != x)
        return (uint16_t)(u.bits >> 16 | 0x40u);
    return (uint16_t)((u.bits + 0x7fffu + (u.bits >> 16 & 1u)) >> 16);
}

#endif
