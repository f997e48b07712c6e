#include "runtime/serving/comm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/arena.h"
#include "kernels/stream.h"

enum {
    DIRECT_BYTES = 32 << 10, /* up to here every rank sums everything: one turn instead of two */
    LEAVING_MS = 2000,       /* that ranks wait for each other at the end */
    IDLE_FACTOR = 10,        /* how much longer they wait for what rank 0 does next */
};

struct sa2_comm {
    sa2_link link;
    int64_t timeout_ms;
    bool one_machine;
    bool failed;       /* the ranks are no longer in step */
    sa2_error failure; /* why */
    sa2_arena memory;
    float *room; /* all of it: [size + 2, summed], x, part, and the parts of all; or [joined] */
    int64_t summed;
    sa2_message with[SA2_MAX_RANKS];
};

/* ---- life ---- */

sa2_status sa2_comm_create(sa2_comm **comm, const sa2_link *link, int64_t timeout_ms,
                           sa2_error *err)
{
    sa2_comm *c = calloc(1, sizeof *c);
    if (c == NULL) {
        link->close(link->state, false);
        return sa2_fail(err, SA2_ERR_NOMEM, "ranks: no memory");
    }
    c->link = *link;
    c->one_machine = true;
    c->timeout_ms = timeout_ms > 0 ? timeout_ms : SA2_RANK_TIMEOUT_MS;
    *comm = c;
    return SA2_OK;
}

sa2_status sa2_comm_open(sa2_comm **comm, const sa2_launch *launch, int64_t timeout_ms,
                         sa2_error *err)
{
    sa2_link link;
    int64_t patience = timeout_ms > 0 ? timeout_ms : SA2_RANK_TIMEOUT_MS;
    sa2_status st = launch->mpi ? sa2_link_open_mpi(&link, launch, err)
                                : sa2_link_open_sockets(&link, launch, patience, err);
    if (st == SA2_OK)
        st = sa2_comm_create(comm, &link, timeout_ms, err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "rank %d of %d", launch->rank, launch->size);
    (*comm)->one_machine = launch->local_size == launch->size;
    return SA2_OK;
}

void sa2_comm_close(sa2_comm *c)
{
    if (c == NULL)
        return;
    char mine = 0, all[SA2_MAX_RANKS];
    bool orderly =
        !c->failed && sa2_comm_tell_all(c, "the end", &mine, all, 1, LEAVING_MS, NULL) == SA2_OK;
    c->link.close(c->link.state, orderly);
    sa2_arena_destroy(&c->memory);
    free(c);
}

int sa2_comm_rank(const sa2_comm *c)
{
    return c != NULL ? c->link.rank : 0;
}

int sa2_comm_size(const sa2_comm *c)
{
    return c != NULL ? c->link.size : 1;
}

const char *sa2_comm_name(const sa2_comm *c)
{
    return c != NULL ? c->link.name : "one rank";
}

bool sa2_comm_one_machine(const sa2_comm *c)
{
    return c == NULL || c->one_machine;
}

int64_t sa2_comm_timeout_ms(const sa2_comm *c)
{
    return c != NULL ? c->timeout_ms : 0;
}

size_t sa2_comm_bytes(int size, int64_t summed, int64_t joined)
{
    int64_t parts = (size + 2) * summed;
    return sa2_arena_round((size_t)(parts > joined ? parts : joined) * sizeof(float));
}

sa2_status sa2_comm_reserve(sa2_comm *c, int64_t summed, int64_t joined, sa2_error *err)
{
    if (c == NULL)
        return SA2_OK;
    size_t bytes = sa2_comm_bytes(c->link.size, summed, joined);
    sa2_arena_destroy(&c->memory);
    c->memory = (sa2_arena){0};
    sa2_status st = sa2_arena_create(&c->memory, bytes, err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "messages between ranks");
    sa2_arena_commit(&c->memory); /* the pages are there before the first step */
    c->room = sa2_arena_take(&c->memory, bytes);
    c->summed = summed;
    return SA2_OK;
}

/* ---- exchanges ---- */

sa2_status sa2_link_fail_silent(const bool *silent, int size, int64_t timeout_ms, sa2_error *err)
{
    char ranks[256] = "", limit[32] = "";
    for (int i = 0, n = 0; i < size; i++)
        if (silent[i] && n < (int)sizeof ranks - 16)
            n += snprintf(ranks + n, sizeof ranks - (size_t)n, "%srank %d", n > 0 ? ", " : "", i);
    if (timeout_ms >= 0)
        snprintf(limit, sizeof limit, " in %.1f s", (double)timeout_ms * 1e-3);
    return sa2_fail(err, SA2_ERR_DEVICE, "nothing came from %s%s", ranks, limit);
}

static void clear_messages(sa2_comm *c)
{
    memset(c->with, 0, sizeof c->with);
}

/* A message without bytes where some were expected: that rank cannot go on. `exact`: messages fill their room. */
static sa2_status judge_messages(const sa2_comm *c, bool exact, sa2_error *err)
{
    for (int i = 0; i < c->link.size; i++) {
        const sa2_message *m = &c->with[i];
        if (i == c->link.rank || m->receive == NULL)
            continue;
        if (m->n_received == 0)
            return sa2_fail(err, SA2_ERR_DEVICE, "rank %d has given up; it says why", i);
        if (exact && m->n_received != m->room)
            return sa2_fail(err, SA2_ERR_DEVICE,
                            "%zu bytes of rank %d expected, %zu found: the ranks do different "
                            "things",
                            m->room, i, m->n_received);
    }
    return SA2_OK;
}

