#include "kernels/base/tensor.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

size_t sa2_dtype_bytes(sa2_dtype dtype)
{
    switch (dtype) {
    case SA2_F32:
    case SA2_I32:
        return 4;
    case SA2_BF16:
        return 2;
    case SA2_U8:
    case SA2_I8:
    case SA2_I4:
    case SA2_E4M3:
        return 1;
    case SA2_DTYPES:
        break;
    }
    assert(!"dtype");
    return 0;
}

bool sa2_dtype_is_rounded(sa2_dtype dtype)
{
    return dtype == SA2_I8 || dtype == SA2_I4 || dtype == SA2_E4M3;
}

const char *sa2_dtype_name(sa2_dtype dtype)
{
    switch (dtype) {
    case SA2_F32:
        return "f32";
    case SA2_BF16:
        return "bf16";
    case SA2_I32:
        return "i32";
    case SA2_U8:
        return "u8";
    case SA2_I8:
        return "i8";
    case SA2_I4:
        return "i4";
    case SA2_E4M3:
        return "e4m3";
    case SA2_DTYPES:
        break;
    }
    return "?";
}

sa2_tensor sa2_tensor_1d(void *data, sa2_dtype dtype, int64_t n)
{
    return (sa2_tensor){.data = data, .dtype = dtype, .ndim = 1, .shape = {n}, .stride = 1};
}

sa2_tensor sa2_tensor_2d(void *data, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    return (sa2_tensor){
        .data = data, .dtype = dtype, .ndim = 2, .shape = {rows, cols}, .stride = cols};
}

sa2_tensor sa2_tensor_3d(void *data, sa2_dtype dtype, int64_t a, int64_t b, int64_t c)
{
    return (sa2_tensor){
        .data = data, .dtype = dtype, .ndim = 3, .shape = {a, b, c}, .stride = b * c};
}

sa2_tensor sa2_tensor_rows(sa2_tensor x, int64_t first, int64_t n)
{
    assert(first >= 0 && n >= 0 && first + n <= x.shape[0]);
    x.data = (char *)x.data + (size_t)(first * x.stride) * sa2_dtype_bytes(x.dtype);
    x.shape[0] = n;
    return x;
}

sa2_tensor sa2_tensor_cols(sa2_tensor x, int64_t first, int64_t n)
{
    assert(x.ndim == 2 && first >= 0 && n >= 0 && first + n <= x.shape[1]);
    x.data = (char *)x.data + (size_t)first * sa2_dtype_bytes(x.dtype);
    x.shape[1] = n;
    return x;
}

sa2_tensor sa2_tensor_heads(sa2_tensor x, int64_t heads)
{
    assert(x.ndim == 2 && heads > 0 && x.shape[1] % heads == 0);
    x.ndim = 3;
    x.shape[2] = x.shape[1] / heads;
    x.shape[1] = heads;
    return x;
}

int64_t sa2_tensor_count(const sa2_tensor *x)
{
    return x->shape[0] * sa2_tensor_row_count(x);
}

int64_t sa2_tensor_row_count(const sa2_tensor *x)
{
    int64_t n = 1;
    for (int i = 1; i < x->ndim; i++)
        n *= x->shape[i];
    return n;
}

size_t sa2_tensor_bytes(const sa2_tensor *x)
{
    return (size_t)sa2_tensor_count(x) * sa2_dtype_bytes(x->dtype);
}

bool sa2_tensor_is_dense(const sa2_tensor *x)
{
    return x->stride == sa2_tensor_row_count(x) || x->shape[0] <= 1;
}

bool sa2_tensor_same_shape(const sa2_tensor *a, const sa2_tensor *b)
{
    if (a->ndim != b->ndim)
        return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i])
            return false;
    return true;
}

const char *sa2_tensor_describe(const sa2_tensor *x, char *text, size_t bytes)
{
    if (x->data == NULL) {
        snprintf(text, bytes, "none");
        return text;
    }
    int used = snprintf(text, bytes, "%s [", sa2_dtype_name(x->dtype));
    for (int i = 0; i < x->ndim && used >= 0 && (size_t)used < bytes; i++)
        used += snprintf(text + used, bytes - (size_t)used, "%s%" PRId64, i > 0 ? ", " : "",
                         x->shape[i]);
    if (used >= 0 && (size_t)used < bytes)
        snprintf(text + used, bytes - (size_t)used, "]");
    return text;
}
