#include "kernels/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cpu/threads.h"
#include "kernels/driver.h"

struct sa2_backend {
    const sa2_driver *driver;
    void *device;      /* the driver's */
    sa2_threads *team; /* where the driver has none */
    char name[24];
};

/* Those of this build. */
static const struct {
    const char *name;
    const sa2_driver *driver;
} drivers[] = {
    {"cpu", &sa2_cpu_driver},
#if SA2_HAVE_CUDA
    {"cuda", &sa2_cuda_driver},
#endif
#if SA2_HAVE_CUDA_SIM
    {"cuda-sim", &sa2_cuda_sim_driver},
#endif
};
enum { N_DRIVERS = sizeof drivers / sizeof drivers[0] };

static sa2_status unknown_device(const char *device, sa2_error *err)
{
    char names[64] = "";
    for (int i = 0; i < N_DRIVERS; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i == 0 ? "" : ", ", drivers[i].name);
    }
    return sa2_fail(err, SA2_ERR_UNSUPPORTED, "device \"%s\": this build has %s", device, names);
}

/* "cuda:1" to its driver and 1; NULL when no driver has that name. */
static const sa2_driver *driver_of(const char *device, int *ordinal)
{
    size_t n = strcspn(device, ":");
    *ordinal = 0;
    if (device[n] == ':') {
        char *end;
        long number = strtol(device + n + 1, &end, 10);
        if (device[n + 1] < '0' || device[n + 1] > '9' || *end != '\0' || number > 1023)
            return NULL;
        *ordinal = (int)number;
    }
    for (int i = 0; i < N_DRIVERS; i++)
        if (strlen(drivers[i].name) == n && strncmp(drivers[i].name, device, n) == 0)
            return drivers[i].driver;
    return NULL;
}

static sa2_status open_device(sa2_backend *b, const char *device,
                              const sa2_backend_options *options, sa2_error *err)
{
    int ordinal;
    b->driver = driver_of(device, &ordinal);
    if (b->driver == NULL)
        return unknown_device(device, err);
    snprintf(b->name, sizeof b->name, "%s", device);
    if (b->driver->reads_host && options->large_products != NULL &&
        strcmp(options->large_products, "own") != 0)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "large products \"%s\": a GPU expected, found %s",
                        options->large_products, device);
    sa2_status st = b->driver->open(&b->device, ordinal, options, err);
    if (st != SA2_OK || b->driver->team != NULL)
        return st;
    st = sa2_threads_create(&b->team, b->driver->threads(b->device), err);
    if (st != SA2_OK)
        b->driver->close(b->device);
    return st;
}

sa2_status sa2_backend_open(sa2_backend **backend, const sa2_backend_options *options,
                            sa2_error *err)
{
    static const sa2_backend_options defaults = {0};
    *backend = NULL;
    if (options == NULL)
        options = &defaults;
    const char *device = options->device != NULL ? options->device : "auto";
    if (strcmp(device, "auto") == 0)
        device = "cpu"; /* a GPU is asked for by name */
    sa2_backend *made = calloc(1, sizeof *made);
    if (made == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "backend: no memory");
    sa2_status st = open_device(made, device, options, err);
    if (st != SA2_OK) {
        free(made);
        return st;
    }
    *backend = made;
    return SA2_OK;
}

void sa2_backend_close(sa2_backend *backend)
{
    if (backend == NULL)
        return;
    sa2_threads_destroy(backend->team);
    backend->driver->close(backend->device);
    free(backend);
}

const char *sa2_backend_device(const sa2_backend *backend)
{
    return backend->name;
}

const char *sa2_backend_isa(const sa2_backend *backend)
{
    return backend->driver->variant(backend->device);
}

int sa2_backend_threads(const sa2_backend *backend)
{
    return backend->driver->threads(backend->device);
}

bool sa2_backend_reads_host(const sa2_backend *backend)
{
    return backend->driver->reads_host;
}

int sa2_backend_ops(const sa2_backend *backend, int *all)
{
    return sa2_ops_count(backend->driver->ops, all);
}

void sa2_backend_each(sa2_backend *backend, int n, sa2_backend_task task, void *context)
{
    sa2_threads *team =
        backend->team != NULL ? backend->team : backend->driver->team(backend->device);
    sa2_threads_run(team, n, task, context);
}

/* ---- memory ---- */

void sa2_backend_pin(sa2_backend *backend, void *memory, size_t bytes)
{
    if (backend->driver->pin != NULL)
        backend->driver->pin(backend->device, memory, bytes);
}

void sa2_backend_unpin(sa2_backend *backend, void *memory)
{
    if (backend->driver->unpin != NULL)
        backend->driver->unpin(backend->device, memory);
}

sa2_status sa2_backend_arena_create(sa2_backend *backend, sa2_arena *arena, size_t bytes,
                                    sa2_error *err)
{
    return backend->driver->memory_create(backend->device, arena, bytes, false, err);
}

sa2_status sa2_backend_arena_create_shared(sa2_backend *backend, sa2_arena *arena, size_t bytes,
                                           sa2_error *err)
{
    return backend->driver->memory_create(backend->device, arena, bytes, true, err);
}

