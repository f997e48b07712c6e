#include "kernels/backend.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/layout.h"
#include "kernels/stream.h"

struct sa2_backend {
    const sa2_ops *ops;
    sa2_cpu *cpu;
};

sa2_status sa2_backend_open(sa2_backend **backend, const sa2_backend_options *options,
                            sa2_error *err)
{
    static const sa2_backend_options defaults = {0};
    *backend = NULL;
    if (options == NULL)
        options = &defaults;
    const char *device = options->device != NULL ? options->device : "auto";
    if (strcmp(device, "auto") != 0 && strcmp(device, "cpu") != 0)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "device \"%s\": this build has cpu", device);
    sa2_backend *made = calloc(1, sizeof *made);
    if (made == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "backend: no memory");
    sa2_status st = sa2_cpu_open(&made->cpu, options, err);
    if (st != SA2_OK) {
        free(made);
        return st;
    }
    made->ops = &sa2_cpu_ops;
    *backend = made;
    return SA2_OK;
}

void sa2_backend_close(sa2_backend *backend)
{
    if (backend == NULL)
        return;
    sa2_cpu_close(backend->cpu);
    free(backend);
}

const char *sa2_backend_device(const sa2_backend *backend)
{
    return backend->ops->name;
}

const char *sa2_backend_isa(const sa2_backend *backend)
{
    return sa2_isa_name(backend->cpu->isa);
}

int sa2_backend_threads(const sa2_backend *backend)
{
    return sa2_threads_count(backend->cpu->threads);
}

sa2_status sa2_backend_arena_create(sa2_backend *backend, sa2_arena *arena, size_t bytes,
                                    sa2_error *err)
{
    (void)backend;
    return sa2_arena_create(arena, bytes, err);
}

void sa2_backend_arena_destroy(sa2_backend *backend, sa2_arena *arena)
{
    (void)backend;
    sa2_arena_destroy(arena);
}

sa2_status sa2_stream_create(sa2_stream **s, sa2_backend *backend, size_t scratch_bytes,
                             sa2_error *err)
{
    *s = NULL;
    sa2_stream *made = calloc(1, sizeof *made);
    if (made == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "stream: no memory");
    sa2_status st = sa2_backend_arena_create(backend, &made->scratch, scratch_bytes, err);
    if (st != SA2_OK) {
        free(made);
        return sa2_wrap(err, st, "stream scratch");
    }
    made->ops = backend->ops;
    made->device = backend->cpu;
    *s = made;
    return SA2_OK;
}

void sa2_stream_destroy(sa2_stream *s)
{
    if (s == NULL)
        return;
    sa2_arena_destroy(&s->scratch);
    free(s);
}

sa2_status sa2_stream_finish(sa2_stream *s, sa2_error *err)
{
    sa2_status st = s->status;
    if (st != SA2_OK && err != NULL)
        *err = s->error;
    s->status = SA2_OK;
    s->error = (sa2_error){0};
    return st;
}

void sa2_upload(sa2_stream *s, sa2_tensor dst, const void *src)
{
    if (s->status == SA2_OK)
        memcpy(dst.data, src, sa2_tensor_bytes(&dst));
}

void sa2_download(sa2_stream *s, void *dst, sa2_tensor src)
{
    if (s->status == SA2_OK)
        memcpy(dst, src.data, sa2_tensor_bytes(&src));
}

const sa2_layout *sa2_stream_layout(const sa2_stream *s, sa2_dtype dtype)
{
    return s->ops->matrix_layouts[dtype];
}

const sa2_layout *sa2_layout_find(const char *name)
{
    static const sa2_ops *const backends[] = {&sa2_cpu_ops};
    for (size_t b = 0; b < sizeof backends / sizeof backends[0]; b++)
        for (int i = 0; i < 2; i++)
            if (strcmp(backends[b]->matrix_layouts[i]->name, name) == 0)
                return backends[b]->matrix_layouts[i];
    return NULL;
}
