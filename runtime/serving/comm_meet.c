/* comm_meet.c - ranks that know nothing but where rank 0 is become connected, each with each.
 *
 * Everybody listens somewhere. The others call rank 0 and say who they are and where they listen; rank 0 answers with
 * the places of all; then each calls those below it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "loader/shard.h"
#include "runtime/serving/clock.h"
#include "runtime/serving/comm_link.h"

enum { MAGIC = 0x73613272, CALL_AGAIN_MS = 50 };

/* The first words of a call: who it is, of how many, and where it listens. */
typedef struct greeting {
    uint32_t magic, rank, size, port; /* network order */
    uint32_t address;                 /* filled in by rank 0, as it sees the caller */
} greeting;

typedef struct meeting {
    const sa2_launch *launch;
    double until_ms;
    int listener;
    int fds[SA2_MAX_RANKS]; /* -1: not there yet */
    greeting places[SA2_MAX_RANKS];
} meeting;

static int left_ms(const meeting *m)
{
    double left = m->until_ms - sa2_now_ms();
    return left > 0.0 ? (int)left + 1 : 0;
}

/* All n bytes, in or out, before time is up. */
static bool move_all(const meeting *m, int fd, void *bytes, size_t n, bool out)
{
    char *at = bytes;
    while (n > 0) {
        struct pollfd p = {.fd = fd, .events = out ? POLLOUT : POLLIN};
        if (poll(&p, 1, left_ms(m)) <= 0)
            return false;
        ssize_t moved = out ? send(fd, at, n, MSG_NOSIGNAL) : recv(fd, at, n, 0);
        if (moved <= 0)
            return false;
        at += moved;
        n -= (size_t)moved;
    }
    return true;
}

static void no_delay(int fd)
{
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static sa2_status listen_at(meeting *m, int port, int *chosen, sa2_error *err)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t n = sizeof at;
    m->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (m->listener >= 0)
        setsockopt(m->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (m->listener < 0 || bind(m->listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(m->listener, SA2_MAX_RANKS) != 0 ||
        getsockname(m->listener, (struct sockaddr *)&at, &n) != 0)
        return sa2_fail(err, SA2_ERR_IO, "port %d: %s", port, strerror(errno));
    *chosen = ntohs(at.sin_port);
    return SA2_OK;
}

/* A connection, or -1: nobody is there yet. */
static int call_once(const struct sockaddr *at, socklen_t n)
{
    int fd = socket(at->sa_family, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, at, n) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static sa2_status call_rank_0(meeting *m, sa2_error *err)
{
    const sa2_launch *l = m->launch;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    char port[16];
    snprintf(port, sizeof port, "%d", l->port);
    int code = getaddrinfo(l->host, port, &hints, &found);
    if (code != 0)
        return sa2_fail(err, SA2_ERR_IO, "rank 0 at %s: %s", l->host, gai_strerror(code));
    while ((m->fds[0] = call_once(found->ai_addr, found->ai_addrlen)) < 0 && left_ms(m) > 0)
        nanosleep(&(struct timespec){.tv_nsec = CALL_AGAIN_MS * 1000000L}, NULL);
    freeaddrinfo(found);
    if (m->fds[0] < 0)
        return sa2_fail(err, SA2_ERR_IO, "rank 0 at %s, port %d: nobody answers", l->host, l->port);
    no_delay(m->fds[0]);
    return SA2_OK;
}

/* Takes one call; strangers are sent away. */
static sa2_status take_call(meeting *m, sa2_error *err)
{
    struct pollfd p = {.fd = m->listener, .events = POLLIN};
    struct sockaddr_in from = {0};
    socklen_t n = sizeof from;
    if (poll(&p, 1, left_ms(m)) <= 0) {
        bool silent[SA2_MAX_RANKS];
        for (int i = 0; i < m->launch->size; i++)
            silent[i] = m->fds[i] < 0 && i != m->launch->rank &&
                        (m->launch->rank == 0 || i > m->launch->rank);
        return sa2_link_fail_silent(silent, m->launch->size, -1, err);
    }
    int fd = accept(m->listener, (struct sockaddr *)&from, &n);
    greeting g;
    if (fd < 0)
        return SA2_OK;
    if (!move_all(m, fd, &g, sizeof g, false) || ntohl(g.magic) != MAGIC ||
        ntohl(g.size) != (uint32_t)m->launch->size || ntohl(g.rank) >= ntohl(g.size) ||
        (int)ntohl(g.rank) <= m->launch->rank || m->fds[ntohl(g.rank)] >= 0) {
        close(fd);
        return SA2_OK;
    }
    no_delay(fd);
    g.address = from.sin_addr.s_addr;
    m->fds[ntohl(g.rank)] = fd;
    m->places[ntohl(g.rank)] = g;
    return SA2_OK;
}

static sa2_status take_calls(meeting *m, sa2_error *err)
{
    for (int i = m->launch->rank + 1; i < m->launch->size;) {
        if (m->fds[i] >= 0) {
            i++;
            continue;
        }
        sa2_status st = take_call(m, err);
        if (st != SA2_OK)
            return st;
    }
    return SA2_OK;
}

static sa2_status lost(int rank, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_DEVICE, "rank %d has left while ranks met", rank);
}

static sa2_status meet_as_rank_0(meeting *m, sa2_error *err)
{
    sa2_status st = take_calls(m, err);
    for (int i = 1; i < m->launch->size && st == SA2_OK; i++)
        if (!move_all(m, m->fds[i], m->places, sizeof m->places, true))
            st = lost(i, err);
    return st;
}

static sa2_status meet_as_other(meeting *m, int port, sa2_error *err)
{
    const sa2_launch *l = m->launch;
    greeting mine = {.magic = htonl(MAGIC),
                     .rank = htonl((uint32_t)l->rank),
                     .size = htonl((uint32_t)l->size),
                     .port = htonl((uint32_t)port)};
    sa2_status st = call_rank_0(m, err);
    if (st != SA2_OK)
        return st;
    if (!move_all(m, m->fds[0], &mine, sizeof mine, true) ||
        !move_all(m, m->fds[0], m->places, sizeof m->places, false))
        return lost(0, err);
    for (int i = 1; i < l->rank; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)ntohl(m->places[i].port)),
                                 .sin_addr.s_addr = m->places[i].address};
        m->fds[i] = call_once((struct sockaddr *)&at, sizeof at);
        if (m->fds[i] < 0 || !move_all(m, m->fds[i], &mine, sizeof mine, true))
            return lost(i, err);
        no_delay(m->fds[i]);
    }
    return take_calls(m, err);
}

sa2_status sa2_link_open_sockets(sa2_link *link, const sa2_launch *launch, int64_t timeout_ms,
                                 sa2_error *err)
{
    meeting m = {.launch = launch, .until_ms = sa2_now_ms() + (double)timeout_ms, .listener = -1};
    int port = 0;
    for (int i = 0; i < SA2_MAX_RANKS; i++)
        m.fds[i] = -1;
    sa2_status st = listen_at(&m, launch->rank == 0 ? launch->port : 0, &port, err);
    if (st == SA2_OK)
        st = launch->rank == 0 ? meet_as_rank_0(&m, err) : meet_as_other(&m, port, err);
    if (m.listener >= 0)
        close(m.listener);
    if (st == SA2_OK)
        return sa2_link_from_sockets(link, launch->rank, launch->size, m.fds, err);
    for (int i = 0; i < launch->size; i++)
        if (m.fds[i] >= 0)
            close(m.fds[i]);
    return st;
}