void sa2_backend_arena_destroy(sa2_backend *backend, sa2_arena *arena)
{
    backend->driver->memory_destroy(backend->device, arena);
}

/* ---- streams ---- */

sa2_status sa2_stream_create(sa2_stream **s, sa2_backend *backend, size_t scratch_bytes,
                             sa2_error *err)
{
    *s = NULL;
    sa2_stream *made = calloc(1, sizeof *made);
    if (made == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "stream: no memory");
    made->backend = backend;
    made->driver = backend->driver;
    made->ops = backend->driver->ops;
    sa2_status st = sa2_backend_arena_create(backend, &made->scratch, scratch_bytes, err);
    if (st != SA2_OK) {
        free(made);
        return sa2_wrap(err, st, "stream scratch");
    }
    st = made->driver->stream_open(made, backend->device, err);
    if (st != SA2_OK) {
        sa2_backend_arena_destroy(backend, &made->scratch);
        free(made);
        return sa2_wrap(err, st, "stream");
    }
    *s = made;
    return SA2_OK;
}

void sa2_stream_destroy(sa2_stream *s)
{
    if (s == NULL)
        return;
    s->driver->stream_close(s);
    sa2_backend_arena_destroy(s->backend, &s->scratch);
    free(s);
}

size_t sa2_backend_stream_bytes(const sa2_backend *backend)
{
    return backend->driver->stream_bytes != NULL ? backend->driver->stream_bytes(backend->device)
                                                 : 0;
}

sa2_backend *sa2_stream_backend(const sa2_stream *s)
{
    return s->backend;
}

sa2_status sa2_stream_finish(sa2_stream *s, sa2_error *err)
{
    sa2_error late = {0};
    sa2_status st = s->driver->finish(s, &late);
    if (s->status != SA2_OK) { /* an op that was refused: what the device says comes after it */
        st = s->status;
        late = s->error;
    }
    if (st != SA2_OK && err != NULL)
        *err = late;
    s->status = SA2_OK;
    s->error = (sa2_error){0};
    return st;
}

void sa2_stream_group_begin(sa2_stream *s, const char *part)
{
    if (s->status == SA2_OK && s->driver->group_begin != NULL)
        s->status = s->driver->group_begin(s, part, &s->error);
}

void sa2_stream_group_end(sa2_stream *s)
{
    sa2_error later = {0};
    if (s->driver->group_end != NULL) {
        sa2_status st = s->driver->group_end(s, s->status == SA2_OK ? &s->error : &later);
        s->status = s->status == SA2_OK ? st : s->status;
    }
}

void sa2_stream_poll(sa2_stream *s, void **queue, bool *idle)
{
    s->driver->poll(s, queue, idle);
}

void sa2_upload(sa2_stream *s, sa2_tensor dst, const void *src)
{
    if (s->status == SA2_OK)
        s->status = s->driver->upload(s, dst.data, src, sa2_tensor_bytes(&dst), &s->error);
}

void sa2_download(sa2_stream *s, void *dst, sa2_tensor src)
{
    if (s->status == SA2_OK)
        s->status = s->driver->download(s, dst, src.data, sa2_tensor_bytes(&src), &s->error);
}

void sa2_stream_mark(sa2_stream *s, int which)
{
    struct timespec t;
    if (s->driver->mark != NULL && s->status == SA2_OK) {
        s->status = s->driver->mark(s, which, &s->error);
    } else if (s->driver->mark == NULL) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        s->marks[which] = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }
    s->failed_before[which] = s->status != SA2_OK;
}

sa2_status sa2_stream_wait(sa2_stream *s, int which, sa2_error *err)
{
    sa2_error late = {0};
    sa2_status st = s->driver->wait != NULL ? s->driver->wait(s, which, &late) : SA2_OK;
    if (s->failed_before[which]) {
        st = s->status;
        late = s->error;
    }
    if (st != SA2_OK && err != NULL)
        *err = late;
    return st;
}

sa2_status sa2_stream_between_marks(sa2_stream *s, double *seconds, sa2_error *err)
{
    sa2_status st = sa2_stream_finish(s, err);
    *seconds = s->marks[1] - s->marks[0];
    if (st == SA2_OK && s->driver->between_marks != NULL)
        st = s->driver->between_marks(s, seconds, err);
    return st;
}

sa2_status sa2_stream_probe(sa2_stream *s, sa2_probe what, void *memory, size_t bytes, double *work,
                            sa2_error *err)
{
    if (s->driver->probe == NULL)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "device %s has no probes",
                        sa2_backend_device(s->backend));
    return s->driver->probe(s, what, memory, bytes, work, err);
}

const sa2_layout *sa2_stream_layout(const sa2_stream *s, sa2_dtype dtype)
{
    return s->ops->matrix_layouts[dtype];
}

const sa2_layout *sa2_layout_find(const char *name)
{
    for (int d = 0; d < N_DRIVERS; d++)
        for (int i = 0; i < SA2_DTYPES; i++) {
            const sa2_layout *layout = drivers[d].driver->ops->matrix_layouts[i];
            if (layout != NULL && strcmp(layout->name, name) == 0)
                return layout;
        }
    return NULL;
}
