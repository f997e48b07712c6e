#include "tests/support/product_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 48 << 20 };

void product_pair_open(product_pair *w, const char *large, bool graphs)
{
    const sa2_backend_options options[] = {
        {.device = "cuda-sim"}, {.device = "cuda-sim", .large_products = large, .graphs = graphs}};
    sa2_stream **streams[] = {&w->own, &w->large};
    sa2_error err = {0};
    w->random = 1;
    for (int i = 0; i < 2; i++)
        if (sa2_backend_open(&w->backends[i], &options[i], &err) != SA2_OK ||
            sa2_stream_create(streams[i], w->backends[i], 1 << 20, &err) != SA2_OK)
            fail_msg("%s", err.message);
    assert_int_equal(sa2_backend_arena_create_shared(w->backends[0], &w->memory, ROOM, NULL),
                     SA2_OK);
}

void product_pair_close(product_pair *w)
{
    sa2_backend_arena_destroy(w->backends[0], &w->memory);
    sa2_stream_destroy(w->own);
    sa2_stream_destroy(w->large);
    for (int i = 0; i < 2; i++)
        sa2_backend_close(w->backends[i]);
}

static float uniform(product_pair *w)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (float)(w->random >> 8) * 0x1p-23f - 1.0f;
}

uint16_t product_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float product_element(const sa2_tensor *x, int64_t row, int64_t col)
{
    int64_t at = row * x->stride + col;
    uint32_t bits = x->dtype == SA2_BF16 ? (uint32_t)((const uint16_t *)x->data)[at] << 16 : 0;
    float value;
    memcpy(&value, &bits, sizeof value);
    return x->dtype == SA2_BF16 ? value : ((const float *)x->data)[at];
}

void product_set_element(const sa2_tensor *x, int64_t row, int64_t col, float value)
{
    int64_t at = row * x->stride + col;
    if (x->dtype == SA2_BF16)
        ((uint16_t *)x->data)[at] = product_bf16(value);
    else
        ((float *)x->data)[at] = value;
}

sa2_tensor product_rows(product_pair *w, sa2_dtype dtype, int64_t rows, int64_t cols,
                        int64_t stride)
{
    sa2_tensor x =
        sa2_tensor_2d(sa2_arena_take(&w->memory, (size_t)(rows * stride) * sa2_dtype_bytes(dtype)),
                      dtype, rows, stride);
    assert_non_null(x.data);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < stride; j++)
            product_set_element(&x, i, j, uniform(w));
    x.shape[1] = cols;
    return x;
}

sa2_tensor product_vector(product_pair *w, int64_t n)
{
    sa2_tensor x = product_rows(w, SA2_F32, 1, n, n);
    return sa2_tensor_1d(x.data, SA2_F32, n);
}

void product_finish(sa2_stream *s)
{
    sa2_error err = {0};
    if (sa2_stream_finish(s, &err) != SA2_OK)
        fail_msg("%s", err.message);
}

sa2_matrix product_matrix(product_pair *w, sa2_dtype dtype, int64_t n, int64_t k, bool swiglu)
{
    size_t bytes = sa2_matrix_bytes(w->own, dtype, n, k);
    sa2_matrix m = {sa2_arena_take(&w->memory, bytes), dtype, n, k};
    sa2_tensor values = product_rows(w, dtype == SA2_BF16 ? SA2_BF16 : SA2_F32, n, k, k);
    assert_non_null(m.data);
    if (swiglu)
        sa2_matrix_write_swiglu(w->own, &m, sa2_tensor_rows(values, 0, n / 2),
                                sa2_tensor_rows(values, n / 2, n / 2));
    else
        sa2_matrix_write(w->own, &m, 0, values);
    product_finish(w->own);
    return m;
}

const product_kind product_kinds[PRODUCT_KINDS] = {
    {.name = "plain", .y = SA2_BF16},
    {.name = "plain, f32, rows apart", .y = SA2_F32, .apart = 4},
    {.name = "at an odd place", .y = SA2_BF16, .before = 1},
    {.name = "rows at odd places", .y = SA2_BF16, .apart = 3},
    {.name = "added", .y = SA2_F32, .accumulate = true},
    {.name = "added, at odd places", .y = SA2_F32, .accumulate = true, .before = 2, .apart = 1},
    {.name = "bias, GELU", .y = SA2_BF16, .bias = true, .activation = SA2_ACT_GELU},
    {.name = "bias, gate, added", .y = SA2_F32, .bias = true, .gate = true, .accumulate = true},
    {.name = "gates, ReLU", .y = SA2_F32, .gate = true, .gates = true, .activation = SA2_ACT_RELU},
    {.name = "SwiGLU", .y = SA2_BF16, .swiglu = true},
    {.name = "SwiGLU, bias", .y = SA2_F32, .swiglu = true, .bias = true},
};
enum { GATES = 3 };

product_results product_run_both(product_pair *w, const product_kind *c, const sa2_matrix *m,
                                 sa2_tensor x)
{
    int64_t rows = x.shape[0], n = c->swiglu ? m->rows / 2 : m->rows;
    size_t size = sa2_dtype_bytes(c->y), bytes = (size_t)((rows + 1) * (n + c->apart)) * size;
    product_results y = {.own = product_rows(w, c->y, rows + 1, n, n + c->apart)};
    y.large = product_rows(w, c->y, rows + 1, n, n + c->apart);
    memcpy(y.large.data, y.own.data, bytes);
    y.own.shape[0] = y.large.shape[0] = rows;
    y.own.data = (char *)y.own.data + (size_t)c->before * size;
    y.large.data = (char *)y.large.data + (size_t)c->before * size;
    sa2_linear_args a = {
        .y = y.own, .x = x, .w = m, .swiglu = c->swiglu, .accumulate = c->accumulate};
    a.activation = c->activation;
    if (c->bias)
        a.bias = product_vector(w, m->rows);
    if (c->gate)
        a.gate = c->gates ? product_rows(w, SA2_F32, GATES, n, n) : product_vector(w, n);
    if (c->gates) {
        int32_t *which = sa2_arena_take(&w->memory, (size_t)rows * sizeof *which);
        for (int64_t i = 0; i < rows; i++)
            which[i] = (int32_t)(i % GATES);
        a.gate_rows = sa2_tensor_1d(which, SA2_I32, rows);
    }
    sa2_linear(w->own, a);
    a.y = y.large;
    sa2_linear(w->large, a);
    product_finish(w->own);
    product_finish(w->large);
    return y;
}
