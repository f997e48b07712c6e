/* comm_tensors.c - sums, copies and joins of tensors by way of host memory. */
#include <string.h>

#include "runtime/serving/comm_internal.h"

/* Up to here every rank sums everything: one turn instead of two. */
enum { DIRECT_BYTES = 32 << 10 };

void sa2_comm_fail_stream(sa2_stream *s, sa2_status st, const sa2_error *err)
{
    s->status = st;
    s->error = *err;
}

/* One exchange of a stream's call, once its ops have run. False: the stream has failed, and the others know. */
static bool go(sa2_comm *c, sa2_stream *s, sa2_comm_place place)
{
    sa2_error err = {0};
    sa2_status st = sa2_stream_finish(s, &err);
    if (st != SA2_OK)
        sa2_comm_give_up(c, &err);
    else
        st = sa2_comm_exchange(c, place, true, c->timeout_ms, &err);
    if (st != SA2_OK)
        sa2_comm_fail_stream(s, st, &err);
    return st == SA2_OK;
}

/* The elements of which a rank makes the sum for all. */
static sa2_slice share_of(int64_t n, int rank, int size)
{
    int64_t first = n * rank / size;
    return (sa2_slice){first, n * (rank + 1) / size - first, n};
}

/* x[i] += the parts of all ranks in their order. parts [size]. */
static void add_parts(float *x, const float *const *parts, int size, int64_t n)
{
    for (int r = 0; r < size; r++)
        for (int64_t i = 0; i < n; i++)
            x[i] += parts[r][i];
}

/* Each rank sends the others their shares of its part, sums its own, and sends that. */
static bool sum_by_shares(sa2_comm *c, sa2_stream *s, float *x, float *part, int64_t n,
                          sa2_comm_place place)
{
    int rank = c->link.rank, size = c->link.size;
    sa2_slice own = share_of(n, rank, size);
    const float *parts[SA2_MAX_RANKS];
    for (int i = 0; i < size; i++) {
        sa2_slice theirs = share_of(n, i, size);
        float *room = c->room + (2 + i) * c->summed;
        parts[i] = i == rank ? part + own.first : room;
        c->with[i] = (sa2_message){.send = part + theirs.first,
                                   .n_send = (size_t)theirs.n * sizeof(float),
                                   .receive = room,
                                   .room = (size_t)own.n * sizeof(float)};
    }
    if (!go(c, s, place))
        return false;
    add_parts(x + own.first, parts, size, own.n);
    for (int i = 0; i < size; i++) {
        sa2_slice theirs = share_of(n, i, size);
        c->with[i] = (sa2_message){.send = x + own.first,
                                   .n_send = (size_t)own.n * sizeof(float),
                                   .receive = x + theirs.first,
                                   .room = (size_t)theirs.n * sizeof(float)};
    }
    return go(c, s, place);
}

/* Each rank sends its whole part to all and sums everything. */
static bool sum_by_all(sa2_comm *c, sa2_stream *s, float *x, float *part, int64_t n,
                       sa2_comm_place place)
{
    const float *parts[SA2_MAX_RANKS];
    size_t bytes = (size_t)n * sizeof(float);
    for (int i = 0; i < c->link.size; i++) {
        float *room = c->room + (2 + i) * c->summed;
        parts[i] = i == c->link.rank ? part : room;
        c->with[i] = (sa2_message){.send = part, .n_send = bytes, .receive = room, .room = bytes};
    }
    if (!go(c, s, place))
        return false;
    add_parts(x, parts, c->link.size, n);
    return true;
}

void sa2_comm_sum(sa2_comm *c, sa2_stream *s, sa2_tensor x, sa2_tensor part, sa2_comm_place place)
{
    int64_t n = sa2_tensor_count(&x);
    if (c == NULL) {
        sa2_add(s, x, x, part);
        return;
    }
    if (c->nccl != NULL) {
        sa2_comm_device_sum(c, s, x, part, place);
        return;
    }
    float *whole = c->room, *mine = c->room + c->summed;
    sa2_download(s, whole, x);
    sa2_download(s, mine, part);
    bool shares = (size_t)n * sizeof(float) > DIRECT_BYTES && c->link.size > 2;
    if (shares ? sum_by_shares(c, s, whole, mine, n, place)
               : sum_by_all(c, s, whole, mine, n, place))
        sa2_upload(s, x, whole);
}

void sa2_comm_copy(sa2_comm *c, sa2_stream *s, sa2_tensor x, sa2_comm_place place)
{
    if (c == NULL)
        return;
    if (c->nccl != NULL) {
        sa2_comm_device_copy(c, s, x, place);
        return;
    }
    size_t bytes = sa2_tensor_bytes(&x);
    if (c->link.rank == 0)
        sa2_download(s, c->room, x);
    sa2_comm_set_copy(c, c->room, bytes, bytes);
    if (go(c, s, place) && c->link.rank > 0)
        sa2_upload(s, x, c->room);
}

/* Parts of all ranks, [rows, widths[r]] one behind the other, to out [rows, cols]. */
static void put_side_by_side(float *out, const float *parts, int64_t rows, const int64_t *widths,
                             int size)
{
    int64_t cols = 0, first = 0;
    for (int r = 0; r < size; r++)
        cols += widths[r];
    for (int r = 0; r < size; first += widths[r++])
        for (int64_t row = 0; row < rows; row++, parts += widths[r])
            memcpy(out + row * cols + first, parts, (size_t)widths[r] * sizeof(float));
}

/* Into c->room on rank 0. */
static void join_by_host(sa2_comm *c, sa2_stream *s, sa2_tensor part, const int64_t *widths,
                         sa2_comm_place place)
{
    int64_t rows = part.shape[0];
    float *room = c->room;
    sa2_comm_clear_messages(c);
    sa2_download(s, room, part);
    if (c->link.rank > 0)
        c->with[0] = (sa2_message){.send = room, .n_send = sa2_tensor_bytes(&part)};
    for (int r = 0; r < c->link.size && c->link.rank == 0; room += rows * widths[r++])
        if (r > 0)
            c->with[r] =
                (sa2_message){.receive = room, .room = (size_t)(rows * widths[r]) * sizeof(float)};
    go(c, s, place);
}

void sa2_comm_join(sa2_comm *c, sa2_stream *s, float *out, sa2_tensor part, const int64_t *widths,
                   sa2_comm_place place)
{
    if (c == NULL) {
        sa2_download(s, out, part);
        return;
    }
    if (c->nccl != NULL)
        sa2_comm_device_join(c, s, part, widths, place);
    else
        join_by_host(c, s, part, widths, place);
    if (s->status == SA2_OK && c->link.rank == 0)
        put_side_by_side(out, c->room, part.shape[0], widths, c->link.size);
}
