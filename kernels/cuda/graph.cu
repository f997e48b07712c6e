/* graph.cu - contract: sa2_stream_group_begin() in kernels/backend.h. Launches of a group are held back, compared with
 * those of the groups before, and start as a CUDA graph.
 *
 * All that a kernel gets is held and compared as bytes: its code, its grid, its arguments. A graph is therefore started
 * only where the same launches would be, and nothing has to be known of the ops. Lists that ops take from host memory
 * lie in memory of their own, in the order in which they come, and are sent before the graph starts: so their addresses
 * are those of the last time while their contents are new.
 *
 * A graph is made by stream capture, in which nothing but those launches happens: no op runs inside, and what another
 * thread does is not in its way. The attribute of kernels that start early becomes an edge of the graph (CUDA 12.3).
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.cuh"

namespace sa2_cuda
{
static constexpr int N_GRAPHS = 16, MAX_HELD = 1024, MAX_LISTS = 256;
static constexpr size_t ARGUMENT_BYTES = 256 << 10, ARGUMENT_ALIGN = 64, LIST_BYTES = 512 << 10;

/* The launches of a group, in their order. */
struct group {
    int n;
    size_t argument_bytes;
    held_launch launches[MAX_HELD];
    alignas(ARGUMENT_ALIGN) unsigned char arguments[ARGUMENT_BYTES];
};

struct graph {
    cudaGraphExec_t exec; /* NULL: none */
    uint64_t used;        /* when it was last */
    group launches;
};

struct held {
    const char *part; /* the group that is held, for messages */
    group now;
    uint64_t begun; /* groups so far */
    graph graphs[N_GRAPHS];

    unsigned char *lists; /* [LIST_BYTES] of the device */
    size_t lists_used;
    sent_list list[MAX_LISTS];
    int n_lists;
    unsigned char mirror[LIST_BYTES]; /* what will be in `lists` */
};

sa2_status held_create(sa2_stream *s, sa2_error *err)
{
    queue *q = queue_of(s);
    void *memory = aligned_alloc(ARGUMENT_ALIGN, sizeof(held));
    if (memory == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "graphs: %zu bytes", sizeof(held));
    q->held = (held *)memset(memory, 0, sizeof(held));
    cudaError_t error = cudaMalloc((void **)&q->held->lists, LIST_BYTES);
    return error == cudaSuccess ? SA2_OK : failed("graphs", error, err);
}

void held_destroy(queue *q)
{
    if (q->held == NULL)
        return;
    for (auto &g : q->held->graphs)
        if (g.exec != NULL)
            cudaGraphExecDestroy(g.exec);
    cudaFree(q->held->lists);
    free(q->held);
    q->held = NULL;
}

/* ---- what is held ---- */

void *hold(queue *q, const held_launch *launch)
{
    group *g = &q->held->now;
    size_t at = g->argument_bytes, room = (launch->bytes + ARGUMENT_ALIGN - 1) & -ARGUMENT_ALIGN;
    if (g->n == MAX_HELD || room > ARGUMENT_BYTES - at)
        return NULL;
    g->launches[g->n] = *launch;
    g->launches[g->n++].at = at;
    g->argument_bytes += room;
    return memset(g->arguments + at, 0, room);
}

const void *hold_list(queue *q, const void *host, size_t bytes)
{
    held *h = q->held;
    for (int i = h->n_lists - 1; i >= 0; i--)
        if (h->list[i].bytes == bytes && memcmp(h->mirror + h->list[i].at, host, bytes) == 0)
            return h->lists + h->list[i].at;
    size_t at = h->lists_used, room = sa2_arena_round(bytes);
    if (h->n_lists == MAX_LISTS || room > LIST_BYTES - at)
        return NULL;
    memcpy(h->mirror + at, host, bytes);
    h->list[h->n_lists++] = {at, bytes};
    h->lists_used += room;
    return h->lists + at;
}

static sa2_status send_lists(sa2_stream *s, sa2_error *err)
{
    const held *h = queue_of(s)->held;
    return s->driver->upload(s, h->lists, h->mirror, h->lists_used, err);
}

static cudaError_t start(const queue *q, const group *g, int i)
{
    const held_launch *l = &g->launches[i];
    const geometry shape = {.grid = dim3(l->grid[0], l->grid[1], l->grid[2]),
                            .threads = l->threads,
                            .shared = l->shared,
                            .cluster = l->cluster};
    launch_form form(q->stream, shape, l->early != 0);
    return l->start(&form.config, l->kernel, g->arguments + l->at);
}

sa2_status let_go(sa2_stream *s, sa2_error *err)
{
    queue *q = queue_of(s);
    if (!q->holds)
        return SA2_OK;
    q->holds = false;
    const group *g = &q->held->now;
    sa2_status st = send_lists(s, err);
    for (int i = 0; i < g->n && st == SA2_OK; i++) {
        cudaError_t error = start(q, g, i);
        st = error == cudaSuccess ? SA2_OK : failed(g->launches[i].op, error, err);
    }
    return st;
}

