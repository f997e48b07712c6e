/* cuda_driver.cu - contract: kernels/driver.h. A GPU as a device: its memory, its queue, and copies through pinned
 * memory, so that no copy waits for the ops before it.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda_ops.cuh"
#include "kernels/cuda/product_library.cuh"

namespace sa2_cuda
{
#ifndef SA2_CUDA_PDL
#define SA2_CUDA_PDL 1 /* 0: no kernel starts early, to measure what that gives */
#endif

static const fault no_fault = {(int)fault_kind::NONE, 0, NOWHERE};

struct device {
    int ordinal, processors;
    bool overlaps; /* of its queues */
    bool graphs;
    sa2_large_products large;
    char variant[96];
    int host_threads;
    struct {
        char *memory; /* NULL: nothing */
        size_t bytes;
    } pinned[MAX_PINNED]; /* memory of the host that the device writes to */
};

sa2_status failed(const char *what, cudaError_t error, sa2_error *err)
{
    cudaGetLastError(); /* or the next call would report it again */
    sa2_status st = error == cudaErrorMemoryAllocation ? SA2_ERR_NOMEM : SA2_ERR_DEVICE;
    return sa2_fail(err, st, "%s: %s (%s)", what, cudaGetErrorString(error),
                    cudaGetErrorName(error));
}

/* ---- devices ---- */

/* What kernels/cuda/ is compiled for, and from which capability on it runs. */
static const struct {
    int major, minor;
    const char *name;
} architectures[] = {{9, 0, "sm_90"}, {8, 9, "sm_89"}, {8, 0, "sm_80"}};

/* The best architecture that this device can run, or NULL. */
static const char *architecture_of(const cudaDeviceProp *p)
{
    for (auto &a : architectures)
        if (p->major > a.major || (p->major == a.major && p->minor >= a.minor))
            return a.name;
    return NULL;
}

/* What brings weights here runs on them. */
static int processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static __global__ void empty_kernel()
{
}

/* Is the code that this device runs for compute capability 9, so that wait_for_earlier() waits? A build may have been
 * made for older ones only, and a device that is newer than all of them may take any. */
static bool kernels_wait()
{
    cudaFuncAttributes code;
    return cudaFuncGetAttributes(&code, (const void *)empty_kernel) == cudaSuccess &&
           code.ptxVersion >= 90;
}

/* The runtime has one for each thread, the first where nobody said another. */
static thread_local int device_of_thread;

cudaError_t use_device(int ordinal)
{
    if (ordinal == device_of_thread)
        return cudaSuccess;
    cudaError_t error = cudaSetDevice(ordinal);
    if (error == cudaSuccess)
        device_of_thread = ordinal;
    return error;
}

static sa2_status open_device(void **result, int ordinal, const sa2_backend_options *options,
                              sa2_error *err)
{
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "device cuda: this machine has no GPU");
    if (error == cudaErrorInsufficientDriver)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "device cuda: no driver, or one too old: %s",
                        cudaGetErrorString(error));
    if (error != cudaSuccess)
        return failed("device cuda", error, err);
    if (ordinal >= count)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED,
                        "device cuda:%d: this machine has %d, the last is cuda:%d", ordinal, count,
                        count - 1);
    cudaDeviceProp properties;
    device_of_thread =
        -1; /* asked for whatever it is: a device that is out of order says so here */
    if ((error = cudaGetDeviceProperties(&properties, ordinal)) != cudaSuccess ||
        (error = use_device(ordinal)) != cudaSuccess)
        return failed("device cuda", error, err);
    const char *architecture = architecture_of(&properties);
    if (architecture == NULL)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED,
                        "device cuda:%d: %s has compute capability %d.%d, 8.0 or more is needed",
                        ordinal, properties.name, properties.major, properties.minor);
    device *made = (device *)calloc(1, sizeof *made);
    if (made == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "device cuda:%d: no memory", ordinal);
    made->ordinal = ordinal;
    made->processors = properties.multiProcessorCount;
    made->overlaps = SA2_CUDA_PDL && kernels_wait();
    made->graphs = options->graphs;
    made->host_threads = options->n_threads > 0 ? options->n_threads : processors();
    snprintf(made->variant, sizeof made->variant, "%s %.64s", architecture, properties.name);
    sa2_status st = sa2_large_products_open(&made->large, options->large_products, err);
    if (st == SA2_OK)
        *result = made;
    else
        free(made);
    return st;
}

