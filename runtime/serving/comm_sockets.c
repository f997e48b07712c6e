/* comm_sockets.c - messages between ranks over TCP, for launchers that start processes and leave the rest to them.
 *
 * Every rank has a connection to every other. A message is its length in eight bytes and its bytes. An end of a connection
 * tells at once that a rank is gone.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loader/shard.h"
#include "runtime/serving/clock.h"
#include "runtime/serving/comm_link.h"

enum { LINGER_MS = 500 };

typedef struct socket_link {
    int rank, size;
    int fds[SA2_MAX_RANKS];
} socket_link;

/* How far one direction of a message is: first its length, then its bytes. */
typedef struct progress {
    bool open;
    uint64_t length;
    size_t done; /* of both together */
} progress;

typedef struct round {
    sa2_message *with;
    progress sending[SA2_MAX_RANKS], receiving[SA2_MAX_RANKS];
    int n_open;
} round;

/* Rank i has closed its connection. Who else has is named too: the first to go takes others with it. */
static sa2_status gone(const socket_link *l, int i, sa2_error *err)
{
    char ranks[256] = "", byte;
    for (int k = 0, n = 0; k < l->size; k++) {
        if (k == l->rank || (k != i && recv(l->fds[k], &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0))
            continue;
        if (n < (int)sizeof ranks - 16)
            n += snprintf(ranks + n, sizeof ranks - (size_t)n, "%srank %d", n > 0 ? ", " : "", k);
    }
    return sa2_fail(err, SA2_ERR_DEVICE, "gone: %s", ranks);
}

/* Takes note of n bytes of a transfer of `total`. */
static void advance(round *r, progress *p, size_t n)
{
    p->done += n;
    if (p->done == sizeof p->length + p->length) {
        p->open = false;
        r->n_open--;
    }
}

static bool again(ssize_t n)
{
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

static sa2_status send_some(const socket_link *l, round *r, int i, sa2_error *err)
{
    progress *p = &r->sending[i];
    bool in_length = p->done < sizeof p->length;
    const char *from = in_length ? (const char *)&p->length + p->done
                                 : (const char *)r->with[i].send + (p->done - sizeof p->length);
    size_t left = (in_length ? sizeof p->length : sizeof p->length + p->length) - p->done;
    ssize_t n = send(l->fds[i], from, left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        advance(r, p, (size_t)n);
    return n > 0 || again(n) ? SA2_OK : gone(l, i, err);
}

static sa2_status judge_length(const round *r, int i, sa2_error *err)
{
    size_t room = r->with[i].room;
    uint64_t length = r->receiving[i].length;
    return length <= room
               ? SA2_OK
               : sa2_fail(err, SA2_ERR_DEVICE, "at most %zu bytes of rank %d expected, %llu found",
                          room, i, (unsigned long long)length);
}

static sa2_status receive_some(const socket_link *l, round *r, int i, sa2_error *err)
{
    progress *p = &r->receiving[i];
    bool in_length = p->done < sizeof p->length;
    char *to = in_length ? (char *)&p->length + p->done
                         : (char *)r->with[i].receive + (p->done - sizeof p->length);
    size_t left = (in_length ? sizeof p->length : sizeof p->length + p->length) - p->done;
    ssize_t n = recv(l->fds[i], to, left, MSG_DONTWAIT);
    if (n <= 0)
        return again(n) ? SA2_OK : gone(l, i, err);
    if (in_length && p->done + (size_t)n == sizeof p->length) {
        sa2_status st = judge_length(r, i, err);
        if (st != SA2_OK)
            return st;
        r->with[i].n_received = (size_t)p->length;
    }
    if (in_length && p->done + (size_t)n < sizeof p->length)
        p->done += (size_t)n; /* how long it is, is not known yet */
    else
        advance(r, p, (size_t)n);
    return SA2_OK;
}

static void begin(const socket_link *l, round *r)
{
    for (int i = 0; i < l->size; i++) {
        if (i == l->rank)
            continue;
        const sa2_message *m = &r->with[i];
        r->sending[i] = (progress){.open = m->send != NULL, .length = m->n_send};
        r->receiving[i] = (progress){.open = m->receive != NULL};
        r->n_open += r->sending[i].open + r->receiving[i].open;
    }
}

/* Waits for any of them and goes on with those that can. */
static sa2_status turn(const socket_link *l, round *r, int timeout_ms, sa2_error *err)
{
    struct pollfd fds[SA2_MAX_RANKS];
    int ranks[SA2_MAX_RANKS], n = 0;
    for (int i = 0; i < l->size; i++) {
        short events =
            (short)((r->sending[i].open ? POLLOUT : 0) | (r->receiving[i].open ? POLLIN : 0));
        if (events == 0)
            continue;
        fds[n] = (struct pollfd){.fd = l->fds[i], .events = events};
        ranks[n++] = i;
    }
    if (poll(fds, (nfds_t)n, timeout_ms) < 0 && errno != EINTR)
        return sa2_fail(err, SA2_ERR_DEVICE, "poll: %s", strerror(errno));
    sa2_status st = SA2_OK;
    for (int k = 0; k < n && st == SA2_OK; k++) {
        int i = ranks[k];
        if (r->receiving[i].open && (fds[k].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            st = receive_some(l, r, i, err);
        if (st == SA2_OK && r->sending[i].open && (fds[k].revents & (POLLOUT | POLLERR)) != 0)
            st = send_some(l, r, i, err);
    }
    return st;
}

static sa2_status exchange(void *state, sa2_message *with, int64_t timeout_ms, sa2_error *err)
{
    const socket_link *l = state;
    round r = {.with = with};
    double began_ms = sa2_now_ms();
    begin(l, &r);
    while (r.n_open > 0) {
        double left = (double)timeout_ms - (sa2_now_ms() - began_ms);
        if (left < 0.0) {
            bool silent[SA2_MAX_RANKS];
            for (int i = 0; i < l->size; i++)
                silent[i] = r.sending[i].open || r.receiving[i].open;
            return sa2_link_fail_silent(silent, l->size, timeout_ms, err);
        }
        sa2_status st = turn(l, &r, (int)left + 1, err);
        if (st != SA2_OK)
            return st;
    }
    return SA2_OK;
}

/* Reads what still comes until the others have closed too: bytes that nobody has read would take back those that were
 * sent last. */
static void drain(const socket_link *l)
{
    double until_ms = sa2_now_ms() + LINGER_MS;
    for (int i = 0; i < l->size; i++) {
        char rest[4096];
        bool open = i != l->rank;
        while (open) {
            struct pollfd p = {.fd = l->fds[i], .events = POLLIN};
            double left = until_ms - sa2_now_ms();
            open = left > 0.0 && poll(&p, 1, (int)left + 1) > 0 &&
                   recv(l->fds[i], rest, sizeof rest, 0) > 0;
        }
    }
}

static void close_link(void *state, bool orderly)
{
    socket_link *l = state;
    for (int i = 0; i < l->size; i++)
        if (i != l->rank)
            shutdown(l->fds[i], SHUT_WR);
    if (!orderly)
        drain(l);
    for (int i = 0; i < l->size; i++)
        if (i != l->rank)
            close(l->fds[i]);
    free(l);
}

sa2_status sa2_link_from_sockets(sa2_link *link, int rank, int size, const int *fds, sa2_error *err)
{
    socket_link *l = calloc(1, sizeof *l);
    if (l == NULL) {
        for (int i = 0; i < size; i++)
            if (i != rank)
                close(fds[i]);
        return sa2_fail(err, SA2_ERR_NOMEM, "sockets: no memory");
    }
    l->rank = rank;
    l->size = size;
    memcpy(l->fds, fds, (size_t)size * sizeof *fds);
    *link = (sa2_link){.name = "sockets",
                       .rank = rank,
                       .size = size,
                       .exchange = exchange,
                       .close = close_link,
                       .state = l};
    return SA2_OK;
}
