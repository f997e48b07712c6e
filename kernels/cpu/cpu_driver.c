/* cpu_driver.c - the processor as a device: an op has run when its call returns. */
#include <string.h>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/driver.h"

static sa2_status open_cpu(void **device, int ordinal, const sa2_backend_options *options,
                           sa2_error *err)
{
    if (ordinal != 0)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "device \"cpu:%d\": there is one, cpu", ordinal);
    sa2_cpu *cpu;
    sa2_status st = sa2_cpu_open(&cpu, options, err);
    if (st == SA2_OK)
        *device = cpu;
    return st;
}

static void close_cpu(void *device)
{
    sa2_cpu_close(device);
}

static const char *variant(const void *device)
{
    return sa2_isa_name(((const sa2_cpu *)device)->isa);
}

static int threads(const void *device)
{
    return sa2_threads_count(((const sa2_cpu *)device)->threads);
}

static sa2_threads *team(void *device)
{
    return ((const sa2_cpu *)device)->threads;
}

static sa2_status memory_create(void *device, sa2_arena *arena, size_t bytes, bool shared,
                                sa2_error *err)
{
    (void)device;
    (void)shared; /* all of it is */
    return sa2_arena_create(arena, bytes, err);
}

static void memory_destroy(void *device, sa2_arena *arena)
{
    (void)device;
    sa2_arena_destroy(arena);
}

static sa2_status stream_open(sa2_stream *s, void *device, sa2_error *err)
{
    (void)err;
    s->device = device;
    return SA2_OK;
}

static void stream_close(sa2_stream *s)
{
    (void)s;
}

static sa2_status finish(sa2_stream *s, sa2_error *err)
{
    (void)s;
    (void)err;
    return SA2_OK;
}

static void poll(sa2_stream *s, void **queue, bool *idle)
{
    (void)s;
    *queue = NULL;
    *idle = true;
}

static sa2_status copy(sa2_stream *s, void *dst, const void *src, size_t bytes, sa2_error *err)
{
    (void)s;
    (void)err;
    memcpy(dst, src, bytes);
    return SA2_OK;
}

const sa2_driver sa2_cpu_driver = {
    .ops = &sa2_cpu_ops,
    .reads_host = true,
    .open = open_cpu,
    .close = close_cpu,
    .variant = variant,
    .threads = threads,
    .team = team,
    .memory_create = memory_create,
    .memory_destroy = memory_destroy,
    .stream_open = stream_open,
    .stream_close = stream_close,
    .finish = finish,
    .poll = poll,
    .upload = copy,
    .download = copy,
};