static void close_device(void *opened)
{
    device *d = (device *)opened;
    sa2_large_products_close(&d->large);
    free(d);
}

static const char *variant(const void *opened)
{
    return ((const device *)opened)->variant;
}

static int threads(const void *opened)
{
    return ((const device *)opened)->host_threads;
}

/* ---- memory ---- */

static sa2_status memory_create(void *opened, sa2_arena *arena, size_t bytes, bool shared,
                                sa2_error *err)
{
    const device *d = (const device *)opened;
    void *base = NULL;
    *arena = {};
    cudaError_t error = use_device(d->ordinal);
    if (error == cudaSuccess)
        error = shared ? cudaMallocManaged(&base, bytes > 0 ? bytes : 1)
                       : cudaMalloc(&base, bytes > 0 ? bytes : 1);
    if (error != cudaSuccess) {
        char what[64];
        snprintf(what, sizeof what, "%zu bytes on cuda:%d", bytes, d->ordinal);
        return failed(what, error, err);
    }
    sa2_arena_init(arena, base, bytes);
    return SA2_OK;
}

static void memory_destroy(void *opened, sa2_arena *arena)
{
    (void)opened;
    cudaFree(arena->base);
    *arena = {};
}

static void pin(void *opened, void *memory, size_t bytes)
{
    device *d = (device *)opened;
    for (auto &p : d->pinned)
        if (p.memory == NULL && bytes > 0) {
            if (cudaHostRegister(memory, bytes, cudaHostRegisterDefault) == cudaSuccess)
                p = {(char *)memory, bytes};
            else
                cudaGetLastError(); /* the inbox serves */
            return;
        }
}

static void unpin(void *opened, void *memory)
{
    device *d = (device *)opened;
    for (auto &p : d->pinned)
        if (p.memory != NULL && p.memory == memory) {
            cudaHostUnregister(memory);
            p = {};
        }
}

static bool is_pinned(const device *d, const char *memory, size_t bytes)
{
    for (auto &p : d->pinned)
        if (p.memory != NULL && memory >= p.memory && memory + bytes <= p.memory + p.bytes)
            return true;
    return false;
}

/* ---- streams ---- */

static void stream_close(sa2_stream *s)
{
    queue *q = queue_of(s);
    if (q == NULL)
        return;
    if (q->stream != NULL)
        cudaStreamSynchronize(q->stream);
    held_destroy(q);
    for (int i = 0; i < N_SLOTS; i++)
        if (q->free[i] != NULL)
            cudaEventDestroy(q->free[i]);
    for (int i = 0; i < 2; i++)
        if (q->marks[i] != NULL)
            cudaEventDestroy(q->marks[i]);
    cudaFree(q->plain);
    cudaFree(q->partials);
    cudaFree(q->lists);
    free(q->mirror);
    cudaFreeHost(q->inbox);
    cudaFreeHost(q->pinned);
    cudaFreeHost(q->fault);
    if (q->stream != NULL)
        cudaStreamDestroy(q->stream);
    free(q);
    s->device = NULL;
}

static cudaError_t open_queue(queue *q)
{
    cudaError_t error = use_device(q->ordinal);
    if (error == cudaSuccess)
        error = cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking);
    if (error == cudaSuccess)
        error = cudaHostAlloc((void **)&q->pinned, N_SLOTS * SLOT_BYTES, cudaHostAllocDefault);
    if (error == cudaSuccess)
        error = cudaHostAlloc((void **)&q->inbox, INBOX_BYTES, cudaHostAllocDefault);
    if (error == cudaSuccess)
        error = cudaHostAlloc((void **)&q->fault, sizeof *q->fault, cudaHostAllocDefault);
    if (error == cudaSuccess)
        error = cudaMalloc((void **)&q->lists, SLOT_BYTES);
    if (error == cudaSuccess)
        error = cudaMalloc((void **)&q->partials, PARTIAL_BYTES);
    if (error == cudaSuccess && q->large->library != NULL)
        error = cudaMalloc((void **)&q->plain, PLAIN_BYTES + SUM_BYTES);
    for (int i = 0; i < N_SLOTS && error == cudaSuccess; i++)
        error = cudaEventCreateWithFlags(&q->free[i], cudaEventDisableTiming);
    for (int i = 0; i < 2 && error == cudaSuccess; i++)
        error = cudaEventCreateWithFlags(&q->marks[i], cudaEventDefault);
    if (error == cudaSuccess && (q->mirror = (unsigned char *)malloc(SLOT_BYTES)) == NULL)
        error = cudaErrorMemoryAllocation;
    if (error == cudaSuccess)
        *q->fault = no_fault;
    return error;
}

