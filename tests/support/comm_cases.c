#include "tests/support/comm_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"

enum { MOST = 96 * 512 };

typedef struct bench {
    sa2_backend *backend;
    sa2_stream *s;
    sa2_arena memory;
    sa2_comm *comm;
    float *host; /* [4, MOST] */
} bench;

static void open_bench(bench *b, sa2_comm *comm, const char *nccl)
{
    sa2_error err = {0};
    *b = (bench){.comm = comm, .host = calloc(4 * MOST, sizeof *b->host)};
    bool used = false;
    const sa2_backend_options options = {.n_threads = 1};
    if (b->host == NULL || sa2_backend_open(&b->backend, &options, &err) != SA2_OK ||
        sa2_stream_create(&b->s, b->backend, 0, &err) != SA2_OK ||
        sa2_backend_arena_create(b->backend, &b->memory, 3 * MOST * sizeof(float), &err) !=
            SA2_OK ||
        sa2_comm_reserve(comm, MOST, MOST, &err) != SA2_OK ||
        (nccl != NULL && sa2_comm_use_nccl(comm, b->backend, nccl, &used, &err) != SA2_OK))
        fail_msg("%s", err.message);
    assert_true(used == (nccl != NULL));
}

static void close_bench(bench *b)
{
    sa2_comm_leave_device(b->comm);
    sa2_backend_arena_destroy(b->backend, &b->memory);
    sa2_stream_destroy(b->s);
    sa2_backend_close(b->backend);
    free(b->host);
}

/* A number that only its rank, turn and place have, of many magnitudes: sums in another order have other bits. */
static float value(int rank, int turn, int64_t i)
{
    uint32_t h = (uint32_t)i * 2654435761u ^ (uint32_t)(rank * 977 + turn * 31 + 1) * 40503u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    float unit = (float)(h % 20001) / 10000.0f - 1.0f;
    return unit * (float)(1u << (h >> 28));
}

static sa2_tensor put(bench *b, int rank, int turn, int64_t rows, int64_t cols)
{
    sa2_tensor x = sa2_tensor_2d(NULL, SA2_F32, rows, cols);
    x.data = sa2_arena_take(&b->memory, sa2_tensor_bytes(&x));
    assert_non_null(x.data);
    for (int64_t i = 0; i < rows * cols; i++)
        b->host[i] = value(rank, turn, i);
    sa2_upload(b->s, x, b->host);
    assert_int_equal(sa2_stream_finish(b->s, NULL), SA2_OK);
    return x;
}

static const float *get(bench *b, sa2_tensor x)
{
    sa2_error err = {0};
    float *out = b->host + MOST;
    sa2_download(b->s, out, x);
    if (sa2_stream_finish(b->s, &err) != SA2_OK)
        fail_msg("%s", err.message);
    return out;
}

static void assert_bits(const char *what, const float *found, const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&found[i], &want[i], sizeof *found) != 0)
            fail_msg("%s, element %lld of %lld: %.9g found, %.9g expected", what, (long long)i,
                     (long long)n, (double)found[i], (double)want[i]);
}

/* The definition: x, then each rank's part in turn. */
static void check_sum(bench *b, int turn, int64_t rows, int64_t cols)
{
    float *want = b->host + 2 * MOST;
    sa2_tensor x = put(b, 99, turn, rows, cols);
    sa2_tensor part = put(b, sa2_comm_rank(b->comm), turn, rows, cols);
    for (int64_t i = 0; i < rows * cols; i++) {
        want[i] = value(99, turn, i);
        for (int r = 0; r < sa2_comm_size(b->comm); r++)
            want[i] += value(r, turn, i);
    }
    sa2_comm_sum(b->comm, b->s, x, part, (sa2_comm_place){"the sum", turn});
    assert_bits("sum", get(b, x), want, rows * cols);
    sa2_arena_rewind(&b->memory, 0);
}

static void check_copy(bench *b, int turn, int64_t rows, int64_t cols)
{
    float *want = b->host + 2 * MOST;
    sa2_tensor x = put(b, sa2_comm_rank(b->comm), turn, rows, cols);
    for (int64_t i = 0; i < rows * cols; i++)
        want[i] = value(0, turn, i);
    sa2_comm_copy(b->comm, b->s, x, (sa2_comm_place){"the copy", turn});
    assert_bits("copy", get(b, x), want, rows * cols);
    sa2_arena_rewind(&b->memory, 0);
}

/* Columns of rank r: 3 r + 5 of them. */
static void check_join(bench *b, int turn, int64_t rows)
{
    int rank = sa2_comm_rank(b->comm), size = sa2_comm_size(b->comm);
    float *found = b->host + 3 * MOST;
    int64_t widths[SA2_MAX_RANKS], cols = 0, first = 0;
    sa2_error err = {0};
    for (int r = 0; r < size; r++)
        cols += widths[r] = 3 * r + 5;
    sa2_tensor part = put(b, rank, turn, rows, widths[rank]);
    sa2_comm_join(b->comm, b->s, found, part, widths, (sa2_comm_place){"the join", -1});
    if (sa2_stream_finish(b->s, &err) != SA2_OK)
        fail_msg("%s", err.message);
    for (int r = 0; r < size && rank == 0; first += widths[r++])
        for (int64_t row = 0; row < rows; row++)
            for (int64_t i = 0; i < widths[r]; i++) {
                float want = value(r, turn, row * widths[r] + i);
                assert_bits("join", &found[row * cols + first + i], &want, 1);
            }
    sa2_arena_rewind(&b->memory, 0);
}

static void check_bytes(sa2_comm *comm)
{
    sa2_error err = {0};
    char text[64] = "";
    size_t n = sizeof "from rank 0";
    if (sa2_comm_rank(comm) == 0)
        memcpy(text, "from rank 0", n);
    else
        n = 0;
    if (sa2_comm_share(comm, "news", text, sizeof text, &n, true, &err) != SA2_OK)
        fail_msg("%s", err.message);
    assert_int_equal(n, sizeof "from rank 0");
    assert_string_equal(text, "from rank 0");
    int32_t mine = 100 + sa2_comm_rank(comm), all[SA2_MAX_RANKS];
    if (sa2_comm_tell_all(comm, "numbers", &mine, all, sizeof mine, 0, &err) != SA2_OK)
        fail_msg("%s", err.message);
    for (int r = 0; r < sa2_comm_size(comm); r++)
        assert_int_equal(all[r], 100 + r);
}

void test_comm_calls(sa2_comm *comm, const char *nccl)
{
    static const int64_t shapes[][2] = {
        {1, 1},    {1, 512},             /* a row of decoding */
        {7, 33},                         /* sizes that nothing divides */
        {16, 511}, {95, 509}, {96, 512}, /* and those that are summed by shares */
    };
    bench b;
    open_bench(&b, comm, nccl);
    for (int turn = 0; turn < 3; turn++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            check_sum(&b, turn, shapes[i][0], shapes[i][1]);
            check_copy(&b, turn, shapes[i][0], shapes[i][1]);
            check_join(&b, turn, shapes[i][0]);
            check_bytes(comm);
        }
    close_bench(&b);
}
