/* backend.h - a device opened by name, its memory, and the streams that run ops on it.
 *
 * "cpu" is always there. A backend is shared by its streams and outlives them; a stream is used by
 * one thread at a time.
 */
#ifndef SA2_KERNELS_BACKEND_H
#define SA2_KERNELS_BACKEND_H

#include "kernels/ops.h"

typedef struct sa2_backend sa2_backend;

typedef struct sa2_backend_options {
    /* "cpu", "cuda" or "cuda:1" for another than the first, in test builds "cuda-sim". "auto" (or NULL): the
     * processor. */
    const char *device;
    int n_threads; /* of "cpu", and to bring weights to a device; 0: all processors this process may use */
    const char *
        isa; /* of "cpu": "auto" (or NULL), "c", "avx2", "avx512", "avx512bf16", "amx"; refused where it is missing */
    bool graphs; /* of "cuda": groups of ops (below) start as one graph */
    /* Of "cuda": who computes products of many rows.
     * "own" (or NULL): we do, and a row does not depend on the others. With ",cluster=auto" behind it neighbouring blocks may
     * share what they read; ",cluster=1", 2 or 4, ",tile=N" and ",split=yes" or "no" are for benches. Results are the same.
     * "cublaslt": from 1024 rows on that library, with x in bf16; results lie within the rounding to bf16, but depend on the
     * number of rows. Behind it, if wanted: ",file=PATH" of the library, ",rows=N" from which on, ",piece=N" rows of weights
     * at a time. A device without it, and "cpu", refuse. */
    const char *large_products;
} sa2_backend_options;

/* Errors: SA2_ERR_UNSUPPORTED for a device or instruction set that is not here, with those that are;
 * SA2_ERR_DEVICE for a device that fails. */
sa2_status sa2_backend_open(sa2_backend **backend, const sa2_backend_options *options,
                            sa2_error *err);
void sa2_backend_close(sa2_backend *backend); /* NULL is fine */

const char *sa2_backend_device(const sa2_backend *backend); /* "cpu" */
const char *sa2_backend_isa(const sa2_backend *backend); /* the one chosen; "sm_90 NVIDIA H200" */
int sa2_backend_threads(const sa2_backend *backend);
/* Whether ops read the host's memory where it lies: what is mapped there need not be copied. */
bool sa2_backend_reads_host(const sa2_backend *backend);
int sa2_backend_ops(const sa2_backend *backend, int *all); /* ops that it has, and all there are */

/* Runs task(context, i, thread) for i in [0, n) on the sa2_backend_threads() threads of the host, `thread` being below that
 * number, and returns when all are done: what the host has to do beside ops. By the thread that uses the streams. */
typedef void (*sa2_backend_task)(void *context, int i, int thread);
void sa2_backend_each(sa2_backend *backend, int n, sa2_backend_task task, void *context);

/* An arena over memory of the device. */
sa2_status sa2_backend_arena_create(sa2_backend *backend, sa2_arena *arena, size_t bytes,
                                    sa2_error *err);

/* The same in memory that the host too may use while no op runs, slower for the device: for files that are written
 * from it, and tests. */
sa2_status sa2_backend_arena_create_shared(sa2_backend *backend, sa2_arena *arena, size_t bytes,
                                           sa2_error *err);
void sa2_backend_arena_destroy(sa2_backend *backend, sa2_arena *arena);

/* Lets a device write to this memory of the host itself, so that downloads to it take half the time; what it cannot have
 * it does without. At most 8 stretches at one time; to be let go of before the memory is. */
void sa2_backend_pin(sa2_backend *backend, void *memory, size_t bytes);
void sa2_backend_unpin(sa2_backend *backend, void *memory); /* what was never pinned is fine */

/* A queue of ops. `scratch_bytes` is what its largest op may use for itself (sa2_*_scratch_bytes below). */
sa2_status sa2_stream_create(sa2_stream **s, sa2_backend *backend, size_t scratch_bytes,
                             sa2_error *err);