static sa2_status stream_open(sa2_stream *s, void *opened, sa2_error *err)
{
    queue *q = (queue *)calloc(1, sizeof *q);
    if (q == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "no memory");
    q->owner = (const device *)opened;
    q->ordinal = q->owner->ordinal;
    q->processors = q->owner->processors;
    q->overlaps = q->owner->overlaps;
    q->large = &q->owner->large;
    s->device = q;
    cudaError_t error = open_queue(q);
    sa2_status st = error == cudaSuccess ? find_wgmma(s, err) : failed("queue", error, err);
    if (st == SA2_OK && q->owner->graphs)
        st = held_create(s, err);
    if (st != SA2_OK)
        stream_close(s);
    return st;
}

static size_t stream_bytes(const void *opened)
{
    const device *d = (const device *)opened;
    return SLOT_BYTES + PARTIAL_BYTES + (d->large.library != NULL ? PLAIN_BYTES + SUM_BYTES : 0);
}

/* Room for `bytes` in pinned memory, at most SLOT_BYTES; it may be written at once. */
static cudaError_t take_pinned(queue *q, size_t bytes, void **room)
{
    cudaError_t error = cudaSuccess;
    if (q->used + bytes > SLOT_BYTES) {
        error = cudaEventRecord(q->free[q->slot], q->stream);
        q->slot = (q->slot + 1) % N_SLOTS;
        q->used = 0;
        if (error == cudaSuccess)
            error = cudaEventSynchronize(q->free[q->slot]);
    }
    *room = q->pinned + (size_t)q->slot * SLOT_BYTES + q->used;
    q->used += (bytes + SA2_ARENA_ALIGN - 1) / SA2_ARENA_ALIGN * SA2_ARENA_ALIGN;
    return error;
}

static sa2_status upload(sa2_stream *s, void *dst, const void *src, size_t bytes, sa2_error *err)
{
    queue *q = queue_of(s);
    sa2_status st = let_go(s, err);
    if (st != SA2_OK)
        return st;
    for (size_t at = 0; at < bytes; at += SLOT_BYTES) {
        size_t n = bytes - at < SLOT_BYTES ? bytes - at : SLOT_BYTES;
        void *room;
        cudaError_t error = take_pinned(q, n, &room);
        if (error == cudaSuccess) {
            memcpy(room, (const char *)src + at, n);
            error = cudaMemcpyAsync((char *)dst + at, room, n, cudaMemcpyHostToDevice, q->stream);
        }
        if (error != cudaSuccess)
            return failed("upload", error, err);
    }
    return SA2_OK;
}

/* Lists are short: what does not fit a slot is told. */
static bool fits_slot(const char *op, size_t bytes, sa2_error *err)
{
    if (sa2_arena_round(bytes) <= SLOT_BYTES)
        return true;
    sa2_fail(err, SA2_ERR_LIMIT, "%s: a list of %zu bytes, up to %zu can be taken", op, bytes,
             SLOT_BYTES);
    return false;
}

void *to_device(sa2_stream *s, const char *op, const void *host, size_t bytes, sa2_error *err)
{
    queue *q = queue_of(s);
    size_t room = sa2_arena_round(bytes);
    if (!fits_slot(op, bytes, err))
        return NULL;
    if (q->lists_used + room > SLOT_BYTES) {
        q->lists_used = 0;
        q->n_sent = 0;
    }
    void *place = q->lists + q->lists_used;
    if (upload(s, place, host, bytes, err) != SA2_OK)
        return NULL;
    q->lists_used += room;
    return place;
}