void sa2_comm_give_up(sa2_comm *c, const sa2_error *why)
{
    if (c == NULL || c->failed)
        return;
    clear_messages(c);
    for (int i = 0; i < c->link.size; i++)
        c->with[i].send = "";
    sa2_error unheard; /* who is gone too need not be told */
    c->link.exchange(c->link.state, c->with, LEAVING_MS, &unheard);
    sa2_fail(&c->failure, SA2_ERR_DEVICE, "rank %d of %d: %s", c->link.rank, c->link.size,
             why->message);
    c->failed = true;
}

/* An exchange that is called `place` in messages. */
static sa2_status run(sa2_comm *c, sa2_comm_place place, bool exact, int64_t timeout_ms,
                      sa2_error *err)
{
    char layer[32] = "";
    if (place.layer >= 0)
        snprintf(layer, sizeof layer, " of layer %d", place.layer);
    if (c->failed)
        return sa2_fail(err, SA2_ERR_DEVICE, "%s", c->failure.message);
    sa2_error *why = &c->failure;
    sa2_status st = c->link.exchange(c->link.state, c->with, timeout_ms, why);
    if (st == SA2_OK)
        st = judge_messages(c, exact, why);
    if (st == SA2_OK)
        return st;
    c->failed = true;
    sa2_wrap(why, st, "rank %d of %d: %s%s", c->link.rank, c->link.size, place.what, layer);
    return sa2_fail(err, st, "%s", why->message);
}

sa2_status sa2_comm_share(sa2_comm *c, const char *what, void *data, size_t room, size_t *n,
                          bool idle, sa2_error *err)
{
    if (c == NULL)
        return SA2_OK;
    clear_messages(c);
    for (int i = 1; i < c->link.size && c->link.rank == 0; i++)
        c->with[i] = (sa2_message){.send = data, .n_send = *n};
    if (c->link.rank > 0)
        c->with[0] = (sa2_message){.receive = data, .room = room};
    sa2_status st = run(c, (sa2_comm_place){what, -1}, false,
                        c->timeout_ms * (idle && c->link.rank > 0 ? IDLE_FACTOR : 1), err);
    if (st == SA2_OK && c->link.rank > 0)
        *n = c->with[0].n_received;
    return st;
}

sa2_status sa2_comm_tell_all(sa2_comm *c, const char *what, const void *mine, void *all, size_t n,
                             int64_t timeout_ms, sa2_error *err)
{
    memcpy((char *)all + (size_t)sa2_comm_rank(c) * n, mine, n);
    if (c == NULL)
        return SA2_OK;
    clear_messages(c);
    for (int i = 0; i < c->link.size; i++)
        if (i != c->link.rank)
            c->with[i] = (sa2_message){
                .send = mine, .n_send = n, .receive = (char *)all + (size_t)i * n, .room = n};
    return run(c, (sa2_comm_place){what, -1}, true, timeout_ms > 0 ? timeout_ms : c->timeout_ms,
               err);
}

/* ---- tensors ---- */

static void fail_stream(sa2_stream *s, sa2_status st, const sa2_error *err)
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
        st = run(c, place, true, c->timeout_ms, &err);
    if (st != SA2_OK)
        fail_stream(s, st, &err);
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
    size_t bytes = sa2_tensor_bytes(&x);
    clear_messages(c);
    if (c->link.rank == 0)
        sa2_download(s, c->room, x);
    for (int i = 1; i < c->link.size && c->link.rank == 0; i++)
        c->with[i] = (sa2_message){.send = c->room, .n_send = bytes};
    if (c->link.rank > 0)
        c->with[0] = (sa2_message){.receive = c->room, .room = bytes};
    if (go(c, s, place) && c->link.rank > 0)
        sa2_upload(s, x, c->room);
}

void sa2_comm_join(sa2_comm *c, sa2_stream *s, float *out, sa2_tensor part, const int64_t *widths,
                   sa2_comm_place place)
{
    int64_t rows = part.shape[0], cols = 0;
    if (c == NULL) {
        sa2_download(s, out, part);
        return;
    }
    float *room = c->room;
    float *parts[SA2_MAX_RANKS];
    clear_messages(c);
    for (int i = 0; i < c->link.size; i++, room += rows * widths[i - 1], cols += widths[i - 1]) {
        parts[i] = room;
        if (c->link.rank == 0 && i > 0)
            c->with[i] =
                (sa2_message){.receive = room, .room = (size_t)(rows * widths[i]) * sizeof(float)};
    }
    sa2_download(s, parts[c->link.rank], part);
    if (c->link.rank > 0)
        c->with[0] = (sa2_message){.send = parts[c->link.rank], .n_send = sa2_tensor_bytes(&part)};
    if (!go(c, s, place) || c->link.rank > 0)
        return;
    int64_t first = 0;
    for (int i = 0; i < c->link.size; first += widths[i++])
        for (int64_t row = 0; row < rows; row++)
            memcpy(out + row * cols + first, parts[i] + row * widths[i],
                   (size_t)widths[i] * sizeof(float));
}