/* ---- graphs ---- */

static sa2_status graph_failed(const held *h, const char *call, cudaError_t error, sa2_error *err)
{
    sa2_status st = failed(call, error, err);
    return sa2_wrap(err, st, "graph of %s, %d launches", h->part, h->now.n);
}

/* A kernel's code may come to the device when it is first asked for, which a capture does not allow. */
static sa2_status load_kernels(const held *h, sa2_error *err)
{
    cudaFuncAttributes found;
    for (int i = 0; i < h->now.n; i++) {
        cudaError_t error = cudaFuncGetAttributes(&found, h->now.launches[i].kernel);
        if (error != cudaSuccess)
            return graph_failed(h, h->now.launches[i].op, error, err);
    }
    return SA2_OK;
}

/* Captures what is held. Whatever happens, the stream no longer captures afterwards. */
static sa2_status capture(const queue *q, cudaGraph_t *graph, sa2_error *err)
{
    const held *h = q->held;
    cudaError_t error = cudaStreamBeginCapture(q->stream, cudaStreamCaptureModeThreadLocal);
    if (error != cudaSuccess)
        return graph_failed(h, "cudaStreamBeginCapture", error, err);
    sa2_status st = SA2_OK;
    for (int i = 0; i < h->now.n && st == SA2_OK; i++)
        if ((error = start(q, &h->now, i)) != cudaSuccess)
            st = graph_failed(h, h->now.launches[i].op, error, err);
    error = cudaStreamEndCapture(q->stream, graph);
    if (st == SA2_OK && error != cudaSuccess)
        st = graph_failed(h, "cudaStreamEndCapture", error, err);
    if (st != SA2_OK && error != cudaSuccess)
        cudaGetLastError(); /* of a capture that was already told to have failed */
    return st;
}

/* The graph of what is held, in the place of the one that was not used for the longest time. */
static sa2_status make_graph(const queue *q, graph **made, sa2_error *err)
{
    held *h = q->held;
    graph *to = &h->graphs[0];
    for (auto &g : h->graphs)
        if (g.used < to->used)
            to = &g;
    cudaGraph_t captured = NULL;
    sa2_status st = load_kernels(h, err);
    if (st == SA2_OK)
        st = capture(q, &captured, err);
    cudaGraphExec_t exec = NULL;
    if (st == SA2_OK) {
        cudaError_t error = cudaGraphInstantiate(&exec, captured, 0);
        if (error != cudaSuccess)
            st = graph_failed(h, "cudaGraphInstantiate", error, err);
    }
    if (captured != NULL)
        cudaGraphDestroy(captured);
    if (st != SA2_OK)
        return st;
    if (to->exec != NULL)
        cudaGraphExecDestroy(to->exec); /* if it still runs, that ends first */
    to->exec = exec;
    to->launches = h->now;
    *made = to;
    return SA2_OK;
}

static graph *find_graph(held *h)
{
    size_t launches = (size_t)h->now.n * sizeof h->now.launches[0];
    for (auto &g : h->graphs)
        if (g.exec != NULL && g.launches.n == h->now.n &&
            g.launches.argument_bytes == h->now.argument_bytes &&
            memcmp(g.launches.launches, h->now.launches, launches) == 0 &&
            memcmp(g.launches.arguments, h->now.arguments, h->now.argument_bytes) == 0)
            return &g;
    return NULL;
}

sa2_status group_begin(sa2_stream *s, const char *part, sa2_error *err)
{
    queue *q = queue_of(s);
    held *h = q->held;
    if (h == NULL)
        return SA2_OK;
    if (q->holds)
        return sa2_fail(err, SA2_ERR_ARG, "group %s inside of %s", part, h->part);
    h->part = part;
    h->begun++;
    h->now.n = h->n_lists = 0;
    h->now.argument_bytes = h->lists_used = 0;
    q->holds = true;
    return SA2_OK;
}

sa2_status group_end(sa2_stream *s, sa2_error *err)
{
    queue *q = queue_of(s);
    held *h = q->held;
    if (!q->holds || s->status != SA2_OK || h->now.n == 0)
        return let_go(s, err);
    q->holds = false;
    graph *g = find_graph(h);
    sa2_status st = g != NULL ? SA2_OK : make_graph(q, &g, err);
    if (st == SA2_OK)
        st = send_lists(s, err);
    if (st != SA2_OK)
        return st;
    g->used = h->begun;
    cudaError_t error = cudaGraphLaunch(g->exec, q->stream);
    return error == cudaSuccess ? SA2_OK : graph_failed(h, "cudaGraphLaunch", error, err);
}
} // namespace sa2_cuda