void sa2_stream_destroy(sa2_stream *s);
sa2_backend *sa2_stream_backend(const sa2_stream *s);

/* What each stream has of the device's memory beside its scratch: lists, partial sums, and for large products by a library. */
size_t sa2_backend_stream_bytes(const sa2_backend *backend);

/* Waits for all ops; the first failure since the last call, which it clears. */
sa2_status sa2_stream_finish(sa2_stream *s, sa2_error *err);

/* Ops that a device may start as one piece of work, which takes it less time than one after the other. Calls between begin
 * and end are made as always, and every op has the results, to the bit, that it has without; a device only holds its
 * launches back until the end. When it has seen the same launches before, with the same shapes and the same addresses
 * of tensors, it starts what it made of them then; contents of tensors, and of lists that ops take from host memory
 * (offsets, positions, block tables, segments), may differ. Numbers that ops take may too, but then the group is a new
 * one: what changes from one time to the next belongs before, behind, or into a tensor. A device keeps the 16 groups
 * that were used last. Anything else on the stream (copies, marks, finish, poll) starts what is held back first, and the
 * rest of the group op by op. Groups do not nest. `part` is for messages and must outlive the stream.
 * Errors stay in `s`, as those of ops. On "cpu", and without `graphs`, nothing is held back. */
void sa2_stream_group_begin(sa2_stream *s, const char *part);
void sa2_stream_group_end(sa2_stream *s);

/* For libraries that work on the device beside the ops: *queue is its own name of the order of work (a cudaStream_t), NULL
 * where an op has run when its call returns. *idle: all that was asked for has run, or has failed. */
void sa2_stream_poll(sa2_stream *s, void **queue, bool *idle);

/* Marks 0 and 1 in the order of the ops, and the seconds between them on the device's own clock, waited for. */
void sa2_stream_mark(sa2_stream *s, int which);
sa2_status sa2_stream_between_marks(sa2_stream *s, double *seconds, sa2_error *err);

/* Waits for the ops before a mark, while those behind it run: what was downloaded before it is there then. Returns the first
 * failure before it, and maybe a wrong index that an op behind it has found by now; sa2_stream_finish() tells it again and
 * clears it. */
sa2_status sa2_stream_wait(sa2_stream *s, int which, sa2_error *err);

/* What a device can do at most, for benches. */
typedef enum sa2_probe {
    SA2_PROBE_READ = 0,
    SA2_PROBE_COPY, /* half of the memory to the other half */
    SA2_PROBE_F32,  /* multiply-adds in registers */
    SA2_PROBE_BF16, /* products of tensor cores in registers */
} sa2_probe;

/* Starts one over `memory` of the device, 64 KB or more; what computes takes longer the more there is. *work: bytes
 * that are moved, or operations. Errors: SA2_ERR_UNSUPPORTED on "cpu". */
sa2_status sa2_stream_probe(sa2_stream *s, sa2_probe what, void *memory, size_t bytes, double *work,
                            sa2_error *err);

/* Between host memory and a dense tensor of the device; ordered with the ops around it. The host side of an upload may be
 * changed at once, that of a download is valid after sa2_stream_finish(), or sa2_stream_wait() for a mark behind it. */
void sa2_upload(sa2_stream *s, sa2_tensor dst, const void *src);
void sa2_download(sa2_stream *s, void *dst, sa2_tensor src);

/* Scratch of one call of the ops that need any. */
size_t sa2_conv1d_scratch_bytes(sa2_dtype x, int64_t x_rows, int64_t in, int n_sequences,
                                int pad_left, int pad_right);
size_t sa2_conv_transpose1d_scratch_bytes(int64_t x_rows, int64_t in, int64_t out, int n_sequences,
                                          int kernel, int stride);
size_t sa2_conv2d_scratch_bytes(int64_t frames, int64_t bins, int64_t in);
size_t sa2_harmonics_scratch_bytes(int64_t frames, int64_t harmonics);
size_t sa2_attention_scratch_bytes(int64_t q_rows, int heads, int head_dim, int64_t longest_keys);

#endif