const void *list_to_device(sa2_stream *s, const char *op, const void *host, size_t bytes,
                           sa2_error *err)
{
    queue *q = queue_of(s);
    const void *held = q->holds ? hold_list(q, host, bytes) : NULL;
    if (held != NULL)
        return held;
    for (int i = q->n_sent - 1; i >= 0 && i >= q->n_sent - N_SENT; i--) {
        const sent_list *l = &q->sent[i % N_SENT];
        if (l->bytes == bytes && memcmp(q->mirror + l->at, host, bytes) == 0)
            return q->lists + l->at;
    }
    const unsigned char *place = (const unsigned char *)to_device(s, op, host, bytes, err);
    if (place != NULL) {
        size_t at = (size_t)(place - q->lists);
        memcpy(q->mirror + at, host, bytes);
        q->sent[q->n_sent++ % N_SENT] = {at, bytes};
    }
    return place;
}

void *host_room(sa2_stream *s, const char *op, size_t bytes, sa2_error *err)
{
    void *room = NULL;
    if (!fits_slot(op, bytes, err))
        return NULL;
    cudaError_t error = take_pinned(queue_of(s), bytes, &room);
    if (error == cudaSuccess)
        return room;
    failed(op, error, err);
    return NULL;
}

/* What the first n downloads have brought goes to its place. */
static void hand_over(queue *q, uint64_t n)
{
    for (; q->n_handed_over < n; q->n_handed_over++) {
        const download *d = &q->downloads[q->n_handed_over % MAX_DOWNLOADS];
        memcpy(d->to, q->inbox + d->from, d->bytes);
    }
}

/* Waits for all ops and hands over what was downloaded. */
static cudaError_t empty_inbox(queue *q)
{
    cudaError_t error = cudaStreamSynchronize(q->stream);
    if (error == cudaSuccess)
        hand_over(q, q->n_downloads);
    q->n_handed_over = q->n_downloads;
    return error;
}

/* Bytes that the next download may have in one piece; 0: the inbox is full. */
static size_t inbox_room(queue *q)
{
    if (q->n_handed_over == q->n_downloads) {
        q->inbox_end = 0;
        return INBOX_BYTES;
    }
    size_t first = q->downloads[q->n_handed_over % MAX_DOWNLOADS].from;
    if (q->n_downloads - q->n_handed_over == MAX_DOWNLOADS)
        return 0;
    if (q->inbox_end == INBOX_BYTES && first > 0)
        q->inbox_end = 0;
    return (first < q->inbox_end ? INBOX_BYTES : first) - q->inbox_end;
}

/* Into memory that is pinned, or the inbox; when that is full, finish() is done early. */
static sa2_status start_download(sa2_stream *s, void *dst, const void *src, size_t bytes,
                                 sa2_error *err)
{
    queue *q = queue_of(s);
    sa2_status st = let_go(s, err);
    if (st != SA2_OK)
        return st;
    if (is_pinned(q->owner, (const char *)dst, bytes)) {
        cudaError_t error = cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, q->stream);
        return error == cudaSuccess ? SA2_OK : failed("download", error, err);
    }
    for (size_t at = 0; at < bytes;) {
        cudaError_t error = inbox_room(q) > 0 ? cudaSuccess : empty_inbox(q);
        size_t room = inbox_room(q);
        size_t n = bytes - at < room ? bytes - at : room;
        if (error == cudaSuccess)
            error = cudaMemcpyAsync(q->inbox + q->inbox_end, (const char *)src + at, n,
                                    cudaMemcpyDeviceToHost, q->stream);
        if (error != cudaSuccess)
            return failed("download", error, err);
        q->downloads[q->n_downloads++ % MAX_DOWNLOADS] = {(char *)dst + at, q->inbox_end, n};
        q->inbox_end += n;
        at += n;
    }
    return SA2_OK;
}

/* ---- time ---- */

static sa2_status mark(sa2_stream *s, int which, sa2_error *err)
{
    queue *q = queue_of(s);
    sa2_status st = let_go(s, err);
    if (st != SA2_OK)
        return st;
    q->n_marked[which] = q->n_downloads;
    cudaError_t error = cudaEventRecord(q->marks[which], q->stream);
    return error == cudaSuccess ? SA2_OK : failed("mark", error, err);
}

static sa2_status between_marks(sa2_stream *s, double *seconds, sa2_error *err)
{
    queue *q = queue_of(s);
    float milliseconds = 0.0f;
    cudaError_t error = cudaEventElapsedTime(&milliseconds, q->marks[0], q->marks[1]);
    *seconds = 1e-3 * (double)milliseconds;
    return error == cudaSuccess ? SA2_OK : failed("marks", error, err);
}

