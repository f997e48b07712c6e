#include "tests/support/test_env.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else /* the guard bytes alone watch */
#define ASAN_POISON_MEMORY_REGION(address, bytes)   ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

enum { GUARD = 64, GUARD_BYTE = 0xa5, ALIGN = 64, SCRATCH = 16 << 20, FIRST_RANDOM = 1 };

/* Adds a stream of that device, where it is here. */
static void add_stream(test_env *env, const sa2_backend_options *options)
{
    sa2_error err = {0};
    sa2_backend **backend = &env->backends[env->n_streams];
    sa2_status st = sa2_backend_open(backend, options, &err);
    if (st == SA2_ERR_UNSUPPORTED)
        return;
    if (st != SA2_OK ||
        sa2_stream_create(&env->streams[env->n_streams], *backend, SCRATCH, &err) != SA2_OK)
        fail_msg("%s", err.message);
    env->isas[env->n_streams++] = sa2_backend_isa(*backend);
}

void test_env_open(test_env *env, int n_threads)
{
    static const char *const names[] = {"c", "avx2", "avx512", "avx512bf16", "amx"};
    *env = (test_env){.random = FIRST_RANDOM};
    const char *only = getenv("SA2_TEST_ISA");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (i == 0 || only == NULL || strcmp(only, names[i]) == 0)
            add_stream(env, &(sa2_backend_options){
                                .device = "cpu", .n_threads = n_threads, .isa = names[i]});
}

void test_env_open_all(test_env *env, int n_threads)
{
    test_env_open(env, n_threads);
    for (int i = 0; i < 2 && getenv("SA2_TEST_ISA") == NULL; i++) {
        int n = env->n_streams;
        if (env->shared == NULL) /* tensors can be in memory of one of the two */
            add_stream(env, &(sa2_backend_options){.device = i == 0 ? "cuda" : "cuda-sim"});
        if (env->n_streams > n)
            env->shared = env->backends[n];
    }
}

void test_env_close(test_env *env)
{
    test_reset(env);
    for (int i = 0; i < env->n_streams; i++) {
        sa2_stream_destroy(env->streams[i]);
        sa2_backend_close(env->backends[i]);
    }
}

int test_env_set_up(void **state)
{
    static test_env env;
    test_env_open_all(&env, 3);
    *state = &env;
    return 0;
}

int test_env_tear_down(void **state)
{
    test_env_close(*state);
    return 0;
}

bool test_is_simulated(const test_env *env, int i)
{
    return strcmp(sa2_backend_device(env->backends[i]), "cuda-sim") == 0;
}

/* ---- blocks: [pad to ALIGN, GUARD, bytes, GUARD] ---- */

static void *take(test_env *env, size_t bytes)
{
    assert_true(env->n_blocks < TEST_MAX_BLOCKS);
    size_t whole = (GUARD + bytes + GUARD + ALIGN - 1) / ALIGN * ALIGN;
    unsigned char *block = NULL;
    if (env->shared == NULL) {
        block = aligned_alloc(ALIGN, whole);
    } else {
        sa2_arena arena;
        sa2_error err = {0};
        if (sa2_backend_arena_create_shared(env->shared, &arena, whole, &err) != SA2_OK)
            fail_msg("%s", err.message);
        block = arena.base;
    }
    assert_non_null(block);
    memset(block, GUARD_BYTE, whole);
    memset(block + GUARD, 0, bytes);
    ASAN_POISON_MEMORY_REGION(block, GUARD);
    ASAN_POISON_MEMORY_REGION(block + GUARD + bytes, whole - GUARD - bytes);
    env->blocks[env->n_blocks] = block;
    env->block_bytes[env->n_blocks++] = bytes;
    return block + GUARD;
}

void test_reset(test_env *env)
{
    for (int b = 0; b < env->n_blocks; b++) {
        unsigned char *block = env->blocks[b];
        size_t end = GUARD + env->block_bytes[b];
        ASAN_UNPOISON_MEMORY_REGION(block, GUARD);
        ASAN_UNPOISON_MEMORY_REGION(block + end, GUARD);
        for (size_t i = 0; i < GUARD; i++) {
            if (block[i] != GUARD_BYTE)
                fail_msg("block %d: byte %zu before its start was written", b, GUARD - i);
            if (block[end + i] != GUARD_BYTE)
                fail_msg("block %d: byte %zu past its end was written", b, i);
        }
        if (env->shared == NULL)
            free(block);
        else
            sa2_backend_arena_destroy(env->shared, &(sa2_arena){.base = block});
    }
    env->n_blocks = 0;
    env->random = FIRST_RANDOM;
}

/* ---- tensors ---- */

static sa2_tensor make(test_env *env, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    sa2_tensor x =
        cols == 0 ? sa2_tensor_1d(NULL, dtype, rows) : sa2_tensor_2d(NULL, dtype, rows, cols);
    x.data = take(env, sa2_tensor_bytes(&x));
    return x;
}

static void put(sa2_tensor *x, int64_t i, float value)
{
    if (x->dtype == SA2_F32)
        ((float *)x->data)[i] = value;
    else
        ((uint16_t *)x->data)[i] = sa2_f32_to_bf16(value);
}

double test_uniform(test_env *env)
{
    env->random = env->random * 6364136223846793005u + 1442695040888963407u; /* Knuth, MMIX */
    return (double)(env->random >> 40) / (1 << 23) - 1.0;
}

