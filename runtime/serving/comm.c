#include "runtime/serving/comm_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDLE_FACTOR = 10 }; /* how much longer ranks wait for what rank 0 does next */

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
    bool orderly = !c->failed &&
                   sa2_comm_tell_all(c, "the end", &mine, all, 1, SA2_LEAVING_MS, NULL) == SA2_OK;
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
    return c == NULL ? "one rank" : c->nccl != NULL ? "NCCL" : c->link.name;
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
    sa2_arena_commit(&c->memory, 0, bytes); /* the pages are there before the first step */
    c->room = sa2_arena_take(&c->memory, bytes);
    c->summed = summed;
    c->joined = joined;
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

void sa2_comm_clear_messages(sa2_comm *c)
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
    sa2_comm_clear_messages(c);
    for (int i = 0; i < c->link.size; i++)
        c->with[i].send = "";
    sa2_error unheard; /* who is gone too need not be told */
    c->link.exchange(c->link.state, c->with, SA2_LEAVING_MS, &unheard);
    sa2_fail(&c->failure, SA2_ERR_DEVICE, "rank %d of %d: %s", c->link.rank, c->link.size,
             why->message);
    c->failed = true;
}

sa2_status sa2_comm_exchange(sa2_comm *c, sa2_comm_place place, bool exact, int64_t timeout_ms,
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

void sa2_comm_set_copy(sa2_comm *c, void *data, size_t n, size_t room)
{
    sa2_comm_clear_messages(c);
    for (int i = 1; i < c->link.size && c->link.rank == 0; i++)
        c->with[i] = (sa2_message){.send = data, .n_send = n};
    if (c->link.rank > 0)
        c->with[0] = (sa2_message){.receive = data, .room = room};
}

sa2_status sa2_comm_share(sa2_comm *c, const char *what, void *data, size_t room, size_t *n,
                          bool idle, sa2_error *err)
{
    if (c == NULL)
        return SA2_OK;
    sa2_comm_set_copy(c, data, *n, room);
    sa2_status st =
        sa2_comm_exchange(c, (sa2_comm_place){what, -1}, false,
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
    sa2_comm_clear_messages(c);
    for (int i = 0; i < c->link.size; i++)
        if (i != c->link.rank)
            c->with[i] = (sa2_message){
                .send = mine, .n_send = n, .receive = (char *)all + (size_t)i * n, .room = n};
    return sa2_comm_exchange(c, (sa2_comm_place){what, -1}, true,
                             timeout_ms > 0 ? timeout_ms : c->timeout_ms, err);
}
