/* driver.h - what kernels/backend.c asks of a kind of device beside its ops: how it is opened, its memory, and the
 * order of its work.
 */
#ifndef SA2_KERNELS_DRIVER_H
#define SA2_KERNELS_DRIVER_H

#include "kernels/stream.h"

typedef struct sa2_driver {
    const sa2_ops *ops;
    bool reads_host; /* ops read and write any memory of the host, memory_create() gives it */

    /* Device number `ordinal`, 0 the first. Errors: SA2_ERR_UNSUPPORTED when there is none of that number or
     * it cannot do what is asked, SA2_ERR_DEVICE when it reports a failure. */
    sa2_status (*open)(void **device, int ordinal, const sa2_backend_options *options,
                       sa2_error *err);
    void (*close)(void *device);
    const char *(*variant)(const void *device); /* "avx2", "sm_90 NVIDIA H200" */
    int (*threads)(const void *device);         /* of the host that ops run on */

    /* `shared`: the host may use it too, while no op runs. */
    sa2_status (*memory_create)(void *device, sa2_arena *arena, size_t bytes, bool shared,
                                sa2_error *err);
    void (*memory_destroy)(void *device, sa2_arena *arena);

    /* The threads that ops run on; NULL: they run elsewhere. */
    struct sa2_threads *(*team)(void *device);

    /* As sa2_backend_pin(); NULL: downloads are copies within the host. */
    void (*pin)(void *device, void *memory, size_t bytes);
    void (*unpin)(void *device, void *memory);

    /* Sets s->device to what the ops find there. */
    sa2_status (*stream_open)(sa2_stream *s, void *device, sa2_error *err);
    void (*stream_close)(sa2_stream *s);
    size_t (*stream_bytes)(const void *device); /* of the device's memory; NULL: none */
    sa2_status (*finish)(sa2_stream *s, sa2_error *err);
    void (*poll)(sa2_stream *s, void **queue, bool *idle); /* as sa2_stream_poll() */
    sa2_status (*upload)(sa2_stream *s, void *dst, const void *src, size_t bytes, sa2_error *err);
    sa2_status (*download)(sa2_stream *s, void *dst, const void *src, size_t bytes, sa2_error *err);

    /* As sa2_stream_group_begin() and _end(); NULL: ops run as they come. `end` is called after a failure too, and then
     * starts what was held back before it. */
    sa2_status (*group_begin)(sa2_stream *s, const char *part, sa2_error *err);
    sa2_status (*group_end)(sa2_stream *s, sa2_error *err);

    /* Of an own clock; NULL: ops are done when they return, and the host's clock serves. */
    sa2_status (*mark)(sa2_stream *s, int which, sa2_error *err);
    sa2_status (*between_marks)(sa2_stream *s, double *seconds, sa2_error *err);
    sa2_status (*wait)(sa2_stream *s, int which, sa2_error *err); /* as sa2_stream_wait() */
    sa2_status (*probe)(sa2_stream *s, sa2_probe what, void *memory, size_t bytes, double *work,
                        sa2_error *err); /* NULL: there are none */
} sa2_driver;

extern const sa2_driver sa2_cpu_driver;
extern const sa2_driver sa2_cuda_driver;     /* kernels/cuda/, where the build has nvcc */
extern const sa2_driver sa2_cuda_sim_driver; /* the same on a simulated device: tests/cudasim/ */

#endif