sa2_tensor test_random(test_env *env, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    sa2_tensor x = make(env, dtype, rows, cols);
    for (int64_t i = 0; i < sa2_tensor_count(&x); i++)
        put(&x, i, (float)test_uniform(env));
    return x;
}

sa2_tensor test_poisoned(test_env *env, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    sa2_tensor x = make(env, dtype, rows, cols);
    for (int64_t i = 0; i < sa2_tensor_count(&x); i++)
        put(&x, i, nanf(""));
    return x;
}

sa2_tensor test_copy(test_env *env, const sa2_tensor *x)
{
    sa2_tensor y = *x;
    y.stride = sa2_tensor_row_count(x);
    y.data = take(env, sa2_tensor_bytes(&y));
    size_t size = sa2_dtype_bytes(x->dtype);
    for (int64_t i = 0; i < x->shape[0]; i++)
        memcpy((char *)y.data + (size_t)(i * y.stride) * size,
               (const char *)x->data + (size_t)(i * x->stride) * size, (size_t)y.stride * size);
    return y;
}

sa2_tensor test_ids(test_env *env, int64_t n, int32_t below)
{
    sa2_tensor ids = make(env, SA2_I32, n, 0);
    for (int64_t i = 0; i < n; i++)
        ((int32_t *)ids.data)[i] = (int32_t)((test_uniform(env) + 1.0) / 2.0 * below);
    return ids;
}

sa2_matrix test_matrix(test_env *env, sa2_stream *s, sa2_dtype dtype, int64_t rows, int64_t cols)
{
    void *data = take(env, sa2_matrix_bytes(s, dtype, rows, cols));
    return (sa2_matrix){.data = data, .dtype = dtype, .rows = rows, .cols = cols};
}

double *test_doubles(test_env *env, int64_t n)
{
    return take(env, (size_t)n * sizeof(double));
}

int32_t *test_offsets(test_env *env, int n, const int32_t *lengths)
{
    int32_t *offsets = take(env, ((size_t)n + 1) * sizeof(int32_t));
    for (int i = 0; i < n; i++)
        offsets[i + 1] = offsets[i] + lengths[i];
    return offsets;
}

/* Element i of x, counted as if it were dense. */
static double value_at(const sa2_tensor *x, int64_t i)
{
    int64_t row = sa2_tensor_row_count(x);
    int64_t at = i / row * x->stride + i % row;
    if (x->dtype == SA2_F32)
        return ((const float *)x->data)[at];
    return sa2_bf16_to_f32(((const uint16_t *)x->data)[at]);
}

double *test_values(test_env *env, const sa2_tensor *x)
{
    int64_t n = sa2_tensor_count(x);
    double *values = test_doubles(env, n);
    for (int64_t i = 0; i < n; i++)
        values[i] = value_at(x, i);
    return values;
}

/* ---- judgement ---- */

void assert_close(test_env *env, sa2_stream *s, const char *what, const sa2_tensor *y,
                  const double *want, double nmse)
{
    sa2_error err = {0};
    const char *isa = "";
    for (int i = 0; i < env->n_streams; i++)
        if (env->streams[i] == s)
            isa = env->isas[i];
    if (sa2_stream_finish(s, &err) != SA2_OK)
        fail_msg("%s, %s: %s", what, isa, err.message);
    double error = 0.0, power = 0.0, largest = -1.0;
    int64_t worst = 0;
    for (int64_t i = 0; i < sa2_tensor_count(y); i++) {
        double e = value_at(y, i) - want[i];
        error += e * e;
        power += want[i] * want[i];
        if (!(fabs(e) <= largest)) { /* a NaN is the worst */
            largest = isnan(e) ? INFINITY : fabs(e);
            worst = i;
        }
    }
    if (!(error <= nmse * power)) {
        char text[96];
        int64_t row = sa2_tensor_row_count(y);
        fail_msg("%s, %s, %s: NMSE %.3g, %.3g allowed; worst at row %lld, column %lld: %.9g, "
                 "%.9g expected",
                 what, isa, sa2_tensor_describe(y, text, sizeof text), error / power, nmse,
                 (long long)(worst / row), (long long)(worst % row), value_at(y, worst),
                 want[worst]);
    }
}

void assert_same_bits(const char *what, const sa2_tensor *y, const sa2_tensor *want)
{
    assert_true(sa2_tensor_same_shape(y, want) && y->dtype == want->dtype);
    size_t size = sa2_dtype_bytes(y->dtype);
    size_t row = (size_t)sa2_tensor_row_count(y) * size;
    for (int64_t i = 0; i < y->shape[0]; i++) {
        const char *a = (const char *)y->data + (size_t)(i * y->stride) * size;
        const char *b = (const char *)want->data + (size_t)(i * want->stride) * size;
        for (size_t j = 0; j < row; j++)
            if (a[j] != b[j])
                fail_msg("%s: row %lld differs at column %zu", what, (long long)i, j / size);
    }
}

void assert_refused(sa2_stream *s, const char *part)
{
    sa2_error err = {0};
    assert_int_not_equal(sa2_stream_finish(s, &err), SA2_OK);
    if (strstr(err.message, part) == NULL)
        fail_msg("refused with \"%s\", \"%s\" expected in it", err.message, part);
}