/* ---- the end of a piece of work ---- */

/* In the words in which the CPU backend says it. */
static sa2_status tell_fault(const fault *f, sa2_error *err)
{
    long long row = (long long)(f->at >> 32), count = f->count, last = count - 1;
    int value = (int)(uint32_t)f->at;
    switch ((fault_kind)f->kind) {
    case fault_kind::EMBEDDING:
        return sa2_fail(err, SA2_ERR_ARG, "embedding: id %d at row %lld, 0 to %lld expected", value,
                        row, last);
    case fault_kind::SCATTER_ROWS:
        return sa2_fail(err, SA2_ERR_ARG, "scatter_rows: id %d at row %lld, 0 to %lld expected",
                        value, row, last);
    case fault_kind::COPY_ROWS_TO:
        return sa2_fail(err, SA2_ERR_ARG, "copy_rows: to: id %d at row %lld, 0 to %lld expected",
                        value, row, last);
    case fault_kind::COPY_ROWS_FROM:
        return sa2_fail(err, SA2_ERR_ARG, "copy_rows: from: id %d at row %lld, 0 to %lld expected",
                        value, row, last);
    case fault_kind::LAYER_NORM:
        return sa2_fail(err, SA2_ERR_ARG, "layer_norm: row %lld asks for row %d of a table of %lld",
                        row, value, count);
    case fault_kind::LINEAR:
        return sa2_fail(err, SA2_ERR_ARG, "linear: row %lld takes gate %d of %lld", row, value,
                        count);
    case fault_kind::CONV1D:
        return sa2_fail(err, SA2_ERR_ARG, "conv1d: row %lld takes gate %d of %lld", row, value,
                        count);
    case fault_kind::NONE:
        break;
    }
    return SA2_OK;
}

static sa2_status finish(sa2_stream *s, sa2_error *err)
{
    queue *q = queue_of(s);
    sa2_status st = let_go(s, err);
    cudaError_t error = empty_inbox(q);
    if (st != SA2_OK || error != cudaSuccess)
        return st != SA2_OK ? st : failed("device", error, err);
    st = tell_fault(q->fault, err);
    *q->fault = no_fault;
    return st;
}

static sa2_status wait(sa2_stream *s, int which, sa2_error *err)
{
    queue *q = queue_of(s);
    cudaError_t error = cudaEventSynchronize(q->marks[which]);
    if (error == cudaSuccess)
        hand_over(q, q->n_marked[which]);
    if (error == cudaSuccess && q->fault->kind != (int)fault_kind::NONE)
        error = cudaStreamSynchronize(q->stream); /* its op may be one that runs */
    return error == cudaSuccess ? tell_fault(q->fault, err) : failed("device", error, err);
}

static void poll(sa2_stream *s, void **device_queue, bool *idle)
{
    queue *q = queue_of(s);
    if (s->status == SA2_OK)
        s->status = let_go(s, &s->error);
    *device_queue = q->stream;
    *idle = cudaStreamQuery(q->stream) != cudaErrorNotReady;
}
} // namespace sa2_cuda

extern "C" const sa2_driver sa2_cuda_driver = {
    .ops = &sa2_cuda::ops,
    .reads_host = false,
    .open = sa2_cuda::open_device,
    .close = sa2_cuda::close_device,
    .variant = sa2_cuda::variant,
    .threads = sa2_cuda::threads,
    .memory_create = sa2_cuda::memory_create,
    .memory_destroy = sa2_cuda::memory_destroy,
    .team = NULL,
    .pin = sa2_cuda::pin,
    .unpin = sa2_cuda::unpin,
    .stream_open = sa2_cuda::stream_open,
    .stream_close = sa2_cuda::stream_close,
    .stream_bytes = sa2_cuda::stream_bytes,
    .finish = sa2_cuda::finish,
    .poll = sa2_cuda::poll,
    .upload = sa2_cuda::upload,
    .download = sa2_cuda::start_download,
    .group_begin = sa2_cuda::group_begin,
    .group_end = sa2_cuda::group_end,
    .mark = sa2_cuda::mark,
    .between_marks = sa2_cuda::between_marks,
    .wait = sa2_cuda::wait,
    .probe = sa2_cuda::probe,
};
